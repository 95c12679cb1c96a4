//! Hill's estimator with half of the spectrum as the tail.
//!
//! # Definition
//! For ascending $x_0 \le \dots \le x_{N-1}$ and $i = \lfloor N/2 \rfloor$,
//! $$ \alpha = 1 + \frac{N - i}{\sum_{j \ge i} \ln (x_j / x_i)}. $$
//! No threshold is searched: the estimate is far steadier than [`KsFit`](crate::KsFit)'s (on Gaussian
//! matrices a standard deviation of .01 against 6), but it describes the upper half of the spectrum
//! whether or not that is a power law, and it grows with the aspect ratio of the matrix:
//! [`Farms`](crate::Farms) removes that bias.
//!
//! # Reference
//! B. Hill, *A simple general approach to inference about the tail of a distribution*, Ann. Stat. 3,
//! 1975; at the median in T. Zhou et al., *Temperature balancing, layer-wise weight analysis, and
//! neural network training*, NeurIPS 2023, arXiv:2312.00359.
//!
//! # Deviations
//! Tied tails, tails of fewer than `min_tail` values and spectra whose upper half is zero beside the
//! largest value have no estimate instead of one that is infinite.

use serde::{Deserialize, Serialize};

use crate::{FitFailure, TailEstimator};

/// Hill's estimator at the median.
///
/// ```toml
/// [estimator]
/// kind = "hill"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hill {
    /// Fewest values in the tail, the upper half.
    pub min_tail: usize,
    /// Values up to this share of the largest count as zero.
    pub zero_threshold: f64,
}

impl Default for Hill {
    fn default() -> Self {
        Self { min_tail: 10, zero_threshold: 1e-10 }
    }
}

impl TailEstimator for Hill {
    fn alpha(&self, sorted: &[f64]) -> Result<f64, FitFailure> {
        if !sorted.iter().all(|x| x.is_finite()) {
            return Err(FitFailure::NonFinite);
        }
        let max = sorted.last().copied().unwrap_or(0.0);
        if max <= 0.0 {
            return Err(FitFailure::AllZero);
        }
        let tail = &sorted[sorted.len() / 2..];
        if tail.len() < self.min_tail {
            Err(FitFailure::TooFew)
        } else if tail[0] <= 0.0 || tail[0] <= max * self.zero_threshold {
            Err(FitFailure::Degenerate)
        } else {
            exponent_above(tail, tail[0])
        }
    }
}

/// The exponent of greatest likelihood, $1 + n / \sum_j \ln(x_j / x_{\min})$, of `tail`, values at or above
/// a positive `xmin`.
pub(crate) fn exponent_above(tail: &[f64], xmin: f64) -> Result<f64, FitFailure> {
    let n = tail.len() as f64;
    let spread: f64 = tail.iter().map(|x| (x / xmin).ln()).sum();
    if spread > 1e-12 * n { Ok(1.0 + n / spread) } else { Err(FitFailure::Tied) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_six_values() {
        // i = 3: x = 1, e, e^2, sum of logarithms 0 + 1 + 2, alpha = 1 + 3/3
        let e = std::f64::consts::E;
        let hill = Hill { min_tail: 3, ..Hill::default() };
        let alpha = hill.alpha(&[0.0, 0.5, 0.9, 1.0, e, e * e]).unwrap();
        assert!((alpha - 2.0).abs() < 1e-15, "{alpha}");
        // Five values: i = 2, x = 1, e, e^2 again.
        let alpha = hill.alpha(&[0.5, 0.9, 1.0, e, e * e]).unwrap();
        assert!((alpha - 2.0).abs() < 1e-15, "{alpha}");
    }

    #[test]
    fn half_a_spectrum_of_zeros_has_no_tail() {
        let mut sorted = vec![1e-12; 20];
        sorted.extend([1.0; 15]);
        assert_eq!(Hill::default().alpha(&sorted), Err(FitFailure::Degenerate));
    }
}
