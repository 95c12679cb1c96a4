//! What became of a model's layers under one variant.
//!
//! # Definition
//! Only layers with a fit before *and* after enter an average; the others are counted. The mean change
//! has Student's interval over the layers, $\bar d \pm t_{m-1} \, s / \sqrt m$.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{kendall, pearson, spearman};
use crate::interval::quantile;
use crate::{FitFailure, Interval};

/// The exponents of a layer before and after, and what was concluded about it.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOutcome {
    /// Exponent of the original, or why it has none.
    pub before: Result<f64, FitFailure>,
    /// Exponent of the variant, or why it has none.
    pub after: Result<f64, FitFailure>,
    /// Whether the matrix is destroyed, for any reason.
    pub collapsed: bool,
    /// p-value of the change against the noise floor, adjusted over the layers; None if not tested.
    pub p_adjusted: Option<f64>,
}

/// How a summary is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SummarySettings {
    /// The range of exponents that is called well trained, ends included.
    pub range: Interval,
    /// Confidence of the interval of the mean change.
    pub confidence: f64,
    /// Largest adjusted p-value that is significant: the share of false discoveries allowed.
    pub false_discoveries: f64,
}

impl Default for SummarySettings {
    fn default() -> Self {
        let range = Interval { lower: 2.0, upper: 6.0 };
        Self { range, confidence: 0.95, false_discoveries: 0.05 }
    }
}

/// Centre of the exponents of the compared layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Centre {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
}

/// The layers of a model under one variant. None is written where no layer or too few could be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantSummary {
    /// All layers.
    pub layers: usize,
    /// Layers with a fit after quantisation.
    pub ok: usize,
    /// Layers without one.
    pub failed: usize,
    /// Layers destroyed, with or without a fit.
    pub collapsed: usize,
    /// Layers with a fit before and after: the denominator of all that follows.
    pub compared: usize,
    /// Exponents before.
    pub before: Option<Centre>,
    /// Exponents after.
    pub after: Option<Centre>,
    /// Compared layers in range before.
    pub in_range_before: usize,
    /// Compared layers in range after, collapsed ones included.
    pub in_range_after: usize,
    /// Compared layers in range before and after.
    pub stayed_in_range: usize,
    /// Of these, the layers that did not collapse.
    pub stayed_in_range_sound: usize,
    /// Mean change of the exponent.
    pub mean_change: Option<f64>,
    /// Its interval.
    pub mean_change_interval: Option<Interval>,
    /// Pearson's correlation with the original.
    pub pearson: Option<f64>,
    /// Spearman's rank correlation with the original.
    pub spearman: Option<f64>,
    /// Kendall's rank correlation with the original.
    pub kendall: Option<f64>,
    /// Layers with an adjusted p-value.
    pub tested: usize,
    /// Layers whose change is significant.
    pub significant: usize,
}

impl SummarySettings {
    /// Summarises `layers`, one outcome for each layer of a variant.
    pub fn summarise(&self, layers: &[LayerOutcome]) -> VariantSummary {
        let compared: Vec<(f64, f64, bool)> = layers
            .iter()
            .filter_map(|layer| Some((layer.before.ok()?, layer.after.ok()?, layer.collapsed)))
            .collect();
        let pairs: Vec<(f64, f64)> = compared.iter().map(|layer| (layer.0, layer.1)).collect();
        let count = |test: &dyn Fn(&(f64, f64, bool)) -> bool| {
            compared.iter().filter(|layer| test(layer)).count()
        };
        let inside = |alpha| self.range.contains(alpha);
        let ok = layers.iter().filter(|layer| layer.after.is_ok()).count();
        let changes: Vec<f64> = pairs.iter().map(|(before, after)| after - before).collect();
        let p = || layers.iter().filter_map(|layer| layer.p_adjusted);
        VariantSummary {
            layers: layers.len(),
            ok,
            failed: layers.len() - ok,
            collapsed: layers.iter().filter(|layer| layer.collapsed).count(),
            compared: compared.len(),
            before: centre(pairs.iter().map(|pair| pair.0)),
            after: centre(pairs.iter().map(|pair| pair.1)),
            in_range_before: count(&|layer| inside(layer.0)),
            in_range_after: count(&|layer| inside(layer.1)),
            stayed_in_range: count(&|layer| inside(layer.0) && inside(layer.1)),
            stayed_in_range_sound: count(&|layer| inside(layer.0) && inside(layer.1) && !layer.2),
            mean_change: centre(changes.iter().copied()).map(|centre| centre.mean),
            mean_change_interval: student_interval(&changes, self.confidence),
            pearson: pearson(&pairs),
            spearman: spearman(&pairs),
            kendall: kendall(&pairs),
            tested: p().count(),
            significant: p().filter(|&p| p <= self.false_discoveries).count(),
        }
    }
}

