//! Everything that is said of one tensor before and after quantisation.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use super::{
    CollapseLimits, CollapseReason, FalseDiscovery, NoiseTest, PairedBootstrap, RowSubsampling,
    TopSubspace, WeightDifference, delta_alpha_fixed, log_wasserstein,
};
use crate::columns::columns;
use crate::spectrum::rough_eigenvalues;
use crate::{Estimation, Measured, SpectrumError, Stop, rank};

/// What is compared, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Comparison {
    /// When a matrix counts as destroyed.
    pub limits: CollapseLimits,
    /// Resampling of windows, for the interval of the change of their exponent.
    pub paired: PairedBootstrap,
    /// Subsets of the rows, for the interval of the change of alpha; each is a spectrum on either side.
    pub rows: RowSubsampling,
    /// Noisy replicates, each a spectrum; 0 to leave the noise floor out.
    pub noise_replicates: u64,
    /// Leading directions whose drift is measured, at three times the cost of a spectrum for either
    /// side; 0 to leave it out. Dense tensors only.
    pub directions: usize,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            limits: CollapseLimits::default(),
            paired: PairedBootstrap::default(),
            rows: RowSubsampling::default(),
            noise_replicates: 16,
            directions: 0,
        }
    }
}

columns! {
    /// The change of one tensor. `None` is an empty cell.
    pub struct ChangeColumns {
        /// Change of alpha, each fit with its own threshold.
        delta_alpha: Option<f64> = "delta_alpha",
        /// Lower end of the interval of that change, from subsets of the rows.
        delta_alpha_lo: Option<f64> = "delta_alpha_lo",
        /// Upper end.
        delta_alpha_hi: Option<f64> = "delta_alpha_hi",
        /// Subsets that had a fit before and after.
        delta_alpha_fits: Option<i64> = "delta_alpha_fits",
        /// Change of alpha at the threshold of the original.
        delta_alpha_fixed_xmin: Option<f64> = "delta_alpha_fixed_xmin",
        /// Change of Hill's exponent.
        delta_hill: Option<f64> = "delta_hill",
        /// Change of the exponent of the windows.
        delta_farms: Option<f64> = "delta_farms",
        /// Lower end of the interval of that change, from resampled windows.
        delta_lo: Option<f64> = "delta_lo",
        /// Upper end.
        delta_hi: Option<f64> = "delta_hi",
        /// Mean alpha of the original with Gaussian noise of the same norm.
        noise_mean: Option<f64> = "noise_mean",
        /// Standard deviation of alpha with such noise.
        noise_sd: Option<f64> = "noise_sd",
        /// Noisy replicates that had a fit.
        noise_fits: Option<i64> = "noise_fits",
        /// p-value against the noise by counting.
        p: Option<f64> = "p",
        /// p-value against the noise by Student's distribution.
        p_student: Option<f64> = "p_student",
        /// `p_student` adjusted over the layers of the variant.
        p_adj: Option<f64> = "p_adj",
        /// Signal to noise in decibels.
        snr_db: Option<f64> = "snr_db",
        /// Norm of the error over that of the weights.
        rel_error: Option<f64> = "rel_error",
        /// Share of zeros.
        zero_fraction: f64 = "zero_fraction",
        /// Rows of zeros.
        zero_rows: i64 = "zero_rows",
        /// Columns of zeros.
        zero_cols: i64 = "zero_cols",
        /// Distinct values.
        levels: i64 = "levels",
        /// Decades by which the largest eigenvalue moved.
        log_lambda_max_shift: Option<f64> = "log_lambda_max_shift",
        /// Wasserstein distance of the spectra in decades.
        log_wasserstein: Option<f64> = "log_wasserstein",
        /// Mean squared sine between the leading right singular subspaces.
        subspace_drift: Option<f64> = "subspace_drift",
        /// Whether the matrix is destroyed.
        collapsed: bool = "collapsed",
    }
}

/// The change of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Why the tensor counts as collapsed; none if it does not.
    pub reasons: Vec<CollapseReason>,
    /// Everything as columns; `p_adj` is empty until [`FalseDiscovery::adjust_changes`].
    pub columns: ChangeColumns,
}

