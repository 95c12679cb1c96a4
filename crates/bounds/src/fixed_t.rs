//! Chernoff's bound for tokens, at exponents fixed beforehand.
//!
//! # Definition
//! For losses mapped to [0, 1] by $u = (x - a)/\Delta$ and a fixed grid $T$ of exponents,
//! $$ \bar R \le a + \Delta \min_{t \in T} \frac{1 - e^{-t \hat u - c}}{1 - e^{-t}}, \quad
//!    c = \frac{(K + L_\alpha) \ln 2 + \ln (|T|/\delta_1)}{m}, $$
//! here $e^{-t} = 1 - s$ for the stakes $s$ of [`Product`](crate::Product). With a subsample, $\hat u$ is
//! first replaced by $\mathrm{kl}^{-1}(\hat u, c')$, $c' = (L_\alpha \ln 2 + \ln (M/\delta_2))/n$.
//!
//! # Validity
//! By convexity $\mathbb E [e^{-t u_i} \mid x_{<i}] \le 1 - \mu_i (1 - e^{-t})$, $\mu_i$ the conditional mean; so
//! $\prod_i e^{-t u_i} / (1 - \mu_i (1 - e^{-t}))$ is a supermartingale. Markov's inequality at level
//! $\delta_1 2^{-(K + L_\alpha)}/|T|$ and the concavity of $\ln (1 - \mu (1 - e^{-t}))$ give the formula.
//! Minimising over all $t$ would be the divergence inverse, which is not proven when conditional means
//! vary; a union over a finite grid is. Sample event: positions are drawn uniformly with replacement, so
//! [`KlInverse`](crate::KlInverse)'s first step holds; the formula increases in $\hat u$.
//!
//! # Reference
//! O. Catoni, *PAC-Bayesian supervised classification*, 2007; for martingales as in
//! Y. Seldin et al., *PAC-Bayesian inequalities for martingales*, 2012, arXiv:1110.6886.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::kl_inverse::from_training_risk;
use crate::stakes::{self, stakes};
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Chernoff's bound for tokens over a grid of exponents.
///
/// ```toml
/// [bound]
/// kind = "fixed-t"
/// exponents = 64
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FixedT {
    /// $|T|$, exponents tried.
    pub exponents: NonZeroU32,
}

impl Default for FixedT {
    fn default() -> Self {
        Self { exponents: stakes::DEFAULT }
    }
}

impl Bound for FixedT {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Token
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let c = (evidence.training_nats() + stakes::ln_size(self.exponents)) / evidence.m();
        from_training_risk(evidence, evidence.risk(self)?, |risk| {
            let limits = stakes(self.exponents).map(|s| fixed_t(risk, c, -(-s).ln_1p()));
            limits.fold(f64::INFINITY, f64::min)
        })
    }
}

/// $(1 - e^{-t p - c})/(1 - e^{-t})$.
pub(crate) fn fixed_t(p: f64, c: f64, t: f64) -> f64 {
    (-t * p - c).exp_m1() / (-t).exp_m1()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;
    use crate::testing::{assert_close, delta, evidence};

    #[test]
    fn on_a_binary_rate_it_is_the_product_bound() {
        // s = 1/2: (1 - 2^-.3 e^-.05) / (1/2), the product bound's value at a binary risk of .3.
        assert_close(fixed_t(0.3, 0.05, LN_2), 0.454_723_240_929_5, 1e-12);
        // The same as a certificate: one exponent, ten tokens, c = 0.5/10.
        let values = [0.3; 10];
        let evidence = Evidence {
            unit: Unit::Token,
            training_failure: delta((-0.5_f64).exp()),
            ..evidence(&values)
        };
        let certified = FixedT { exponents: NonZeroU32::MIN }.certify(&evidence).unwrap();
        assert_close(certified.bound, 0.454_723_240_929_5, 1e-12);
    }
}
