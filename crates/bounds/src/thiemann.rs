//! Thiemann et al.'s quasi-convex PAC-Bayes bound, for comparison.
//!
//! # Definition
//! On losses mapped to [0, 1], with $B = (K + L_\alpha) \ln 2 + \ln (2 \sqrt m / \delta_1)$,
//! $$ R \le \frac{\hat R}{1 - \lambda/2} + \frac{B}{m \lambda (1 - \lambda/2)}, \quad
//!    \lambda = \frac{2}{\sqrt{2 m \hat R / B + 1} + 1}. $$
//! With a subsample, $\hat R$ is first replaced by its upper limit as in [`KlInverse`](crate::KlInverse).
//!
//! # Validity
//! Independent units, for all $\lambda \in (0, 2)$ at once; the one given minimises. For one deterministic
//! model the divergence inverse is tighter.
//!
//! # Reference
//! N. Thiemann et al., *A strongly quasiconvex PAC-Bayesian bound*, ALT 2017, arXiv:1608.05610.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use crate::kl_inverse::from_training_risk;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// The quasi-convex bound for documents.
///
/// ```toml
/// [bound]
/// kind = "thiemann"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thiemann {}

impl Bound for Thiemann {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let (nats, m) = (evidence.training_nats(), evidence.m());
        from_training_risk(evidence, risk, |risk| thiemann(risk, nats, m).0)
    }
}

/// The formula for `nats` $= \mathrm{KL} + \ln (1/\delta)$, and its $\lambda$.
fn thiemann(risk: f64, nats: f64, m: f64) -> (f64, f64) {
    let b = nats + LN_2 + 0.5 * m.ln();
    let lambda = 2.0 / ((2.0 * m * risk / b + 1.0).sqrt() + 1.0);
    ((risk + b / (m * lambda)) / (1.0 - 0.5 * lambda), lambda)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn a_value_of_the_reference() {
        let (bound, lambda) = thiemann(1.0 - 0.710_693, 1_724.0 + 20_f64.ln(), 30_000.0);
        assert_close(bound, 0.538_792_114_57, 1e-9);
        assert_close(lambda, 0.463_045_222_5, 1e-9);
    }
}
