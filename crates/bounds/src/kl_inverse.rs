//! Inverse of the binary divergence: Chernoff's bound without Pinsker's loss.
//!
//! # Definition
//! With $\mathrm{kl}(p \Vert q) = p \ln \frac pq + (1 - p) \ln \frac{1 - p}{1 - q}$ and losses mapped to
//! [0, 1] by $u = (x - a)/\Delta$,
//! $$ R \le a + \Delta \, \mathrm{kl}^{-1}(\hat u, c), \quad
//!    \mathrm{kl}^{-1}(p, c) = \sup \{ q : \mathrm{kl}(p \Vert q) \le c \}, \quad
//!    c = \frac{(K + L_\alpha) \ln 2 + \ln (1/\delta_1)}{m}. $$
//! With a subsample, $\hat u$ is first replaced by $\mathrm{kl}^{-1}(\hat u, c')$,
//! $c' = (L_\alpha \ln 2 + \ln (M/\delta_2)) / n$.
//!
//! # Validity
//! Chernoff's bound holds for independent losses in [0, 1], not binary ones alone, because
//! $e^{\lambda u} \le 1 - u + u e^\lambda$. Sample event: the draws are independent with the training risk as
//! their mean, so $\mathrm{kl}^{-1}(\hat u, c')$ exceeds it but with probability $\delta_2 2^{-L_\alpha}/M$;
//! $\mathrm{kl}^{-1}$ increases in its first argument, so the training event may be applied to that limit.
//! Not proven for a martingale, whose conditional means vary: see [`FixedT`](crate::FixedT).
//!
//! # Reference
//! J. Langford, *Tutorial on practical prediction theory for classification*, JMLR 6, 2005. Never worse
//! than Hoeffding's inequality (Pinsker), far better near 0 and 1.

use serde::{Deserialize, Serialize};

use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Chernoff's bound for documents, solved for the risk.
///
/// ```toml
/// [bound]
/// kind = "kl-inverse"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlInverse {}

impl Bound for KlInverse {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let c = evidence.training_nats() / evidence.m();
        from_training_risk(evidence, evidence.risk(self)?, |risk| kl_inverse(risk, c))
    }
}

/// A bound that sees the losses through their mean alone: `limit`, increasing, takes the training risk
/// on the scale of an error rate to a limit of the true one. With a subsample it is given the upper
/// limit of the training risk by [`kl_inverse`].
pub(crate) fn from_training_risk(
    evidence: &Evidence<'_>,
    risk: f64,
    limit: impl Fn(f64) -> f64,
) -> Result<Certified, BoundError> {
    let scored = evidence.range.to_unit(risk);
    let training = if evidence.is_sampled() {
        kl_inverse(scored, evidence.sample_nats() / evidence.n())
    } else {
        scored
    };
    let [unsampled, bound] = [scored, training].map(|training| evidence.range.at(limit(training)));
    Certified::new(risk, unsampled, bound)
}

/// $\mathrm{kl}^{-1}(p, c)$ for $p$ in [0, 1], $c \ge 0$, from above.
pub(crate) fn kl_inverse(p: f64, c: f64) -> f64 {
    // In terms of q - p, which keeps its digits where c is tiny.
    let (mut low, mut high) = (0.0, 1.0 - p);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return (p + high).min(1.0);
        }
        if kl(p, middle) <= c {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// $\mathrm{kl}(p \Vert p + d)$ for $0 \le d \le 1 - p$.
pub(crate) fn kl(p: f64, d: f64) -> f64 {
    let right = if p > 0.0 { -p * (d / p).ln_1p() } else { 0.0 };
    let wrong = if p < 1.0 { -(1.0 - p) * (-d / (1.0 - p)).ln_1p() } else { 0.0 };
    right + wrong
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use proptest::prelude::*;

    use super::*;
    use crate::parity::root;
    use crate::testing::{assert_close, seeded};

    #[test]
    fn inverses_of_the_reference() {
        for (p, c, expected, tolerance) in [
            (0.0, 0.01, 0.009_950_166_251, 1e-9), // 1 - e^-.01
            (0.1, 0.01, 0.147_675_539_298, 1e-9),
            (0.5, 0.01, 0.570_358_593_457, 1e-9),
            (0.5, 0.1, 0.712_878_631_456, 1e-9),
            (0.3, 0.05, 0.454_596_833_8, 1e-9),
            (1.0 - 0.710_693, (1_724.0 + 20_f64.ln()) / 30_000.0, 0.454_866_010_37, 1e-9),
        ] {
            assert_close(kl_inverse(p, c), expected, tolerance);
        }
        let c = (131_113.0 * LN_2 + 20_f64.ln()) / 8_009_762.0;
        assert_close(c, 0.011_346_604_56, 1e-9);
        assert_close(kl_inverse(0.9154, c), 0.951_092_157_1, 1e-9);
        assert_close(0.9154 + root(c, 1.0), 0.990_721_326_9, 1e-9);
        let c = (1_724.0 + 20_f64.ln()) / 30_000.0;
        assert_close(0.289_307 + root(c, 1.0), 0.458_963_306_12, 1e-9);
    }

    #[test]
    fn extremes() {
        assert_eq!(kl_inverse(1.0, 0.5), 1.0);
        assert_eq!(kl_inverse(0.5, 1e9), 1.0);
        assert_close(kl_inverse(0.0, 1e-12), -(-1e-12_f64).exp_m1(), 1e-12);
        // Second order: q - p = sqrt(2 p (1 - p) c) for tiny c.
        assert_close(kl_inverse(0.5, 1e-14) - 0.5, (0.5e-14_f64).sqrt(), 1e-6);
    }

    proptest! {
        #![proptest_config(seeded())]

        #[test]
        fn never_worse_than_hoeffding(p in 0.0..=1.0_f64, exponent in -9.0..1.0_f64) {
            let c = 10_f64.powf(exponent);
            let q = kl_inverse(p, c);
            prop_assert!(q >= p);
            prop_assert!(q <= p + root(c, 1.0) + 1e-12);
        }
    }
}
