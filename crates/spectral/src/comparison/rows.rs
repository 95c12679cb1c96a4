//! How well the change of the power law's exponent is known.
//!
//! # Definition
//! Replicate $b$ keeps the rows $S_b$, $m$ of $n$ drawn without replacement, *the same before and after*, and
//! fits the power law to either spectrum, each with its own threshold: $\Delta_b = \alpha'_b - \alpha_b$. Their
//! spread about their mean $\bar\Delta$ gives a standard error, and with it the interval of the change
//! $\Delta$ of the whole matrix,
//! $$ s^2 = \frac{m}{n - m} \cdot \frac1B \sum_b (\Delta_b - \bar\Delta)^2, \qquad \Delta \pm z s, $$
//! $z$ the normal quantile of the confidence. Replicates without a fit on both sides are left out of the
//! sum and counted; if they are half or more, there is no interval.
//!
//! # Reference
//! J. Shao, C. F. J. Wu, *A general theory for jackknife variance estimation*, Annals of Statistics 17
//! (1989): the jackknife that deletes $d = n - m$, which unlike the one that deletes a single row is
//! sound for what is not smooth, such as a fit that chooses its threshold.
//!
//! # Notes
//! - Subsets of 80 % share most of their rows, so that they differ less from one another than matrices
//!   do: of a mean, $\operatorname{Var}(\Delta_b) = \sigma^2 (1/m - 1/n)$ where $\sigma^2/n$ is wanted. That is
//!   the factor $m/(n - m)$, here 4.
//! - It is the error of a matrix whose rows are draws from one law: the interval says where the change
//!   would lie for another such matrix.
//! - A threshold that jumps does so in subsets of any size: their spread then shrinks less than
//!   $1/m - 1/n$ does, and the factor makes too much of it. In the simulations of the tests the standard
//!   error at 80 % is about twice what it should be, and nearly every interval holds the change where
//!   95 % should; at half of the rows, where the factor is 1, it is right to about a third. Yet half of
//!   a matrix is another matrix, with another aspect ratio and other thresholds: on real ones that may
//!   cost more than the factor, so the default is the careful 80 %. docs/REPRODUCING.md has both.

use counter_rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::subset::RowSubsets;
use crate::{Interval, KsFit, KsScratch, SpectrumError, Stop, Weights};

/// Subsets of the rows, before and after. Each is two spectra more, so that there are none by default; 200
/// make an interval.
///
/// ```toml
/// [rows]
/// replicates = 200
/// share = 0.8
/// confidence = 0.95
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowSubsampling {
    /// Subsets drawn; 0 for no interval.
    pub replicates: u64,
    /// Share of the rows in a subset, between 0 and 1.
    pub share: f64,
    /// Probability that the interval holds the change.
    pub confidence: f64,
}

impl Default for RowSubsampling {
    fn default() -> Self {
        Self { replicates: 0, share: 0.8, confidence: 0.95 }
    }
}

/// The exponents of the subsets of one tensor, in the order in which they were drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct SubsetAlphas {
    /// Of each subset; none where there was no fit.
    alphas: Vec<Option<f64>>,
    /// $m/(n - m)$.
    factor: f64,
}

impl RowSubsampling {
    /// The exponents of the subsets of `weights` that `key` draws: the same rows of all tensors with as
    /// many. A best tail that is the smallest allowed one is accepted, as in
    /// [`Bootstrap`](crate::Bootstrap). None if there are no replicates, or no subset smaller than the
    /// whole. The result depends on `key` alone, not on the number of threads.
    ///
    /// # Errors
    /// [`SpectrumError::Interrupted`], where `stop` asks for an end.
    pub fn alphas(
        &self,
        weights: &Weights,
        settings: &KsFit,
        key: &Key,
        stop: Stop<'_>,
    ) -> Result<Option<SubsetAlphas>, SpectrumError> {
        let [rows, _] = weights.shape();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let kept = (self.share.clamp(0.0, 1.0) * rows as f64).round() as usize;
        if self.replicates == 0 || kept == 0 || kept >= rows {
            return Ok(None);
        }
        let subsets = RowSubsets::new(weights, kept);
        let alpha = |scratch: &mut KsScratch, replicate| {
            if stop() {
                return Err(SpectrumError::Interrupted);
            }
            let order = key.index(replicate).permutation(rows);
            let mut order: Vec<usize> = order.into_iter().map(|row| row as usize).collect();
            let (kept, dropped) = order.split_at_mut(kept);
            kept.sort_unstable();
            let Ok(sorted) = subsets.eigenvalues(kept, dropped) else { return Ok(None) };
            Ok(settings.select(&sorted, scratch).ok().map(|fit| fit.alpha))
        };
        let alphas = (0..self.replicates).into_par_iter().map_init(KsScratch::default, alpha);
        let factor = kept as f64 / (rows - kept) as f64;
        Ok(Some(SubsetAlphas { alphas: alphas.collect::<Result<_, _>>()?, factor }))
    }