fn centre(values: impl Iterator<Item = f64>) -> Option<Centre> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (!values.is_empty()).then(|| Centre { mean, median: quantile(&values, 0.5) })
}

/// Student's interval of the mean of `values`; None for fewer than two.
fn student_interval(values: &[f64], confidence: f64) -> Option<Interval> {
    let m = values.len() as f64;
    let student = StudentsT::new(0.0, 1.0, m - 1.0).ok()?;
    let t = student.inverse_cdf(0.5 * (1.0 + confidence.clamp(0.0, 1.0)));
    let mean = values.iter().sum::<f64>() / m;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (m - 1.0);
    let reach = t * (variance / m).sqrt();
    (!reach.is_nan()).then_some(Interval { lower: mean - reach, upper: mean + reach })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(before: f64, after: f64) -> LayerOutcome {
        LayerOutcome { before: Ok(before), after: Ok(after), collapsed: false, p_adjusted: None }
    }

    #[test]
    fn failed_fits_are_counted_and_enter_nothing_else() {
        let failed = LayerOutcome { after: Err(FitFailure::Tied), ..layer(5.0, 0.0) };
        let collapsed = LayerOutcome { collapsed: true, p_adjusted: Some(0.05), ..layer(3.0, 2.5) };
        let moved = LayerOutcome { p_adjusted: Some(0.06), ..layer(7.0, 4.5) };
        let layers = [layer(2.0, 3.5), failed, collapsed, moved];
        let summary = SummarySettings::default().summarise(&layers);
        assert_eq!((summary.layers, summary.ok, summary.failed), (4, 3, 1));
        assert_eq!((summary.collapsed, summary.compared), (1, 3));
        // before 2, 3, 7; after 3.5, 2.5, 4.5
        assert_eq!(summary.before, Some(Centre { mean: 4.0, median: 3.0 }));
        assert_eq!(summary.after, Some(Centre { mean: 3.5, median: 3.5 }));
        assert_eq!((summary.in_range_before, summary.in_range_after), (2, 3));
        assert_eq!((summary.stayed_in_range, summary.stayed_in_range_sound), (2, 1));
        assert_eq!((summary.tested, summary.significant), (2, 1));
        // changes 1.5, -.5, -2.5: mean -.5, deviation 2, t_.975 with 2 degrees 4.302653
        assert_eq!(summary.mean_change, Some(-0.5));
        let reach = 4.302_652_729_911_275 * 2.0 / 3.0_f64.sqrt();
        let interval = summary.mean_change_interval.unwrap();
        assert!((interval.upper + 0.5 - reach).abs() < 1e-8, "{interval:?}");
        assert!((interval.lower + 0.5 + reach).abs() < 1e-8, "{interval:?}");
        assert_eq!(summary.kendall, Some(1.0 / 3.0)); // two of three pairs in order
    }

    #[test]
    fn a_model_without_a_fit_has_counts_only() {
        let nothing = LayerOutcome { before: Err(FitFailure::AllZero), ..layer(0.0, 3.0) };
        let summary = SummarySettings::default().summarise(&[nothing]);
        assert_eq!((summary.layers, summary.ok, summary.compared), (1, 1, 0));
        assert_eq!((summary.before, summary.mean_change, summary.pearson), (None, None, None));
        assert_eq!(SummarySettings::default().summarise(&[]).mean_change_interval, None);
        let one = SummarySettings::default().summarise(&[layer(2.0, 3.0)]);
        assert_eq!((one.mean_change, one.mean_change_interval), (Some(1.0), None));
    }
}
