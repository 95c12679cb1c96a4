//! McAllester's PAC-Bayes bound, for comparison.
//!
//! # Definition
//! On losses mapped to [0, 1], with $\mathrm{KL} = (K + L_\alpha) \ln 2$ for a decoded model,
//! $$ R \le \hat R + \sqrt{\frac{\mathrm{KL} + \ln (m/\delta_1)}{2 m - 1}}. $$
//! With a subsample, $\hat R$ is first replaced by its upper limit as in [`KlInverse`](crate::KlInverse).
//!
//! # Validity
//! Independent units. For one deterministic model the divergence inverse is tighter.
//!
//! # Reference
//! D. McAllester, *PAC-Bayesian stochastic model selection*, Machine Learning 51, 2003.

use serde::{Deserialize, Serialize};

use crate::kl_inverse::from_training_risk;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// McAllester's square root for documents.
///
/// ```toml
/// [bound]
/// kind = "mcallester"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McAllester {}

impl Bound for McAllester {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let (nats, m) = (evidence.training_nats(), evidence.m());
        from_training_risk(evidence, risk, |risk| mcallester(risk, nats, m))
    }
}

/// The formula for `nats` $= \mathrm{KL} + \ln (1/\delta)$.
fn mcallester(risk: f64, nats: f64, m: f64) -> f64 {
    risk + ((nats + m.ln()) / (2.0 * m - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn a_value_of_the_reference() {
        let nats = 1_724.0 + 20_f64.ln();
        assert_close(mcallester(1.0 - 0.710_693, nats, 30_000.0), 0.459_470_335_28, 1e-9);
    }
}
