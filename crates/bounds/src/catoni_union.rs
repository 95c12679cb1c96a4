//! Catoni's PAC-Bayes bound with a union over exponents, for comparison.
//!
//! # Definition
//! On losses mapped to [0, 1], with $\gamma = e^g$, $z = 10^{-4}$ and $\mathrm{KL} = (K + L_\alpha) \ln 2$,
//! $$ R \le \min_{0 < g \le 4 + \ln m} \frac{1 - e^{-\gamma q / m}}{1 - e^{-\gamma / m}}, \quad
//!    q = \hat R + \frac{1 + z}{\gamma} \Bigl( \mathrm{KL} + \ln \frac1{\delta_1} +
//!    2 \ln \Bigl( 2 + \frac{g}{\ln (1 + z)} \Bigr) \Bigr). $$
//! With a subsample, $\hat R$ is first replaced by its upper limit as in [`KlInverse`](crate::KlInverse).
//!
//! # Validity
//! Independent units, all $\gamma > 1$ at once: the exponents $(1 + z)^k$ share $\delta_1$ in proportion to
//! $1/((k + 1)(k + 2))$, and those between them borrow from the one below.
//!
//! # Reference
//! O. Catoni, *PAC-Bayesian supervised classification*, 2007, theorem 1.2.6, arXiv:0712.0248, as in
//! S. Lotfi et al., *PAC-Bayes Compression Bounds So Tight That They Can Explain Generalization*,
//! NeurIPS 2022, arXiv:2211.13609.
//!
//! # Notes on the reference implementation
//! One of its two routines starts a local minimiser from a fixed bracket. Here the whole interval is
//! searched; any $g$ it returns is valid.

use serde::{Deserialize, Serialize};

use crate::fixed_t::fixed_t;
use crate::kl_inverse::from_training_risk;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// $\ln (1 + z)$, the spacing of the exponents that share the failure probability.
const LN_SPACING: f64 = 9.999_500_033_330_834e-5;
/// $z$.
const SPACING: f64 = 1e-4;

/// Catoni's bound for documents, minimised over exponents.
///
/// ```toml
/// [bound]
/// kind = "catoni-union"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatoniUnion {}

impl Bound for CatoniUnion {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let (nats, m) = (evidence.training_nats(), evidence.m());
        from_training_risk(evidence, risk, |risk| catoni_union(risk, nats, m).0)
    }
}

/// The minimum for `nats` $= \mathrm{KL} + \ln (1/\delta)$, and its $g$.
fn catoni_union(risk: f64, nats: f64, m: f64) -> (f64, f64) {
    const STEPS: u32 = 512;
    let at = |g: f64| {
        let penalty = nats + 2.0 * (2.0 + g / LN_SPACING).ln();
        let c = (1.0 + SPACING) * penalty / m;
        fixed_t(risk, c, g.exp() / m) // gamma q / m = gamma R / m + c
    };
    let step = (4.0 + m.ln()) / f64::from(STEPS);
    let coarse = (1..=STEPS).map(|k| f64::from(k) * step);
    let best = coarse.min_by(|&left, &right| at(left).total_cmp(&at(right))).unwrap_or(step);
    let g = valley(at, (best - step).max(f64::MIN_POSITIVE), (best + step).min(4.0 + m.ln()));
    (at(g), g)
}

/// The least point of a function with one valley in `[low, high]`, by golden section.
fn valley(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    while high - low > 1e-9 * high {
        let (left, right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        if f(left) <= f(right) {
            high = right;
        } else {
            low = left;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn a_value_of_the_reference() {
        let (bound, g) = catoni_union(1.0 - 0.710_693, 1_724.0 + 20_f64.ln(), 30_000.0);
        assert_close(bound, 0.456_020_360_00, 1e-9);
        assert_close(g, 9.983_68, 1e-5);
        assert_close(LN_SPACING, SPACING.ln_1p(), 1e-15);
    }
}
