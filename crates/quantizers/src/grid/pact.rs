//! Parameterised clipping activation.
//!
//! # Definition
//! $y = \operatorname{clip}(x, 0, \alpha)$, quantised with $s = \alpha / (2^b - 1)$. The gradient of
//! $x$ passes where $0 \le x < \alpha$; that of $\alpha$ is what comes from $x \ge \alpha$.
//!
//! For activations that are not negative: what is, becomes zero.
//!
//! # Reference
//! J. Choi et al., *PACT: Parameterized Clipping Activation for Quantized Neural Networks*, 2018,
//! arXiv:1805.06085.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError, ScaleRule};

/// Integers from 0 to $2^b - 1$ without a zero point, at 1 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "pact"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pact {}

impl Grid for Pact {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("pact", bits, 1..=16, "1 to 16")?;
        let max = (1 << bits.get()) - 1;
        let mask = Mask::Between(0.0, (max as f32).next_down()); // alpha itself is outside
        Ok(Codes::new(Levels::Integers { min: 0, max }, mask).learned(ScaleRule::Clipping, None))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("pact", bits, 1..=16, "1 to 16")?;
        let max = ((1_i32 << bits.get()) - 1) as f32;
        Ok(Params::scale(scale_of(extent.high, max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LEAST_SCALE;

    #[test]
    fn from_zero_to_alpha_and_no_gradient_from_there_on() {
        let bits = BitWidth::new(2).unwrap();
        let params = Pact {}.params(Extent { low: -7.0, high: 6.0 }, bits).unwrap();
        assert_eq!(params, Params::scale(2.0)); // 6/3
        let codes = Pact {}.codes(bits).unwrap();
        let x = [-7.0, -0.1, 0.0, 1.0, 3.0, 5.9, 6.0, 9.0];
        assert_eq!(x.map(|x| codes.quantize(x, &params)), [0.0, 0.0, 0.0, 0.0, 4.0, 6.0, 6.0, 6.0]);
        let passes = [false, false, true, true, true, true, false, false];
        assert_eq!(x.map(|x| codes.passes(x, &params)), passes);
    }

    #[test]
    fn a_range_below_zero_is_all_zero() {
        let bits = BitWidth::new(4).unwrap();
        let params = Pact {}.params(Extent { low: -7.0, high: -1.0 }, bits).unwrap();
        assert_eq!(params, Params::scale(LEAST_SCALE));
    }
}