impl Comparison {
    /// Compares two sides, both measured by `estimation`; `key` draws replicates and noise.
    ///
    /// # Errors
    /// If the sides differ in shape, an eigenvalue iteration fails, or `stop` ends the work.
    pub fn run(
        &self,
        before: &Measured,
        after: &Measured,
        estimation: &Estimation,
        key: &Key,
        stop: Stop,
    ) -> Result<Change, SpectrumError> {
        let weights = WeightDifference::of(&before.weights, &after.weights)?;
        let [a, b] = [before, after].map(|side| side.spectrum.eigenvalues());
        let ranks = [a, b].map(|sorted| rank(sorted, estimation.ks.zero_threshold));
        let reasons = self.limits.reasons(&weights, ranks[0], ranks[1]);
        let mut columns = ChangeColumns {
            snr_db: Some(weights.snr_db).filter(|it| it.is_finite()),
            rel_error: Some(weights.relative_error).filter(|it| it.is_finite()),
            zero_fraction: weights.zero_fraction,
            zero_rows: count(weights.zero_rows),
            zero_cols: count(weights.zero_columns),
            levels: count(weights.levels),
            log_lambda_max_shift: Some(
                (after.spectrum.largest() / before.spectrum.largest()).log10(),
            )
            .filter(|it| it.is_finite()),
            log_wasserstein: log_wasserstein(a, b),
            subspace_drift: self.subspace_drift(before, after)?,
            collapsed: !reasons.is_empty(),
            ..ChangeColumns::default()
        };
        self.set_delta(&mut columns, before, after, estimation, key);
        let noise = self.noise_test(before, after, estimation, weights.error_norm, key, stop)?;
        columns.noise_mean = noise.map(|it| it.mean);
        columns.noise_sd = noise.map(|it| it.standard_deviation);
        columns.noise_fits = noise.map(|it| count(it.replicates));
        columns.p = noise.map(|it| it.p);
        columns.p_student = noise.map(|it| it.p_student);
        Ok(Change { reasons, columns })
    }

    fn set_delta(
        &self,
        columns: &mut ChangeColumns,
        before: &Measured,
        after: &Measured,
        estimation: &Estimation,
        key: &Key,
    ) {
        let [a, b] = [before, after].map(|side| &side.estimates);
        let difference = |a: Option<f64>, b: Option<f64>| Some(b? - a?);
        columns.delta_hill = difference(a.columns.hill, b.columns.hill);
        columns.delta_farms = difference(a.columns.farms, b.columns.farms);
        if let Ok(fit) = &a.fit {
            columns.delta_alpha = b.fit.ok().map(|after| after.alpha - fit.alpha);
            let sorted = after.spectrum.eigenvalues();
            columns.delta_alpha_fixed_xmin =
                delta_alpha_fixed(fit, sorted, estimation.ks.min_tail).ok();
        }
        if let (Some(a), Some(b)) = (&before.subsets, &after.subsets) {
            columns.delta_alpha_fits = Some(count(a.changes(b).len()));
            let interval = columns.delta_alpha.and_then(|it| self.rows.interval(it, a, b));
            columns.delta_alpha_lo = interval.map(|it| it.lower);
            columns.delta_alpha_hi = interval.map(|it| it.upper);
        }
        if let (Some(a), Some(b)) = (&a.windows, &b.windows) {
            let interval = self.paired.interval(a, b, &estimation.hill, key.derive("paired"));
            columns.delta_lo = interval.map(|it| it.lower);
            columns.delta_hi = interval.map(|it| it.upper);
        }
    }

