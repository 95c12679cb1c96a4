//! The report as tables.

use ortho_linear::Cause;
use report::Table;
use serde::{Deserialize, Serialize};

use super::{LayerDiagnosis, OrthoReport, RuleDiagnosis};

/// A matrix.
#[derive(Serialize, Deserialize)]
struct LayerRow {
    layer: String,
    d_in: usize,
    d_out: usize,
    cast: f64,
    near_zero: f64,
    gaussian: f64,
    heavy_tailed: f64,
    light_tailed: f64,
    density: f64,
    captured: Option<f64>,
    predicted: Option<f64>,
    error: f64,
    clipping: f64,
    steps: f64,
    mask: f64,
    shrinkage: f64,
    isotropic_outputs: f64,
    text_outputs: Option<f64>,
    int4: f64,
    int8: f64,
    fp16: f64,
    base_bytes: u64,
    outlier_bytes: u64,
    alpha_inert: bool,
    passes: bool,
    cause: Option<Cause>,
    remark: String,
}

/// A rule on a matrix.
#[derive(Serialize, Deserialize)]
struct RuleRow {
    layer: String,
    rule: String,
    bits: u8,
    published: bool,
    clip_predicted: f64,
    clip_measured: f64,
    error_predicted: f64,
    error_measured: f64,
    passes: bool,
    cause: Option<Cause>,
}

/// A rule on a matrix of its own table.
#[derive(Serialize, Deserialize)]
struct RuleOfLayer {
    rule: String,
    bits: u8,
    #[serde(rename = "clipped, predicted")]
    clip_predicted: f64,
    #[serde(rename = "clipped, measured")]
    clip_measured: f64,
    #[serde(rename = "error, predicted")]
    error_predicted: f64,
    #[serde(rename = "error, measured")]
    error_measured: f64,
    published: Option<String>,
    verdict: String,
}

impl OrthoReport {
    /// A row a matrix.
    pub(super) fn layer_table(&self) -> Result<Table, report::Error> {
        let row = |it: &LayerDiagnosis| LayerRow {
            layer: it.name.clone(),
            d_in: it.shape[0],
            d_out: it.shape[1],
            cast: it.cast,
            near_zero: it.channels.near_zero,
            gaussian: it.channels.gaussian,
            heavy_tailed: it.channels.heavy_tailed,
            light_tailed: it.channels.light_tailed,
            density: it.density,
            captured: it.captured,
            predicted: it.predicted,
            error: it.diagnosis.error,
            clipping: it.diagnosis.clipping,
            steps: it.diagnosis.steps,
            mask: it.diagnosis.mask,
            shrinkage: it.diagnosis.shrinkage,
            isotropic_outputs: it.diagnosis.outputs,
            text_outputs: it.diagnosis.activations,
            int4: it.codings.int4,
            int8: it.codings.int8,
            fp16: it.codings.fp16,
            base_bytes: it.base_bytes,
            outlier_bytes: it.outlier_bytes,
            alpha_inert: it.diagnosis.inert.is_some(),
            passes: it.cause().is_none(),
            cause: it.cause(),
            remark: it.remark(&self.settings),
        };
        Table::from_rows(&self.layers.iter().map(row).collect::<Vec<_>>())
    }

    /// A row a matrix and rule.
    pub(super) fn rule_table(&self) -> Result<Table, report::Error> {
        let row = |layer: &LayerDiagnosis, it: &RuleDiagnosis| RuleRow {
            layer: layer.name.clone(),
            rule: it.rule.to_string(),
            bits: it.bits.into(),
            published: it.published,
            clip_predicted: it.error.clip.predicted,
            clip_measured: it.error.clip.measured,
            error_predicted: it.error.total.predicted,
            error_measured: it.error.total.measured,
            passes: it.cause.is_none(),
            cause: it.cause,
        };
        let rows = self.layers.iter().flat_map(|of| of.rules.iter().map(move |it| row(of, it)));
        Table::from_rows(&rows.collect::<Vec<_>>())
    }

    /// The tensors that were not diagnosed.
    pub(super) fn left_out_table(&self) -> Result<Table, report::Error> {
        Table::from_rows(&self.left_out)
    }
}

impl LayerDiagnosis {
    /// A row a rule.
    pub(super) fn rules_of_layer(&self) -> Result<Table, report::Error> {
        let row = |it: &RuleDiagnosis| RuleOfLayer {
            rule: it.rule.to_string(),
            bits: it.bits.into(),
            clip_predicted: it.error.clip.predicted,
            clip_measured: it.error.clip.measured,
            error_predicted: it.error.total.predicted,
            error_measured: it.error.total.measured,
            published: it.published.then(|| "published".to_owned()),
            verdict: it.cause.map_or_else(|| "pass".to_owned(), |cause| cause.to_string()),
        };
        Table::from_rows(&self.rules.iter().map(row).collect::<Vec<_>>())
    }
}
