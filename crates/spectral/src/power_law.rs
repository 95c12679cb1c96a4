//! The power law whose lower end is chosen by the Kolmogorov-Smirnov distance.
//!
//! # Definition
//! For ascending $x_0 \le \dots \le x_{N-1}$ and every candidate $i$ with $n = N - i$ values above,
//! $$ \alpha_i = 1 + \frac{n}{S_i}, \qquad S_i = \sum_{j \ge i} \ln \frac{x_j}{x_i}, \qquad
//!    D_i = \max_{j \ge i} \left| 1 - (x_j / x_i)^{1 - \alpha_i} - \tfrac{j - i}{n} \right|, $$
//! and the fit is the first $i$ of least $D_i$, with $\sigma = (\alpha - 1)/\sqrt n$ and
//! $x_{\min} = x_i$.
//!
//! # Reference
//! A. Clauset, C. R. Shalizi, M. E. J. Newman, *Power-law distributions in empirical data*, SIAM
//! Review 51 (2009), arXiv:0706.1062.
//!
//! # Notes
//! - $\sigma$ is the standard error at a known $x_{\min}$: it ignores the choice and is a fifth to a
//!   third too small. A bootstrap that chooses again in every replicate says what is known.
//! - The empirical distribution is one-sided, $0, 1/n, \dots, (n-1)/n$, as in WeightWatcher.
//! - $S_i = S_{i+1} + (n - 1) \ln(x_{i+1}/x_i)$ only adds what is not negative, so tied values give
//!   exactly zero.
//! - All $D_i$ take $N^2/2$ powers. Few are needed: a candidate is refuted by one place $j$ whose
//!   deviation exceeds the best distance so far, mostly the one that refuted its neighbour, and both
//!   distribution functions rise, so the ends of a stretch of places bound all between. Nothing is
//!   approximated.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::TailEstimator;

/// A fitted power law, density proportional to $x^{-\alpha}$ on $[x_{\min}, \infty)$.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The exponent of the density, above 1.
    pub alpha: f64,
    /// The smallest value of the tail.
    pub xmin: f64,
    /// The largest value.
    pub xmax: f64,
    /// Kolmogorov-Smirnov distance between the tail and the fit.
    pub distance: f64,
    /// $(\alpha - 1)/\sqrt n$, the standard error if `xmin` were known.
    pub sigma: f64,
    /// How many values the tail holds: $n$.
    pub tail: usize,
}

/// Why there is no fit. Written in the column `fit_status`, where a fit is `ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[error("{}", self.name())]
#[non_exhaustive]
pub enum FitFailure {
    /// Fewer values than the smallest allowed tail.
    TooFew,
    /// No spread above any candidate: $S_i \le 10^{-12} n$.
    Tied,
    /// No value above zero.
    AllZero,
    /// A value is NaN or infinite.
    #[serde(rename = "nonfinite")]
    NonFinite,
    /// Most values are zero beside the largest: the rank has collapsed.
    Degenerate,
    /// The best tail is the smallest allowed: the distance would fall further below it.
    Boundary,
}

impl FitFailure {
    /// The word for it in the column `fit_status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooFew => "too_few",
            Self::Tied => "tied",
            Self::AllZero => "all_zero",
            Self::NonFinite => "nonfinite",
            Self::Degenerate => "degenerate",
            Self::Boundary => "boundary",
        }
    }
}

/// The strict fit: what is left out, and how few values may be a tail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KsFit {
    /// Fewest values in a tail.
    pub min_tail: usize,
    /// Values up to this share of the largest count as zero.
    pub zero_threshold: f64,
    /// Smallest share of the values that must not be zero.
    pub min_rank_share: f64,
}

impl Default for KsFit {
    fn default() -> Self {
        Self { min_tail: 10, zero_threshold: 1e-10, min_rank_share: 0.5 }
    }
}

impl KsFit {
    /// Fits `sorted`, `[N]` ascending eigenvalues.
    ///
    /// # Errors
    /// Says why `sorted` has no fit; see [`FitFailure`].
    pub fn fit(&self, sorted: &[f64]) -> Result<PowerLaw, FitFailure> {
        let fit = self.select(sorted, &mut KsScratch::default())?;
        if fit.tail <= self.min_tail { Err(FitFailure::Boundary) } else { Ok(fit) }
    }