    /// The exponent after beside those of noise of the norm `norm`; nothing if there is nothing to test.
    fn noise_test(
        &self,
        before: &Measured,
        after: &Measured,
        estimation: &Estimation,
        norm: f64,
        key: &Key,
        stop: Stop,
    ) -> Result<Option<NoiseTest>, SpectrumError> {
        let Some(fit) = after.estimates.fit.ok().filter(|_| norm > 0.0) else { return Ok(None) };
        let mut alphas = Vec::new();
        for replicate in 0..self.noise_replicates {
            if stop() {
                return Err(SpectrumError::Interrupted);
            }
            let key = key.derive("noise").index(replicate);
            let noisy = before.weights.with_noise(norm, &key);
            // Six digits are enough of what chance decides. Noise beyond the range of numbers has no fit.
            let fit = rough_eigenvalues(&noisy).ok().map(|it| estimation.ks.fit(&it));
            alphas.extend(fit.and_then(Result::ok).map(|fit| fit.alpha));
        }
        Ok(NoiseTest::of(fit.alpha, &alphas))
    }

    fn subspace_drift(
        &self,
        before: &Measured,
        after: &Measured,
    ) -> Result<Option<f64>, SpectrumError> {
        let [a, b] = [before, after].map(|side| {
            let dense = side.weights.slices().len() == 1;
            side.weights.slices().next().filter(|_| dense && self.directions > 0)
        });
        let Some((a, b)) = a.zip(b) else { return Ok(None) };
        let top = |values, side: &Measured| {
            TopSubspace::of(values, side.weights.shape(), self.directions)
        };
        Ok(top(a, before)?.drift(&top(b, after)?))
    }
}

impl FalseDiscovery {
    /// Fills `p_adj` of all layers of one variant from their `p_student`; a layer without a test stays
    /// without one and is not counted.
    pub fn adjust_changes<'a>(self, layers: impl IntoIterator<Item = &'a mut ChangeColumns>) {
        let mut tested: Vec<&mut ChangeColumns> =
            layers.into_iter().filter(|layer| layer.p_student.is_some()).collect();
        let p: Vec<f64> = tested.iter().filter_map(|layer| layer.p_student).collect();
        for (layer, p) in tested.iter_mut().zip(self.adjust(&p)) {
            layer.p_adj = Some(p);
        }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "no more than there is memory for")]
