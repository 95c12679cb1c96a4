//! The power law with an exponential cut-off, by maximum likelihood.
//!
//! # Definition
//! On the tail $x \ge x_{\min}$ that [`KsFit`] selects,
//! $$ f(x) = \frac{x^{-\alpha} e^{-\Lambda x}}{I(\alpha, \Lambda)}, \qquad
//!    I = \int_{x_{\min}}^\infty t^{-\alpha} e^{-\Lambda t} \, dt, \qquad \Lambda \ge 0, $$
//! with $\alpha$ and $\Lambda$ of greatest likelihood: concave in both, solved by Newton's method on
//! $\ln(x/x_{\min})$. $\Lambda = 0$ is the power law itself, and what a tail heavier than one gets.
//!
//! # Reference
//! A. Clauset, C. R. Shalizi, M. E. J. Newman, arXiv:0706.1062, table 2.1; `fit="TPL"` or `"E_TPL"` of
//! WeightWatcher.
//!
//! # Deviations
//! With a cut-off the density is proper for every $\alpha$, so $\alpha$ is not held above 1. The tail
//! is that of the plain power law, not searched again under the truncated one.

use serde::{Deserialize, Serialize};

use crate::tilted::{Tilt, Tilted};
use crate::{FitFailure, KsFit, TailEstimator};

/// Truncated power law above the threshold of the plain one.
///
/// ```toml
/// [estimator]
/// kind = "truncated"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Truncated {
    /// The fit that selects the tail.
    pub threshold: KsFit,
}

/// A fitted power law with a cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TruncatedPowerLaw {
    /// Exponent; may be below 1 if the cut-off is what bounds the tail.
    pub alpha: f64,
    /// Rate of the cut-off $\Lambda$, in units of 1/eigenvalue; 0 for none.
    pub lambda: f64,
    /// The smallest value of the tail.
    pub xmin: f64,
    /// How many values the tail holds.
    pub tail: usize,
    /// $-\sum_j \ln f(x_j)$, in nats.
    pub negative_log_likelihood: f64,
}

impl Truncated {
    /// Fits `sorted`, `[N]` ascending eigenvalues.
    ///
    /// # Errors
    /// Where [`KsFit::fit`] finds no tail, or where the likelihood has no maximum.
    pub fn fit(&self, sorted: &[f64]) -> Result<TruncatedPowerLaw, FitFailure> {
        let power_law = self.threshold.fit(sorted)?;
        TruncatedPowerLaw::of_tail(&sorted[sorted.len() - power_law.tail..])
    }
}

impl TailEstimator for Truncated {
    fn alpha(&self, sorted: &[f64]) -> Result<f64, FitFailure> {
        self.fit(sorted).map(|fit| fit.alpha)
    }
}

impl TruncatedPowerLaw {
    /// Fits all of `tail`, ascending positive values, above the first of them.
    ///
    /// # Errors
    /// For an empty tail, one that is tied, or one of which a value is not positive and finite.
    pub fn of_tail(tail: &[f64]) -> Result<Self, FitFailure> {
        let xmin = *tail.first().ok_or(FitFailure::TooFew)?;
        let log = |x: &f64| (x / xmin).ln();
        let t: Vec<f64> = tail.iter().map(log).collect();
        let fit = Tilted::fit(Tilt::Exponential, &t)?;
        let log_likelihood: f64 =
            t.iter().zip(tail).map(|(&t, x)| fit.log_density(t) - x.ln()).sum();
        Ok(Self {
            alpha: fit.c + 1.0,
            lambda: fit.b / xmin,
            xmin,
            tail: tail.len(),
            negative_log_likelihood: -log_likelihood,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_tail_is_all_cut_off() {
        // Quantiles of 1 + Exp(1) at rate 2: x^0 e^(-2x), so alpha near 0 and Lambda near 2.
        let n = 4_000;
        let quantile = |i| 1.0 - (1.0 - (f64::from(i) + 0.5) / f64::from(n)).ln() / 2.0;
        let tail: Vec<f64> = (0..n).map(quantile).collect();
        let fit = TruncatedPowerLaw::of_tail(&tail).unwrap();
        assert!(fit.alpha.abs() < 0.02 && (fit.lambda - 2.0).abs() < 0.02, "{fit:?}");
        // Entropy of the exponential, 1 - ln 2 nats a value.
        let entropy = fit.negative_log_likelihood / f64::from(n);
        assert!((entropy - (1.0 - 2.0_f64.ln())).abs() < 1e-3, "{entropy}");
    }

    #[test]
    fn a_heavier_tail_has_no_cut_off() {
        let mut tail = vec![1.0];
        tail.extend(vec![1.1; 20]);
        tail.push(1e4);
        let fit = TruncatedPowerLaw::of_tail(&tail).unwrap();
        assert!(fit.lambda <= 0.0, "{fit:?}");
        let expected = 1.0 + 22.0 / (20.0 * 1.1_f64.ln() + 1e4_f64.ln());
        assert!((fit.alpha - expected).abs() < 1e-12, "{fit:?}");
    }

    #[test]
    fn a_tail_without_spread_has_none() {
        assert_eq!(TruncatedPowerLaw::of_tail(&[]), Err(FitFailure::TooFew));
        assert_eq!(TruncatedPowerLaw::of_tail(&[2.0; 12]), Err(FitFailure::Tied));
        assert_eq!(TruncatedPowerLaw::of_tail(&[0.0, 1.0, 2.0]), Err(FitFailure::NonFinite));
    }
}
