//! One matrix before and after quantisation.

use std::borrow::Cow;

use counter_rng::Key;
use quantizers::{BitWidth, Granularity, Operand, Quantizer, QuantizerError};
use spectral::{Analysis, Columns, EstimateColumns, FitFailure, Measured, SpectrumError, Weights};

use super::SpectralStudy;
use super::record::{Record, Variant};
use super::selection::Part;
use super::work::PartWork;
use crate::quantize_checkpoint::granularity_for;

/// Points of a curve: more than a chart can show.
const CURVE: usize = 200;

/// Name of the matrix as it is.
pub(super) const ORIGINAL: &str = "original";

impl SpectralStudy {
    /// All there is to say of `values`, those of `part`.
    ///
    /// None if `work` is to end before it is all said.
    pub(super) fn analyse(&self, part: &Part, values: &[f32], work: &PartWork) -> Option<Record> {
        let [of_original, of_variant] = self.costs(part.sides());
        let key = Key::from_seed(self.seed).derive(&part.name);
        let measured = part
            .weights(values)
            .and_then(|weights| self.measure(weights, &key.derive(ORIGINAL), work));
        let (mut before, columns) = match measured {
            Ok(measured) => measured,
            Err(SpectrumError::Interrupted) => return None,
            Err(error) => return Some(without_spectrum(part, &error)),
        };
        let subsets = key.derive("rows"); // the same for all variants
        if !self.widths.is_empty() {
            before = self.with_subsets(before, &subsets, work).ok()?; // it only ever ends
        }
        let mut record = Record { variants: Vec::new(), missing: Vec::new() };
        record.variants.push(self.variant(ORIGINAL, columns, &before));
        work.finish(of_original);
        for (name, quantizer) in self.quantizers(part.operand) {
            let quantized = match fake_quantized(&quantizer, part, values) {
                Ok(quantized) => quantized,
                Err(error) => {
                    record.missing.push((name, error.to_string()));
                    continue;
                }
            };
            let keys = [key.derive(&name), subsets];
            match self.compared(part, &before, &quantized, &name, keys, work) {
                Ok(variant) => record.variants.push(variant),
                Err(SpectrumError::Interrupted) => return None,
                Err(error) => record.missing.push((name, error.to_string())),
            }
            work.finish(of_variant);
        }
        Some(record)
    }

    fn compared(
        &self,
        part: &Part,
        before: &Measured,
        quantized: &[f32],
        name: &str,
        [key, subsets]: [Key; 2],
        work: &PartWork,
    ) -> Result<Variant, SpectrumError> {
        let (after, columns) = self.measure(part.weights(quantized)?, &key, work)?;
        let after = self.with_subsets(after, &subsets, work)?;
        let (key, stop) = (key.derive("change"), || work.stop());
        let change = self.comparison.run(before, &after, &self.estimation, &key, &stop)?;
        Ok(Variant {
            change: Some(change.columns),
            reasons: change.reasons,
            ..self.variant(name, columns, &after)
        })
    }

    fn variant(&self, name: &str, mut columns: Columns, measured: &Measured) -> Variant {
        let fit = measured.estimates.fit;
        // In compat mode too: what the means and the changes are made of.
        columns.fit_status = Some(Cow::Borrowed(fit.map_or_else(FitFailure::name, |_| "ok")));
        Variant {
            name: name.to_owned(),
            columns,
            estimates: measured.estimates.columns.clone(),
            fit,
            change: None,
            reasons: Vec::new(),
            curve: curve(measured.spectrum.eigenvalues(), self.estimation.ks.zero_threshold),
        }
    }

    fn measure<'a>(
        &self,
        weights: Weights<'a>,
        key: &Key,
        work: &PartWork,
    ) -> Result<(Measured<'a>, Columns), SpectrumError> {
        let analysis = Analysis {
            ks: self.estimation.ks.clone(),
            clip_xmax: self.clip_xmax,
            mp_fit: self.mp_fit,
            randomize: self.randomize.then(|| key.derive("randomize")),
            ..Analysis::new(self.mode)
        };
        let stop = || work.stop();
        if stop() {
            return Err(SpectrumError::Interrupted);
        }
        let (spectrum, columns) = analysis.run(&weights)?;
        if stop() {
            return Err(SpectrumError::Interrupted);
        }
        let estimates = self.estimation.run(&weights, &spectrum, key, &stop)?;
        Ok((Measured { weights, spectrum, estimates, subsets: None }, columns))
    }

    fn with_subsets<'a>(
        &self,
        measured: Measured<'a>,
        key: &Key,
        work: &PartWork,
    ) -> Result<Measured<'a>, SpectrumError> {
        let (rows, ks) = (&self.comparison.rows, &self.estimation.ks);
        measured.with_subsets(rows, ks, key, &|| work.stop())
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

/// A matrix without a spectrum: its sides, and why.
fn without_spectrum(part: &Part, error: &SpectrumError) -> Record {
    let failure = match error {
        SpectrumError::NonFinite { .. } => FitFailure::NonFinite,
        _ => FitFailure::Degenerate,
    };
    let columns = Columns {
        status: Cow::Borrowed("failed"),
        fit_status: Some(Cow::Borrowed(failure.name())),
        ..Columns::default()
    };
    let variant = Variant {
        name: ORIGINAL.to_owned(),
        columns,
        estimates: EstimateColumns::default(),
        fit: Err(failure),
        change: None,
        reasons: Vec::new(),
        curve: Vec::new(),
    };
    let why = format!("no spectrum of `{}`: {error}", part.name);
    Record { variants: vec![variant], missing: vec![(ORIGINAL.to_owned(), why)] }
}

/// The share of eigenvalues at or above some of `sorted`, ascending: as many of them in every decade of
/// the share, down to what counts as zero.
fn curve(sorted: &[f64], zero_threshold: f64) -> Vec<(f64, f64)> {
    let zero = zero_threshold * sorted.last().copied().unwrap_or(0.0);
    let len = sorted.len();
    let ranks = (0..=CURVE).map(|place| {
        let rank = (len as f64).powf(1.0 - place as f64 / CURVE as f64).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to len")]
        let rank = (rank as usize).clamp(1, len.max(1));
        rank
    });
    let mut curve: Vec<(f64, f64)> = ranks
        .filter_map(|rank| Some((*sorted.get(len.checked_sub(rank)?)?, rank as f64 / len as f64)))
        .filter(|&(x, _)| x > zero)
        .collect();
    curve.dedup();
    curve
}