fn count(count: usize) -> i64 {
    count as i64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Bootstrap, Farms, NEVER, Weights};

    const SHAPE: [usize; 2] = [96, 64];

    fn estimation() -> Estimation {
        let bootstrap = Bootstrap { replicates: 40, ..Bootstrap::default() };
        let farms = Farms { rows: 32, ..Farms::default() };
        Estimation { farms, bootstrap, ..Estimation::default() }
    }

    fn heavy() -> Vec<f32> {
        let mut values = vec![0.0; 96 * 64];
        Key::from_seed(1).fill_normal(0, &mut values);
        let scale = |place: usize| 3.0 / (1.0 + (place % 64) as f32).sqrt();
        values.iter_mut().enumerate().for_each(|(place, value)| *value *= scale(place));
        values
    }

    fn change(before: &[f32], after: &[f32], comparison: &Comparison) -> Change {
        let [before, after] = [before, after].map(|values| {
            let weights = Weights::matrix(values, SHAPE).unwrap();
            Measured::new(weights, &estimation(), &Key::from_seed(2)).unwrap()
        });
        comparison.run(&before, &after, &estimation(), &Key::from_seed(3), NEVER).unwrap()
    }

    /// Symmetric, `levels` on either side of zero, one scale.
    fn quantised(values: &[f32], levels: f32) -> Vec<f32> {
        let scale = values.iter().fold(0.0_f32, |max, w| max.max(w.abs())) / levels;
        values.iter().map(|w| (w / scale).round_ties_even() * scale).collect()
    }

    #[test]
    fn nothing_changed() {
        let values = heavy();
        let comparison = Comparison { directions: 4, ..Comparison::default() };
        let Change { reasons, columns } = change(&values, &values, &comparison);
        assert_eq!(reasons, []);
        assert_eq!((columns.delta_alpha, columns.delta_hill), (Some(0.0), Some(0.0)));
        assert!(columns.delta_alpha_fixed_xmin.unwrap().abs() < 1e-12);
        assert!(columns.subspace_drift.unwrap() < 1e-12);
        assert_eq!((columns.snr_db, columns.rel_error), (None, Some(0.0)));
        assert_eq!((columns.p, columns.collapsed), (None, false));
    }

    #[test]
    fn four_levels_are_noise_and_one_destroys() {
        let values = heavy();
        let fine = change(&values, &quantised(&values, 127.0), &Comparison::default());
        assert_eq!(fine.reasons, []);
        let noise = (fine.columns.noise_mean, fine.columns.noise_sd, fine.columns.p_student);
        assert!(noise.0.is_some() && noise.1.is_some() && noise.2.is_some(), "{fine:?}");
        assert_eq!(fine.columns.subspace_drift, None); // not asked for
        let coarse = change(&values, &quantised(&values, 1.0), &Comparison::default());
        assert!(coarse.reasons.contains(&CollapseReason::Levels), "{coarse:?}");
        assert!(coarse.columns.collapsed && coarse.columns.levels == 3);
        let lost = change(&values, &vec![0.0; 96 * 64], &Comparison::default());
        assert_eq!((lost.columns.delta_alpha, lost.columns.p), (None, None));
        assert_eq!(lost.columns.zero_rows, 96);
        assert_eq!(lost.reasons.len(), 5);
    }

    #[test]
    fn whoever_asks_for_an_end_gets_it_between_two_replicates_of_the_noise() {
        let values = heavy();
        let sides = [values.clone(), quantised(&values, 127.0)];
        let [before, after] = sides.each_ref().map(|values| {
            let weights = Weights::matrix(values, SHAPE).unwrap();
            Measured::new(weights, &estimation(), &Key::from_seed(2)).unwrap()
        });
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) == 3;
        let comparison = Comparison::default();
        let ended = comparison.run(&before, &after, &estimation(), &Key::from_seed(3), &stop);
        assert_eq!((ended.err(), asked.into_inner()), (Some(SpectrumError::Interrupted), 4));
    }

    #[test]
    fn the_change_of_alpha_lies_in_its_interval_and_nothing_is_certain_of_itself() {
        let values = heavy();
        let rows = RowSubsampling { replicates: 20, ..RowSubsampling::default() };
        let comparison = Comparison { noise_replicates: 0, rows, ..Comparison::default() };
        let columns = |after: &[f32]| {
            let [before, after] = [&values[..], after].map(|values| {
                let weights = Weights::matrix(values, SHAPE).unwrap();
                let measured = Measured::new(weights, &estimation(), &Key::from_seed(2)).unwrap();
                let ks = estimation().ks;
                measured.with_subsets(&comparison.rows, &ks, &Key::from_seed(4), NEVER).unwrap()
            });
            let key = Key::from_seed(3);
            comparison.run(&before, &after, &estimation(), &key, NEVER).unwrap().columns
        };
        let coarse = columns(&quantised(&values, 7.0));
        let ends = [coarse.delta_alpha_lo.unwrap(), coarse.delta_alpha_hi.unwrap()];
        let middle = 0.5 * (ends[0] + ends[1]);
        assert!((middle - coarse.delta_alpha.unwrap()).abs() < 1e-12 && ends[0] < ends[1]);
        assert_eq!(coarse.delta_alpha_fits, Some(20));
        let same = columns(&values);
        assert_eq!((same.delta_alpha_lo, same.delta_alpha_hi), (Some(0.0), Some(0.0)));
        // A matrix without an exponent has no subsets, and one compared without subsets no interval.
        let lost = columns(&vec![0.0; 96 * 64]);
        assert_eq!((lost.delta_alpha_lo, lost.delta_alpha_fits), (None, None));
        let without = change(&values, &quantised(&values, 7.0), &comparison).columns;
        assert_eq!((without.delta_alpha_lo, without.delta_alpha_fits), (None, None));
    }

    #[test]
    fn only_tested_layers_are_adjusted() {
        let layer = |p_student| ChangeColumns { p_student, ..ChangeColumns::default() };
        let mut layers = [layer(Some(0.03)), layer(None), layer(Some(0.01))];
        FalseDiscovery::default().adjust_changes(&mut layers);
        assert_eq!(layers.map(|layer| layer.p_adj), [Some(0.03), None, Some(0.02)]);
    }
}