    /// As [`Self::fit`], but a best tail that is the smallest allowed one is accepted, as replicates
    /// of a bootstrap must be; allocates nothing once `scratch` has grown.
    ///
    /// # Errors
    /// Says why `sorted` has no fit, [`FitFailure::Boundary`] excepted.
    pub fn select(&self, sorted: &[f64], scratch: &mut KsScratch) -> Result<PowerLaw, FitFailure> {
        let kept = self.kept(sorted)?;
        scratch.prepare(kept);
        let candidates = kept.len() + 1 - self.min_tail.max(2);
        for i in 0..candidates {
            let n = (kept.len() - i) as f64;
            let spread = scratch.spread[i];
            scratch.decay.push(if spread > 1e-12 * n { n / spread } else { f64::NAN });
        }
        let (i, distance) = scratch.least_distance().ok_or(FitFailure::Tied)?;
        Ok(scratch.power_law(kept, i, distance))
    }

    /// The values that count: those above the threshold, at least [`Self::min_tail`] of them.
    ///
    /// # Errors
    /// As [`Self::fit`], for what the values say before a fit.
    pub fn kept<'a>(&self, sorted: &'a [f64]) -> Result<&'a [f64], FitFailure> {
        if !sorted.iter().all(|x| x.is_finite()) {
            return Err(FitFailure::NonFinite);
        }
        let max = sorted.last().copied().unwrap_or(0.0);
        if max <= 0.0 {
            return Err(FitFailure::AllZero);
        }
        let zeros = sorted.partition_point(|&x| x <= 0.0 || x <= max * self.zero_threshold);
        let kept = &sorted[zeros..];
        let fewest = self.min_tail.max(2);
        if sorted.len() < fewest {
            Err(FitFailure::TooFew)
        } else if (kept.len() as f64) < self.min_rank_share * sorted.len() as f64 {
            Err(FitFailure::Degenerate)
        } else if kept.len() < fewest {
            Err(FitFailure::TooFew)
        } else {
            Ok(kept)
        }
    }
}

impl TailEstimator for KsFit {
    fn alpha(&self, sorted: &[f64]) -> Result<f64, FitFailure> {
        self.fit(sorted).map(|fit| fit.alpha)
    }
}

/// Buffers of a fit, to be reused.
#[derive(Debug, Clone, Default)]
pub struct KsScratch {
    /// $\ln(x_j/x_{N-1})$, `[N]`.
    logs: Vec<f64>,
    /// $S_i$, `[N]`.
    pub(crate) spread: Vec<f64>,
    /// $\alpha_i - 1$ for every candidate $i$; NaN is none.
    pub(crate) decay: Vec<f64>,
    /// The place that refuted a candidate, or that of its largest deviation.
    witness: Vec<usize>,
    /// Stretches of places whose deviations are only bounded.
    open: VecDeque<[(usize, f64); 2]>,
}

impl KsScratch {
    /// Logarithms and spreads of ascending positive `values`; no candidates yet.
    pub(crate) fn prepare(&mut self, values: &[f64]) {
        let max = values.last().copied().unwrap_or(1.0);
        self.logs.clear();
        self.logs.extend(values.iter().map(|x| (x / max).ln()));
        self.spread.clear();
        self.spread.resize(values.len(), 0.0);
        for i in (1..values.len()).rev() {
            let above = (values.len() - i) as f64;
            self.spread[i - 1] = self.spread[i] + above * (self.logs[i] - self.logs[i - 1]);
        }
        self.decay.clear();
    }

