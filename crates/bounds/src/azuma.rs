//! Hoeffding's inequality for martingales, at token level, with every union paid.
//!
//! # Definition
//! The formula of [`Strict`](crate::Strict), for tokens and their average conditional risk
//! $\bar R = \frac1m \sum_i \mathbb E [X_i \mid x_{<i}]$:
//! $$ \bar R \le \hat R + \Delta_\alpha \sqrt{\frac{(K + L_\alpha) \ln 2 + \ln (1/\delta_1)}{2 m}} +
//!    \Delta_\alpha \sqrt{\frac{L_\alpha \ln 2 + \ln (M/\delta_2)}{2 n}}. $$
//!
//! # Validity
//! Training event: $X_i - \mathbb E [X_i \mid x_{<i}]$ is a martingale difference within an interval of
//! width $\Delta$ that is known beforehand; Azuma's inequality at level $\delta_1 2^{-(K + L_\alpha)}$.
//! Sample event: uniform draws of positions, as for documents; each scored token needs its true context.
//! What is bounded are new next tokens on the training contexts, not new documents.
//!
//! # Reference
//! K. Azuma, *Weighted sums of certain dependent random variables*, 1967; S. Lotfi et al., *Unlocking
//! Tokens as Data Points for Generalization Bounds on Larger Language Models*, NeurIPS 2024,
//! arXiv:2407.18158.
//!
//! # Notes on the reference implementation
//! It splits the failure probability as [`Parity`](crate::Parity) does and pays for no union. Its
//! smoothing weight per token is not offered: the width it averages depends on the data.

use serde::{Deserialize, Serialize};

use crate::strict::two_roots;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Azuma's inequality for tokens, for all hypotheses, smoothing weights and models at once.
///
/// ```toml
/// [bound]
/// kind = "azuma"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Azuma {}

impl Bound for Azuma {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Token
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        two_roots(evidence, evidence.risk(self)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::parity::root;
    use crate::testing::assert_close;
    use crate::{Bits, Smoothing};

    #[test]
    fn eight_million_bits_over_nine_billion_tokens() {
        let width = Smoothing::new(0.1, 50_257).unwrap().range().width();
        let nats = Bits::new(8e6).unwrap().to_nats().get() + 20_f64.ln();
        assert_close(3.5 + width * root(nats, 9_035_582_198.0), 3.829_095_09, 2e-9);
    }
}
