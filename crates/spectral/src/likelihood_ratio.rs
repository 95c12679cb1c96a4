//! Is the tail a power law rather than something lighter? Vuong's test.
//!
//! # Definition
//! With the pointwise log-likelihoods of the power law and of an alternative, each at its maximum on the
//! same tail $x_1, \dots, x_n \ge x_{\min}$,
//! $$ R = \sum_j \bigl( \ell_{PL}(x_j) - \ell_{alt}(x_j) \bigr), \qquad
//!    p = \operatorname{erfc}\Bigl( \frac{|R|}{s \sqrt{2n}} \Bigr), $$
//! $s$ the standard deviation of the differences. $R > 0$ speaks for the power law, and a large $p$ says
//! that the sign of $R$ means nothing.
//!
//! - Exponential: $\ell = \ln k - k (x - x_{\min})$, $k = 1 / (\bar x - x_{\min})$.
//! - Log-normal truncated at $x_{\min}$, $\mu$ and $s$ of greatest likelihood. Its likelihood is flat:
//!   with $\mu \to -\infty$ it contains the power law, so $R \le 0$, and $R = 0$ with $p = 1$ where nothing
//!   is gained by leaving that limit.
//!
//! # Reference
//! Q. Vuong, *Likelihood ratio tests for model selection and non-nested hypotheses*, Econometrica 57,
//! 1989; A. Clauset, C. R. Shalizi, M. E. J. Newman, arXiv:0706.1062, section 5.

use statrs::function::erf::erfc;

use crate::tilted::{Tilt, Tilted};
use crate::{FitFailure, PowerLaw};

/// What the power law is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alternative {
    /// A tail that decays exponentially from `xmin` on.
    Exponential,
    /// A log-normal truncated at `xmin`.
    LogNormal,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LikelihoodRatio {
    /// $R$ in nats: above zero, the power law is the likelier.
    pub ratio: f64,
    /// Probability of an $|R|$ as large if both were equally near the truth.
    pub p: f64,
}

impl Alternative {
    /// Compares `fit` with this alternative on the tail of `sorted`, the `[N]` ascending values it was
    /// fitted to.
    ///
    /// # Errors
    /// If `sorted` does not hold the tail of `fit`, or if the alternative has no maximum on it.
    pub fn compare(self, fit: &PowerLaw, sorted: &[f64]) -> Result<LikelihoodRatio, FitFailure> {
        let start = sorted.len().checked_sub(fit.tail).ok_or(FitFailure::TooFew)?;
        let tail = &sorted[start..];
        let n = tail.len() as f64;
        let log = |x: &f64| (x / fit.xmin).ln();
        let t: Vec<f64> = tail.iter().map(log).collect();
        let decay = fit.alpha - 1.0;
        // Densities in t; the Jacobian cancels.
        let power_law = |t: f64| decay.ln() - decay * t;
        let differences: Vec<f64> = match self {
            Self::Exponential => {
                let mean = t.iter().map(|t| t.exp_m1()).sum::<f64>() / n;
                let k = 1.0 / mean; // in units of 1/xmin
                t.iter().map(|&t| power_law(t) - (k.ln() + t - k * t.exp_m1())).collect()
            }
            Self::LogNormal => {
                let alternative = Tilted::fit(Tilt::Square, &t)?;
                if alternative.b == 0.0 {
                    return Ok(LikelihoodRatio { ratio: 0.0, p: 1.0 });
                }
                t.iter().map(|&t| power_law(t) - alternative.log_density(t)).collect()
            }
        };
        let ratio: f64 = differences.iter().sum();
        let mean = ratio / n;
        let variance = differences.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / n;
        let p = erfc(ratio.abs() / (2.0 * n * variance).sqrt());
        if ratio.is_finite() && p.is_finite() {
            Ok(LikelihoodRatio { ratio, p })
        } else {
            Err(FitFailure::Degenerate)
        }
    }
}