    /// The candidate of least distance, the first of equals, and that distance.
    pub(crate) fn least_distance(&mut self) -> Option<(usize, f64)> {
        let candidates = self.decay.len();
        self.witness.clear();
        self.witness.resize(candidates, 0);
        let mut best: Option<(usize, f64)> = None;
        // From coarse to fine, so that few candidates are better than all before, and every one has
        // neighbours whose witnesses are known.
        let mut half = candidates.next_power_of_two();
        self.improve(0, [0, 0], &mut best);
        while half > 1 {
            let stride = half;
            half /= 2;
            for i in (half..candidates).step_by(stride) {
                let right = self.witness.get(i + half).copied().unwrap_or(0);
                self.improve(i, [self.witness[i - half], right], &mut best);
            }
        }
        best
    }

    /// Makes candidate `i` the best if it is.
    fn improve(&mut self, i: usize, hints: [usize; 2], best: &mut Option<(usize, f64)>) {
        if self.decay.get(i).is_none_or(|decay| decay.is_nan()) {
            return;
        }
        let refuted = |deviation: f64| {
            best.is_some_and(|(first, least)| deviation > least || deviation >= least && i > first)
        };
        for j in hints {
            if j >= i && refuted(self.deviation(i, j, self.model(i, j))) {
                self.witness[i] = j;
                return;
            }
        }
        let last = self.logs.len() - 1;
        let n = (last + 1 - i) as f64;
        let ends = [i, last].map(|j| (j, self.model(i, j)));
        let (mut distance, mut place) = (self.deviation(i, last, ends[1].1), last);
        self.open.clear();
        self.open.push_back(ends);
        while let Some([low, high]) = self.open.pop_front()
            && !refuted(distance)
        {
            // Between the ends the model is in [low.1, high.1] and the data in (low.0, high.0).
            let above = high.1 - (low.0 + 1 - i) as f64 / n;
            let below = (high.0 - 1 - i) as f64 / n - low.1;
            if high.0 - low.0 < 2 || above.max(below) <= distance {
                continue;
            }
            let j = usize::midpoint(low.0, high.0);
            let middle = (j, self.model(i, j));
            let deviation = self.deviation(i, j, middle.1);
            if deviation > distance {
                (distance, place) = (deviation, j);
            }
            self.open.push_back([low, middle]);
            self.open.push_back([middle, high]);
        }
        self.witness[i] = place;
        if !refuted(distance) {
            *best = Some((i, distance));
        }
    }

    /// $1 - (x_j/x_i)^{1-\alpha_i}$, the fitted distribution function.
    fn model(&self, i: usize, j: usize) -> f64 {
        let gap = self.logs[j] - self.logs[i];
        if gap == 0.0 { 0.0 } else { 1.0 - (-self.decay[i] * gap).exp() } // inf times 0 is none
    }

    fn deviation(&self, i: usize, j: usize, model: f64) -> f64 {
        (model - (j - i) as f64 / (self.logs.len() - i) as f64).abs()
    }

