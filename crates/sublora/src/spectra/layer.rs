//! One matrix before and after quantisation.

use std::borrow::Cow;

use counter_rng::Key;
use quantizers::{BitWidth, Granularity, Operand, Quantizer, QuantizerError};
use spectral::{Analysis, Columns, EstimateColumns, FitFailure, Measured, SpectrumError, Weights};

use super::SpectralStudy;
use super::record::{Record, Variant};
use super::selection::Part;
use crate::quantize_checkpoint::granularity_for;

/// Points of a curve: more than a chart can show.
const CURVE: usize = 200;

/// Name of the matrix as it is.
pub(super) const ORIGINAL: &str = "original";

impl SpectralStudy {
    /// All there is to say of `values`, those of `part`.
    pub(super) fn analyse(&self, part: &Part, values: &[f32]) -> Result<Record, SpectrumError> {
        let key = Key::from_seed(self.seed).derive(&part.name);
        let weights = match part.weights(values) {
            Err(SpectrumError::NonFinite { .. }) => return Ok(not_finite()),
            weights => weights?,
        };
        let (before, columns) = self.measure(weights, key.derive(ORIGINAL))?;
        let mut record = Record { variants: Vec::new(), missing: Vec::new() };
        record.variants.push(variant(ORIGINAL, columns, &before));
        for (name, quantizer) in self.quantizers(part.operand) {
            let quantized = match fake_quantized(&quantizer, part, values) {
                Ok(values) => values,
                Err(error) => {
                    record.missing.push((name, error.to_string()));
                    continue;
                }
            };
            let key = key.derive(&name);
            let (after, columns) = self.measure(part.weights(&quantized)?, key)?;
            let change =
                self.comparison.run(&before, &after, &self.estimation, &key.derive("change"))?;
            record.variants.push(Variant {
                change: Some(change.columns),
                reasons: change.reasons,
                ..variant(&name, columns, &after)
            });
        }
        Ok(record)
    }

    fn measure<'a>(
        &self,
        weights: Weights<'a>,
        key: Key,
    ) -> Result<(Measured<'a>, Columns), SpectrumError> {
        let analysis = Analysis {
            ks: self.estimation.ks.clone(),
            clip_xmax: self.clip_xmax,
            mp_fit: self.mp_fit,
            randomize: self.randomize.then(|| key.derive("randomize")),
            ..Analysis::new(self.mode)
        };
        let (spectrum, columns) = analysis.run(&weights)?;
        let estimates = self.estimation.run(&weights, &spectrum, &key)?;
        Ok((Measured { weights, spectrum, estimates }, columns))
    }

    /// Every width at every granularity, by name.
    fn quantizers(&self, operand: Operand) -> Vec<(String, Quantizer)> {
        let of = |granularity: Granularity, bits: BitWidth| {
            let quantizer = Quantizer {
                bits,
                granularity: granularity_for(granularity, operand),
                operand,
                grid: self.grid.clone(),
                range: self.range.clone(),
                emulate: None,
            };
            let granularity = match granularity {
                Granularity::Channel { axis: 1 } => "channel".to_owned(), // an output
                granularity => granularity.to_string(),
            };
            (format!("{bits}bit-{granularity}"), quantizer)
        };
        let granularities = self.granularities.iter();
        granularities.flat_map(|&it| self.widths.iter().map(move |&bits| of(it, bits))).collect()
    }

    /// The names of all variants, the original first.
    pub(super) fn variant_names(&self) -> Vec<String> {
        let quantized = self.quantizers(Operand::Weight).into_iter().map(|(name, _)| name);
        std::iter::once(ORIGINAL.to_owned()).chain(quantized).collect()
    }
}

fn fake_quantized(
    quantizer: &Quantizer,
    part: &Part,
    values: &[f32],
) -> Result<Vec<f32>, QuantizerError> {
    let shape = part.shape();
    let params = quantizer.fit(values, shape)?;
    let mut out = vec![0.0; values.len()];
    quantizer.fake_quantize_into(values, shape, &params, &mut out)?;
    Ok(out)
}

fn variant(name: &str, columns: Columns, measured: &Measured) -> Variant {
    Variant {
        name: name.to_owned(),
        columns,
        estimates: measured.estimates.columns.clone(),
        alpha: measured.estimates.fit.map(|fit| fit.alpha),
        change: None,
        reasons: Vec::new(),
        curve: curve(measured.spectrum.eigenvalues()),
    }
}

/// A matrix without a spectrum.
fn not_finite() -> Record {
    let columns = Columns {
        status: Cow::Borrowed("failed"),
        fit_status: Some(Cow::Borrowed(FitFailure::NonFinite.name())),
        ..Columns::default()
    };
    let variant = Variant {
        name: ORIGINAL.to_owned(),
        columns,
        estimates: EstimateColumns::default(),
        alpha: Err(FitFailure::NonFinite),
        change: None,
        reasons: Vec::new(),
        curve: Vec::new(),
    };
    Record { variants: vec![variant], missing: Vec::new() }
}

/// The share of eigenvalues at or above some of `sorted`, ascending: as many of them in every decade of
/// the share.
fn curve(sorted: &[f64]) -> Vec<(f64, f64)> {
    let len = sorted.len();
    let ranks = (0..=CURVE).map(|place| {
        let rank = (len as f64).powf(1.0 - place as f64 / CURVE as f64).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to len")]
        let rank = (rank as usize).clamp(1, len.max(1));
        rank
    });
    let mut curve: Vec<(f64, f64)> = ranks
        .filter_map(|rank| Some((*sorted.get(len.checked_sub(rank)?)?, rank as f64 / len as f64)))
        .filter(|&(x, _)| x > 0.0)
        .collect();
    curve.dedup();
    curve
}
