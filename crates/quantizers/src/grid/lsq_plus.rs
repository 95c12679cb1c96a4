//! Learned step size and offset.
//!
//! # Definition
//! With $u = (x - \beta) / s$, $\hat x = s \operatorname{round}(\operatorname{clamp}(u, -2^{b-1},
//! 2^{b-1} - 1)) + \beta$ with a real offset $\beta$. The gradient of $x$ passes where the unrounded
//! $u$ lies between the ends, both included.
//!
//! For a range from $l$ to $h$, $s = (h - l) / (2^b - 1)$, at least $2^{-22} |\beta|$, and $\beta$
//! puts the middle of the codes, $-\tfrac12$, at the middle of the range. A step below that would be
//! lost in the sum with $\beta$.
//!
//! # Reference
//! Y. Bhalgat et al., *LSQ+: Improving Low-bit Quantization through Learnable Offsets and Better
//! Initialization*, CVPR Workshops 2020, arXiv:2004.09576.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError, ScaleRule, Shift};

/// Integers of two's complement with a real offset, at 2 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "lsq-plus"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LsqPlus {}

impl Grid for LsqPlus {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("lsq-plus", bits, 2..=16, "2 to 16")?;
        let half = 1 << (bits.get() - 1);
        let (min, max) = (-half, half - 1);
        let mask = Mask::Between(min as f32, max as f32);
        Ok(Codes::new(Levels::Integers { min, max }, mask)
            .learned(ScaleRule::Rounding, Some(Shift::Offset)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("lsq-plus", bits, 2..=16, "2 to 16")?;
        let steps = ((1_i32 << bits.get()) - 1) as f32;
        let middle = 0.5 * extent.low + 0.5 * extent.high;
        let resolution = 2.0 * f32::EPSILON * middle.abs();
        // Halves, whose difference is finite, and a scale for what is all zero.
        let half = 0.5 * extent.high - 0.5 * extent.low;
        let scale = scale_of(half.max(resolution), 0.5 * steps).max(resolution);
        let offset = (middle + 0.5 * scale).clamp(f32::MIN, f32::MAX);
        Ok(Params { scale, zero_point: 0, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_range_are_the_ends_of_the_codes() {
        let bits = BitWidth::new(4).unwrap();
        let params = LsqPlus {}.params(Extent { low: 1.0, high: 4.75 }, bits).unwrap();
        // s = 3.75/15 and 1 = -8 s + beta.
        assert_eq!(params, Params { scale: 0.25, zero_point: 0, offset: 3.0 });
        let codes = LsqPlus {}.codes(bits).unwrap();
        let x = [1.0, 4.75, 3.0, 3.1, 3.13, 0.9, 4.8];
        assert_eq!(x.map(|x| codes.code(x, &params)), [-8, 7, 0, 0, 1, -8, 7]);
        assert_eq!(codes.quantize(3.3, &params), 3.25);
        let passes = [true, true, true, true, true, false, false];
        assert_eq!(x.map(|x| codes.passes(x, &params)), passes);
    }

    #[test]
    fn equal_values_far_from_zero_are_themselves() {
        let bits = BitWidth::new(8).unwrap();
        let codes = LsqPlus {}.codes(bits).unwrap();
        for x in [0.3, -1e30, 7e4] {
            let params = LsqPlus {}.params(Extent { low: x, high: x }, bits).unwrap();
            assert!((codes.quantize(x, &params) / x - 1.0).abs() < 3e-7, "{x}: {params:?}");
        }
    }
}
