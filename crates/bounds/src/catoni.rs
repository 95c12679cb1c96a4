//! Catoni's PAC-Bayes bound at an exponent fixed beforehand, for comparison.
//!
//! # Definition
//! On losses mapped to [0, 1], with $t = \gamma/m$ and $q = \hat R + ((K + L_\alpha) \ln 2 + \ln (1/\delta_1))/\gamma$,
//! $$ R \le \frac{1 - e^{-t q}}{1 - e^{-t}}. $$
//! With a subsample, $\hat R$ is first replaced by its upper limit as in [`KlInverse`](crate::KlInverse).
//!
//! # Validity
//! Independent units, $\gamma$ chosen without the data: so it is a setting. For tokens, and with a union
//! over exponents, see [`FixedT`](crate::FixedT).
//!
//! # Reference
//! O. Catoni, *PAC-Bayesian supervised classification: the thermodynamics of statistical learning*,
//! 2007, theorem 1.2.6, arXiv:0712.0248.

use serde::{Deserialize, Serialize};

use crate::fixed_t::fixed_t;
use crate::kl_inverse::from_training_risk;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Catoni's bound for documents at one exponent.
///
/// ```toml
/// [bound]
/// kind = "catoni"
/// t = 0.5
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catoni {
    /// $t = \gamma / m$, positive.
    pub t: f64,
}

impl Default for Catoni {
    fn default() -> Self {
        Self { t: 0.5 } // near the best for a risk of 1/2 at c = 1/32: sqrt(2 c / (p (1 - p)))
    }
}

impl Bound for Catoni {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        if !(self.t > 0.0 && self.t.is_finite()) {
            let expected = "a finite number above 0";
            return Err(BoundError::Setting { name: "t", value: self.t, expected });
        }
        let c = evidence.training_nats() / evidence.m();
        from_training_risk(evidence, risk, |risk| fixed_t(risk, c, self.t)) // t q = t R + c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, delta, evidence};

    #[test]
    fn a_value_by_hand() {
        let mut values = [0.0; 10];
        values[..3].fill(1.0);
        // c = ln(1/e^-1)/10 = .1: (1 - e^(-.15 - .1)) / (1 - e^-.5) = .2211992/.3934693
        let failure = delta((-1.0_f64).exp());
        let evidence = Evidence { training_failure: failure, ..evidence(&values) };
        assert_close(Catoni::default().certify(&evidence).unwrap().bound, 0.562_176_5, 1e-7);
    }

    #[test]
    fn exponents_out_of_range_are_refused() {
        for t in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Catoni { t }.certify(&evidence(&[0.5])).unwrap_err();
            assert!(matches!(error, BoundError::Setting { name: "t", .. }), "{t}");
        }
    }
}
