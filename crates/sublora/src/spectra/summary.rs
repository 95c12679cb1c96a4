//! What became of a checkpoint, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spectral::{FalseDiscovery, LayerOutcome, Mode, VariantSummary, plain_means};

use super::SpectralStudy;
use super::record::{Record, Variant};

/// A checkpoint and its variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudySummary {
    /// Tensors in the checkpoint.
    pub tensors: usize,
    /// Tensors that were analysed.
    pub analysed: usize,
    /// Tensors that were not.
    pub skipped: usize,
    /// Matrices made of the tensors that were analysed.
    pub matrices: usize,
    /// Matrices without a spectrum: an entry is not finite, or nearly beyond the range of numbers.
    pub nonfinite: usize,
    /// WeightWatcher's plain means over the originals by column, sentinels included; in compat mode. None
    /// of what was not computed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plain_means: BTreeMap<String, Option<f64>>,
    /// The original first.
    pub variants: Vec<NamedSummary>,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedSummary {
    /// Its name.
    pub variant: String,
    /// Over all matrices.
    #[serde(flatten)]
    pub summary: VariantSummary,
}

impl SpectralStudy {
    /// Adjusts the p-values of every variant over the matrices.
    pub(super) fn adjust(&self, records: &mut [Record]) {
        for name in self.variant_names() {
            let changes = records.iter_mut().filter_map(|record| {
                let variant = record.variants.iter_mut().find(|it| it.name == name)?;
                variant.change.as_mut()
            });
            self.correction.adjust_changes(changes);
        }
    }

    /// The summary of a checkpoint without tensors.
    pub(super) fn nothing(&self) -> StudySummary {
        StudySummary {
            tensors: 0,
            analysed: 0,
            skipped: 0,
            matrices: 0,
            nonfinite: 0,
            plain_means: self.plain_means(&[]),
            variants: self.summarise(&[]),
        }
    }

    /// Of records whose p-values are adjusted.
    pub(super) fn summarise(&self, records: &[Record]) -> Vec<NamedSummary> {
        let outcome = |before: &Variant, after: &Variant| LayerOutcome {
            before: before.alpha(),
            after: after.alpha(),
            collapsed: !after.reasons.is_empty(),
            p_adjusted: after.change.as_ref().and_then(|it| it.p_adj),
        };
        let named = |name: String| {
            let of_variant = records.iter().filter_map(|record| {
                let after = record.variant(&name)?;
                Some(outcome(record.variants.first()?, after))
            });
            let layers: Vec<LayerOutcome> = of_variant.collect();
            NamedSummary { variant: name, summary: self.summary.summarise(&layers) }
        };
        self.variant_names().into_iter().map(named).collect()
    }

    /// The plain means of WeightWatcher, in compat mode.
    pub(super) fn plain_means(&self, records: &[Record]) -> BTreeMap<String, Option<f64>> {
        if self.mode == Mode::Strict {
            return BTreeMap::new();
        }
        let originals = records.iter().filter_map(|it| it.variants.first());
        let rows: Vec<_> = originals.map(|it| it.columns.clone()).collect();
        plain_means(&rows).into_iter().map(|(name, mean)| (name.to_owned(), mean)).collect()
    }
}

/// The correction of the p-values, as it is named in outputs.
pub(super) fn correction_name(correction: FalseDiscovery) -> &'static str {
    match correction {
        FalseDiscovery::BenjaminiHochberg => "Benjamini-Hochberg",
        FalseDiscovery::BenjaminiYekutieli => "Benjamini-Yekutieli",
    }
}
