//! Binary: the sign.
//!
//! # Definition
//! $\hat x = \alpha \operatorname{sign} x$, and the gradient passes for $|x| \le \alpha$.
//!
//! # Reference
//! Z. Liu et al., *`ParetoQ`: Scaling Laws in Extremely Low-bit LLM Quantization*, 2025,
//! arXiv:2502.02631; code: facebookresearch/ParetoQ.
//!
//! # Notes on the reference implementation
//! Its sign of zero is zero, a third level. Here zero goes with the negative numbers.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError, ScaleRule};

/// The scale with either sign, at 1 bit.
///
/// ```toml
/// [grid]
/// kind = "binary"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Binary {}

impl Grid for Binary {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("binary", bits, 1..=1, "1")?;
        let levels = Levels::Table(vec![-1.0, 1.0]);
        Ok(Codes::new(levels, Mask::Between(-1.0, 1.0)).learned(ScaleRule::Level, None))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("binary", bits, 1..=1, "1")?;
        Ok(Params::scale(scale_of(extent.magnitude(), 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_also_at_zero() {
        let codes = Binary {}.codes(BitWidth::new(1).unwrap()).unwrap();
        let params = Params::scale(0.5);
        let x = [-9.0, -0.0, 0.0, 1e-30, 0.5, 0.6];
        assert_eq!(x.map(|x| codes.quantize(x, &params)), [-0.5, -0.5, -0.5, 0.5, 0.5, 0.5]);
        assert_eq!(x.map(|x| codes.passes(x, &params)), [false, true, true, true, true, false]);
    }
}