    /// The power law of candidate `i` of `values`.
    pub(crate) fn power_law(&self, values: &[f64], i: usize, distance: f64) -> PowerLaw {
        let tail = values.len() - i;
        PowerLaw {
            alpha: 1.0 + self.decay[i],
            xmin: values[i],
            xmax: values[values.len() - 1],
            distance,
            sigma: self.decay[i] / (tail as f64).sqrt(),
            tail,
        }
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;

    /// Every distance in full.
    fn slow(values: &[f64], min_tail: usize) -> (usize, f64, f64) {
        let distance = |i: usize| {
            let n = (values.len() - i) as f64;
            let spread: f64 = values[i..].iter().map(|x| (x / values[i]).ln()).sum();
            let alpha = 1.0 + n / spread;
            let deviations = values[i..].iter().enumerate().map(|(place, x)| {
                (1.0 - (x / values[i]).powf(1.0 - alpha) - place as f64 / n).abs()
            });
            (i, deviations.fold(0.0, f64::max), alpha)
        };
        let all = (0..=values.len() - min_tail).map(distance);
        all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    }

    /// `len` draws: a Pareto tail of exponent `alpha` above a uniform body of share `body`.
    fn draws(seed: u64, len: usize, alpha: f64, body: f64) -> Vec<f64> {
        let mut uniform = vec![0.0; len];
        Key::from_seed(seed).fill_uniform(0, &mut uniform);
        let draw = |u: f64| {
            if u < body { u / body } else { ((1.0 - u) / (1.0 - body)).powf(-1.0 / (alpha - 1.0)) }
        };
        let mut values: Vec<f64> = uniform.into_iter().map(draw).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    #[test]
    fn the_fast_search_finds_what_the_slow_one_does() {
        let mut scratch = KsScratch::default();
        for (seed, place) in (0..200).zip(0_usize..) {
            let (len, min_tail) = (12 + 7 * place % 300, 2 + place % 10);
            let mut values = draws(seed, len, 1.5 + seed as f64 / 40.0, (seed % 4) as f64 / 4.0);
            if seed % 5 == 0 {
                values = values.iter().map(|x| (x * 8.0).ceil()).collect(); // many ties
            }
            let settings = KsFit { min_tail, zero_threshold: 0.0, min_rank_share: 0.0 };
            let fit = settings.select(&values, &mut scratch).unwrap();
            let (i, distance, alpha) = slow(&values, min_tail);
            assert!((fit.distance - distance).abs() < 1e-13, "{seed}: {fit:?} {distance}");
            assert_eq!(fit.tail, values.len() - i, "{seed}");
            assert!((fit.alpha - alpha).abs() < 1e-10 * alpha, "{seed}");
        }
    }

    #[test]
    fn two_powers_of_e_by_hand() {
        // x = 1, e: S = 1, n = 2, alpha = 3; deviations |0 - 0| and |1 - e^-2 - 1/2|.
        let settings = KsFit { min_tail: 2, ..KsFit::default() };
        let e = std::f64::consts::E;
        let fit = settings.select(&[1.0, e], &mut KsScratch::default()).unwrap();
        assert!((fit.alpha - 3.0).abs() < 1e-15);
        assert!((fit.distance - (0.5 - (-2.0_f64).exp())).abs() < 1e-15);
        assert!((fit.sigma - 2.0 / 2.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!((fit.tail, fit.xmin, fit.xmax), (2, 1.0, e));
        assert_eq!(settings.fit(&[1.0, e]), Err(FitFailure::Boundary));
    }

    #[test]
    fn every_failure_has_its_name() {
        let fit = KsFit::default();
        let mut gapped = vec![1e-12; 30];
        gapped.extend((1..=20).map(f64::from));
        for (values, failure, name) in [
            (vec![], FitFailure::AllZero, "all_zero"),
            (vec![0.0; 40], FitFailure::AllZero, "all_zero"),
            (vec![1.0, f64::NAN], FitFailure::NonFinite, "nonfinite"),
            (vec![1.0, f64::INFINITY], FitFailure::NonFinite, "nonfinite"),
            (draws(1, 9, 2.5, 0.0), FitFailure::TooFew, "too_few"),
            (vec![3.0; 50], FitFailure::Tied, "tied"),
            (gapped, FitFailure::Degenerate, "degenerate"),
            (draws(1, 10, 2.5, 0.0), FitFailure::Boundary, "boundary"),
        ] {
            assert_eq!(fit.fit(&values), Err(failure), "{values:?}");
            assert_eq!(failure.to_string(), name);
        }
    }

    #[test]
    fn scale_changes_neither_exponent_nor_distance() {
        let values = draws(7, 400, 2.5, 0.5);
        let fit = KsFit::default().fit(&values).unwrap();
        for scale in [1e-30, 0.3, 1e30] {
            let scaled: Vec<f64> = values.iter().map(|x| x * scale).collect();
            let other = KsFit::default().fit(&scaled).unwrap();
            assert_eq!(other.tail, fit.tail);
            assert!((other.alpha - fit.alpha).abs() < 1e-11);
            assert!((other.distance - fit.distance).abs() < 1e-12);
        }
    }

    #[test]
    fn a_pareto_sample_has_its_exponent() {
        // 768 draws, alpha = 2.5: the estimate has a standard deviation of .07; four of them.
        let fit = KsFit::default().fit(&draws(3, 768, 2.5, 0.0)).unwrap();
        assert!((fit.alpha - 2.5).abs() < 0.28, "{fit:?}");
    }
}