    /// The interval of `change`, that of the exponent of the whole, from the subsets `before` and
    /// `after`, drawn by one key. None if half of the replicates or more have no change, or if there
    /// are fewer than two that have one.
    pub fn interval(
        &self,
        change: f64,
        before: &SubsetAlphas,
        after: &SubsetAlphas,
    ) -> Option<Interval> {
        let changes = before.changes(after);
        if changes.len() < 2 || 2 * changes.len() <= before.alphas.len() {
            return None;
        }
        let normal = Normal::standard().inverse_cdf(0.5 * (1.0 + self.confidence.clamp(0.0, 1.0)));
        let reach = normal * standard_error(&changes, before.factor);
        reach.is_finite().then_some(Interval { lower: change - reach, upper: change + reach })
    }
}

impl SubsetAlphas {
    /// The changes of the exponent to `after`, of the subsets that have one on both sides.
    pub fn changes(&self, after: &Self) -> Vec<f64> {
        let pairs = self.alphas.iter().zip(&after.alphas);
        pairs.filter_map(|(before, after)| Some((*after)? - (*before)?)).collect()
    }
}

/// $s$ for the `changes` of subsets, `factor` being $m/(n - m)$.
fn standard_error(changes: &[f64], factor: f64) -> f64 {
    let count = changes.len() as f64;
    let mean = changes.iter().sum::<f64>() / count;
    let squares: f64 = changes.iter().map(|change| (change - mean).powi(2)).sum();
    (factor * squares / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NEVER, Route, Spectrum};

    const SUBSETS: RowSubsampling = RowSubsampling { replicates: 40, share: 0.8, confidence: 0.95 };

    fn normal(key: &Key, [rows, cols]: [usize; 2]) -> Vec<f32> {
        let mut values = vec![0.0; rows * cols];
        key.fill_normal(0, &mut values);
        for (place, value) in values.iter_mut().enumerate() {
            *value *= 2.0 / (1.0 + (place % cols) as f32).powf(0.4); // a heavy tail
        }
        values
    }

    fn rounded(values: &[f32], step: f32) -> Vec<f32> {
        values.iter().map(|w| (w / step).round_ties_even() * step).collect()
    }

    fn alphas(settings: &RowSubsampling, values: &[f32], shape: [usize; 2]) -> SubsetAlphas {
        let weights = Weights::matrix(values, shape).unwrap();
        settings.alphas(&weights, &KsFit::default(), &Key::from_seed(3), NEVER).unwrap().unwrap()
    }

    #[test]
    fn of_a_mean_the_error_is_the_textbook_one() {
        // 1, 2, 3, 6 have mean 3 and variance (4 + 1 + 0 + 9)/3 = 14/3, so the mean an error of 14/12.
        // All pairs: 1.5, 2, 3.5, 2.5, 4, 4.5; squares 2.25, 1, .25, .25, 1, 2.25 have mean 7/6 = 14/12,
        // and 2/(4 - 2) = 1.
        let pairs = [1.5, 2.0, 3.5, 2.5, 4.0, 4.5];
        assert!((standard_error(&pairs, 1.0).powi(2) - 14.0 / 12.0).abs() < 1e-14);
        // All threes: 2, 3, 10/3, 11/3; squares 1, 0, 1/9, 4/9 have mean 14/36, and 3/(4 - 3) = 3.
        let threes = [2.0, 3.0, 10.0 / 3.0, 11.0 / 3.0];
        assert!((standard_error(&threes, 3.0).powi(2) - 14.0 / 12.0).abs() < 1e-14);
    }

    #[test]
    fn an_interval_by_hand_and_none() {
        let of = |alphas: &[Option<f64>]| SubsetAlphas { alphas: alphas.to_vec(), factor: 4.0 };
        let before = of(&[Some(2.0), Some(2.5), None, Some(3.0), Some(2.0)]);
        let after = of(&[Some(2.5), Some(3.5), Some(9.0), Some(3.5), None]);
        assert_eq!(before.changes(&after), [0.5, 1.0, 0.5]);
        // mean 2/3, squares 1/36, 4/36, 1/36; s^2 = 4 (1/6)/3 = 2/9, and z = 1.959964
        let interval = SUBSETS.interval(0.5, &before, &after).unwrap();
        let reach = 1.959_963_984_540_054 * 2.0_f64.sqrt() / 3.0;
        assert!((interval.upper - 0.5 - reach).abs() < 1e-9, "{interval:?}");
        assert!((interval.lower - 0.5 + reach).abs() < 1e-9, "{interval:?}");
        // Two of four are half; one is no spread.
        let two = [of(&[Some(1.0), Some(2.0), None, None]), of(&[Some(1.0); 4])];
        assert_eq!(SUBSETS.interval(0.0, &two[0], &two[1]), None);
        assert_eq!(SUBSETS.interval(0.0, &of(&[Some(1.0)]), &of(&[Some(1.0)])), None);
    }

    #[test]
    fn what_did_not_change_is_certain() {
        for shape in [[60, 40], [40, 60]] {
            let values = normal(&Key::from_seed(1), shape);
            let before = alphas(&SUBSETS, &values, shape);
            let interval = SUBSETS.interval(0.0, &before, &before).unwrap();
            assert_eq!(interval, Interval { lower: 0.0, upper: 0.0 });
            assert_eq!(before.changes(&before).len(), 40);
        }
    }

    #[test]
    fn matrices_without_subsets_or_fits() {
        let alphas = |rows: usize, settings: &RowSubsampling| {
            let values = vec![0.0; rows * 30];
            let weights = Weights::matrix(&values, [rows, 30]).unwrap();
            settings.alphas(&weights, &KsFit::default(), &Key::from_seed(1), NEVER).unwrap()
        };
        assert_eq!(alphas(40, &RowSubsampling::default()), None);
        assert_eq!(alphas(2, &SUBSETS), None); // 1.6 is rounded to both
        assert_eq!(alphas(40, &RowSubsampling { share: 0.0, ..SUBSETS }), None);
        let zeros = alphas(40, &SUBSETS).unwrap();
        assert_eq!(zeros.alphas, [None; 40]);
        assert_eq!(SUBSETS.interval(0.0, &zeros, &zeros), None);
    }

    #[test]
    fn subsets_do_not_depend_on_the_threads() {
        let values = normal(&Key::from_seed(1), [50, 30]);
        let alphas = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| alphas(&SUBSETS, &values, [50, 30]))
        };
        assert_eq!(alphas(1), alphas(2));
    }

    /// Matrices of normal rows, rounded: how many of 100 intervals hold the mean change, and their mean
    /// standard error over that of the changes.
    fn simulated(shape: [usize; 2], share: f64) -> (usize, f64) {
        let settings = RowSubsampling { replicates: 25, share, ..SUBSETS };
        let sides = |draw: u64| {
            let before = normal(&Key::from_seed(7).index(draw), shape);
            [rounded(&before, 0.6), before]
        };
        let change = |[after, before]: &[Vec<f32>; 2]| {
            let alpha = |values: &[f32]| {
                let spectrum = Spectrum::from_matrix(values, shape, Route::Gram).unwrap();
                KsFit::default().fit(spectrum.eigenvalues()).ok().map(|fit| fit.alpha)
            };
            Some(alpha(after)? - alpha(before)?)
        };
        let all: Vec<f64> = (1000..1400).filter_map(|draw| change(&sides(draw))).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let error = standard_error(&all, 1.0);
        let intervals = (0..).filter_map(|draw| {
            let sides = sides(draw);
            let [after, before] = sides.each_ref().map(|it| alphas(&settings, it, shape));
            settings.interval(change(&sides)?, &before, &after)
        });
        let intervals: Vec<Interval> = intervals.take(100).collect();
        let reach = intervals.iter().map(|it| it.upper - it.lower).sum::<f64>() / 200.0;
        (intervals.iter().filter(|it| it.contains(mean)).count(), reach / 1.959_964 / error)
    }

    #[test]
    fn intervals_hold_the_change_as_often_as_they_say_or_more() {
        for shape in [[90, 50], [50, 90]] {
            let (held, ratio) = simulated(shape, 0.8);
            assert!(held >= 95 && (1.5..2.5).contains(&ratio), "{shape:?}: {held} {ratio}");
            let (held, ratio) = simulated(shape, 0.5);
            // 95 with a standard deviation of 2.2: three below.
            assert!(held >= 88 && (0.8..1.4).contains(&ratio), "{shape:?}: {held} {ratio}");
        }
    }
}
