//! Ternary: minus, zero, plus.
//!
//! # Definition
//! With $u = x / \alpha$, $\hat x = \alpha \operatorname{round}(\tfrac32 \operatorname{clip}(u, \pm
//! 0.99)) / \tfrac32$: levels $0$ and $\pm\tfrac23$ in units of the scale $\alpha$, borders at
//! $\pm\tfrac13$. The gradient passes for $|u| \le 0.99$.
//!
//! # Reference
//! Z. Liu et al., *`ParetoQ`: Scaling Laws in Extremely Low-bit LLM Quantization*, 2025,
//! arXiv:2502.02631; code: facebookresearch/ParetoQ.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// Zero and two thirds of the scale with either sign: 3 of the 4 codes of 2 bits.
///
/// ```toml
/// [grid]
/// kind = "ternary"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ternary {}

impl Grid for Ternary {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("ternary", bits, 2..=2, "2")?;
        let levels = vec![-2.0 / 3.0, 0.0, 2.0 / 3.0];
        Ok(Codes::new(Levels::Table(levels), Mask::Between(-0.99, 0.99)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("ternary", bits, 2..=2, "2")?;
        Ok(Params::scale(scale_of(extent.magnitude(), 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_at_a_third_of_the_scale() {
        let codes = Ternary {}.codes(BitWidth::new(2).unwrap()).unwrap();
        let params = Params::scale(3.0);
        let x = [0.99, 1.02, 5.0, -0.99, -1.02, 0.0];
        assert_eq!(x.map(|x| codes.quantize(x, &params)), [0.0, 2.0, 2.0, 0.0, -2.0, 0.0]);
        let x = [2.96, 2.98, -2.96, -2.98];
        assert_eq!(x.map(|x| codes.passes(x, &params)), [true, false, true, false]);
    }
}
