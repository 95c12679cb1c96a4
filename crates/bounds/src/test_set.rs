//! The test-set bound: units that the hypothesis has never met cost no code.
//!
//! # Definition
//! On losses of the $m$ held-out units mapped to [0, 1],
//! $$ R \le a + \Delta \, \mathrm{kl}^{-1}(\hat u, c) \quad \text{or} \quad
//!    R \le \hat R + \Delta \sqrt{c / 2}, \quad c = \frac{L_\alpha \ln 2 + \ln (M/\delta_1)}{m}. $$
//!
//! # Validity
//! Independent units, none of which had a part in choosing the $M$ models; $L_\alpha = 0$ if the smoothing
//! weight was fixed before they were scored. Every held-out unit is scored: a subset drawn beforehand
//! is a smaller test set. It says nothing about a training set, but how much a certificate of one gives
//! away.
//!
//! # Reference
//! J. Langford, *Tutorial on practical prediction theory for classification*, JMLR 6, 2005, section 3.

use serde::{Deserialize, Serialize};

use crate::kl_inverse::kl_inverse;
use crate::parity::root;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Sampling, Unit};

/// Which inequality bounds the risk from held-out units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// The inverse of the binary divergence.
    #[default]
    KlInverse,
    /// Hoeffding's inequality.
    Hoeffding,
}

/// The bound from held-out documents.
///
/// ```toml
/// [bound]
/// kind = "test-set"
/// tail = "kl-inverse"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestSet {
    /// Inequality used.
    pub tail: Tail,
}

impl Bound for TestSet {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        if evidence.code_length.get() > 0.0 {
            return Err(BoundError::NotHeldOut(evidence.code_length.get()));
        }
        if evidence.sampling != Sampling::Full {
            return Err(BoundError::Subsampled);
        }
        let range = evidence.range;
        let nats = evidence.training_nats() + (evidence.models.get() as f64).ln();
        let bound = match self.tail {
            Tail::KlInverse => range.at(kl_inverse(range.to_unit(risk), nats / evidence.m())),
            Tail::Hoeffding => risk + range.width() * root(nats, evidence.m()),
        };
        Certified::new(risk, bound, bound)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::Bits;
    use crate::testing::{assert_close, delta, evidence};

    #[test]
    fn a_hundred_held_out_documents() {
        let values = [0.0; 100];
        let evidence = Evidence { training_failure: delta(0.05), ..evidence(&values) };
        let bound = |tail| TestSet { tail }.certify(&evidence).unwrap().bound;
        assert_close(bound(Tail::KlInverse), 1.0 - 0.05_f64.powf(0.01), 1e-12);
        assert_close(bound(Tail::Hoeffding), (20_f64.ln() / 200.0).sqrt(), 1e-15);
        let two = Evidence { models: NonZeroU64::new(2).unwrap(), ..evidence };
        let bound = TestSet::default().certify(&two).unwrap().bound;
        assert_close(bound, 1.0 - 0.025_f64.powf(0.01), 1e-12);
    }

    #[test]
    fn seen_and_subsampled_units_are_refused() {
        let evidence = evidence(&[0.5, 0.5]);
        let seen = Evidence { code_length: Bits::whole(1), ..evidence };
        assert_eq!(TestSet::default().certify(&seen), Err(BoundError::NotHeldOut(1.0)));
        let sampled = Evidence { sampling: Sampling::Uniform, ..evidence };
        assert_eq!(TestSet::default().certify(&sampled), Err(BoundError::Subsampled));
    }
}
