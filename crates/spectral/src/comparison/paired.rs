//! How well the change of an exponent is known.
//!
//! # Definition
//! Replicate $b$ draws as many windows of [`Farms`](crate::Farms) as there are, with replacement, *the same
//! before and after*, pools their eigenvalues and takes $\Delta_b = \alpha'_b - \alpha_b$. What is particular to a
//! window cancels; the percentiles of $\Delta_b$ are the interval. Spectra are computed once.
//!
//! # Notes
//! The windows overlap and are few, at most 16 with the defaults: an interval of the right size, not of
//! exact coverage. A matrix with one window has none.
//!
//! # Reference
//! B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 8, for pairs.

use std::num::NonZeroU64;

use counter_rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Interval, TailEstimator, WindowSpectra};

/// Resampling of windows before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairedBootstrap {
    /// Replicates drawn.
    pub replicates: usize,
    /// Share of the replicates inside the interval.
    pub confidence: f64,
}

impl Default for PairedBootstrap {
    fn default() -> Self {
        Self { replicates: 200, confidence: 0.95 }
    }
}

impl PairedBootstrap {
    /// The interval of the change of the exponent by `estimator`. None if the windows do not match, are
    /// fewer than two, or if half of the replicates or more have no exponent on either side. The result
    /// depends on `key` alone, not on the number of threads.
    pub fn interval(
        &self,
        before: &WindowSpectra,
        after: &WindowSpectra,
        estimator: &dyn TailEstimator,
        key: Key,
    ) -> Option<Interval> {
        let count = before.windows();
        let bound = NonZeroU64::new(count as u64)?;
        if count < 2 || after.windows() != count {
            return None;
        }
        let change = |replicate: u64| {
            let mut words = key.index(replicate).words(0);
            #[expect(clippy::cast_possible_truncation, reason = "below the number of windows")]
            let windows: Vec<usize> = (0..count).map(|_| words.below(bound) as usize).collect();
            let [before, after] = [before, after]
                .map(|spectra| estimator.alpha(&spectra.pooled_from(windows.clone())));
            Some(after.ok()? - before.ok()?)
        };
        let changes: Vec<Option<f64>> =
            (0..self.replicates as u64).into_par_iter().map(change).collect();
        let mut usable: Vec<f64> = changes.iter().flatten().copied().collect();
        if 2 * usable.len() <= changes.len() {
            return None;
        }
        Interval::percentile(&mut usable, self.confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Farms, Hill, Weights};

    fn windows(values: &[f32], shape: [usize; 2]) -> WindowSpectra {
        let farms = Farms { rows: 24, ..Farms::default() };
        farms.spectra(&Weights::matrix(values, shape).unwrap()).unwrap()
    }

    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    #[test]
    fn what_windows_share_cancels() {
        let weights = normal(1, 96 * 64);
        let before = windows(&weights, [96, 64]);
        let paired = PairedBootstrap::default();
        let key = Key::from_seed(3);
        let interval = |after: &[f32]| {
            paired.interval(&before, &windows(after, [96, 64]), &Hill::default(), key).unwrap()
        };
        let width = |interval: Interval| interval.upper - interval.lower;
        assert!(width(interval(&weights)) <= 0.0);
        let noisy =
            Weights::matrix(&weights, [96, 64]).unwrap().with_noise(0.5, &Key::from_seed(4));
        let near = interval(noisy.slices().next().unwrap());
        let unrelated = interval(&normal(2, 96 * 64));
        assert!(
            near.contains(0.0) && width(near) < 0.2 * width(unrelated),
            "{near:?} {unrelated:?}"
        );
    }

    #[test]
    fn a_real_change_excludes_zero() {
        // A column space of rank 8 on top of noise: a heavier tail.
        let mut weights = normal(1, 96 * 64);
        let before = windows(&weights, [96, 64]);
        for (place, w) in weights.iter_mut().enumerate() {
            *w *= if place % 64 < 8 { 6.0 } else { 1.0 };
        }
        let after = windows(&weights, [96, 64]);
        let paired = PairedBootstrap::default();
        let interval =
            paired.interval(&before, &after, &Hill::default(), Key::from_seed(3)).unwrap();
        assert!(interval.upper < 0.0, "{interval:?}");
    }

    #[test]
    fn the_interval_does_not_depend_on_the_threads() {
        let before = windows(&normal(1, 60 * 60), [60, 60]);
        let after = windows(&normal(2, 60 * 60), [60, 60]);
        let interval = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let key = Key::from_seed(5);
            let hill = Hill::default();
            pool.install(|| PairedBootstrap::default().interval(&before, &after, &hill, key))
        };
        assert_eq!(interval(1), interval(2));
    }

    #[test]
    fn windows_that_do_not_pair_have_no_interval() {
        let paired = PairedBootstrap::default();
        let hill = Hill::default();
        let key = Key::from_seed(1);
        let one = windows(&normal(1, 24 * 24), [24, 24]);
        assert_eq!(paired.interval(&one, &one, &hill, key), None);
        let four = windows(&normal(1, 24 * 48), [24, 48]);
        assert_eq!(paired.interval(&four, &one, &hill, key), None);
        let dead = windows(&[0.0; 24 * 48], [24, 48]);
        assert_eq!(paired.interval(&four, &dead, &hill, key), None);
    }
}
