//! The change of the exponent, with and without a new threshold.
//!
//! # Definition
//! The re-selected change is $\alpha(\lambda') - \alpha(\lambda)$, each fit with its own threshold. The change at
//! the original threshold keeps $x_{\min}$ of the fit before:
//! $$ \Delta = 1 + \frac{n'}{\sum_{\lambda'_j \ge x_{\min}} \ln(\lambda'_j / x_{\min})} - \alpha(\lambda). $$
//! Where they disagree the threshold jumped, not the spectrum: most large shifts at 4 bits are jumps.

use crate::hill::exponent_above;
use crate::{FitFailure, PowerLaw};

/// The exponent of `sorted`, ascending eigenvalues, on the values at or above the given `xmin`, of which
/// there must be `min_tail`.
///
/// # Errors
/// If too few values lie above the threshold, none of them is larger than it, or one is not finite.
pub fn alpha_above(sorted: &[f64], xmin: f64, min_tail: usize) -> Result<f64, FitFailure> {
    if !sorted.iter().all(|x| x.is_finite()) || !xmin.is_finite() {
        return Err(FitFailure::NonFinite);
    }
    let tail = &sorted[sorted.partition_point(|&x| x < xmin)..];
    if xmin <= 0.0 || tail.len() < min_tail.max(1) {
        return Err(FitFailure::TooFew);
    }
    exponent_above(tail, xmin)
}

/// The change of the exponent from `before` to the spectrum `after`, ascending, at the threshold of
/// `before`.
///
/// # Errors
/// As [`alpha_above`].
pub fn delta_alpha_fixed(
    before: &PowerLaw,
    after: &[f64],
    min_tail: usize,
) -> Result<f64, FitFailure> {
    alpha_above(after, before.xmin, min_tail).map(|alpha| alpha - before.alpha)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KsFit;

    /// Quantiles of a Pareto distribution of exponent `alpha` above 1.
    fn pareto(alpha: f64) -> Vec<f64> {
        (0..200).map(|i| (1.0 - (f64::from(i) + 0.5) / 200.0).powf(-1.0 / (alpha - 1.0))).collect()
    }

    #[test]
    fn the_same_spectrum_has_not_changed() {
        let sorted = pareto(2.5);
        let before = KsFit::default().fit(&sorted).unwrap();
        let delta = delta_alpha_fixed(&before, &sorted, 10).unwrap();
        assert!(delta.abs() < 1e-12, "{delta}");
    }

    #[test]
    fn a_steeper_tail_above_the_same_threshold() {
        // ln x = -ln(1 - u)/(alpha - 1): the sum of logarithms scales by 1.5/2, alpha - 1 by 2/1.5
        let before = alpha_above(&pareto(2.5), 1.0, 10).unwrap();
        let after = alpha_above(&pareto(3.0), 1.0, 10).unwrap();
        assert!(((after - 1.0) / (before - 1.0) - 2.0 / 1.5).abs() < 1e-12);
        // Values below the threshold do not count.
        let mut padded = vec![0.0, 0.2, 0.99];
        padded.extend(pareto(3.0));
        assert_eq!(alpha_above(&padded, 1.0, 10), Ok(after));
    }

    #[test]
    fn nothing_left_above_the_threshold() {
        assert_eq!(alpha_above(&pareto(2.5), 1e6, 10), Err(FitFailure::TooFew));
        assert_eq!(alpha_above(&pareto(2.5), 0.0, 10), Err(FitFailure::TooFew));
        assert_eq!(alpha_above(&[1.0; 20], 1.0, 10), Err(FitFailure::Tied));
        assert_eq!(alpha_above(&[1.0, f64::NAN], 1.0, 1), Err(FitFailure::NonFinite));
        assert_eq!(alpha_above(&[1.0], f64::NAN, 1), Err(FitFailure::NonFinite));
    }
}
