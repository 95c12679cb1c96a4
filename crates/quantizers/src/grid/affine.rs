//! Affine grid with PyTorch's rules.
//!
//! # Definition
//! The range is widened to hold zero, $l = \min(\mathrm{low}, 0)$ and $h = \max(\mathrm{high}, 0)$; codes
//! are the integers from $q_{min} = 0$ to $q_{max} = 2^b - 1$;
//! $$ s = \max\bigl((h - l)/(q_{max} - q_{min}),\ 2^{-23}\bigr), \quad
//!    z = \operatorname{clamp}(q_{min} - \operatorname{round}(l / s), q_{min}, q_{max}). $$
//!
//! # Reference
//! B. Jacob et al., CVPR 2018, arXiv:1712.05877; `torch.ao.quantization.MinMaxObserver` of PyTorch 2.15.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, LEAST_SCALE, Levels, Mask, Params};
use crate::{BitWidth, QuantizerError, ScaleRule, Shift};

/// Integers from 0 to $2^b - 1$ with a zero point, at 1 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "affine"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {}

impl Affine {
    fn greatest(bits: BitWidth) -> Result<i32, QuantizerError> {
        match bits.get() {
            1..=16 => Ok((1 << bits.get()) - 1),
            _ => Err(QuantizerError::GridWidth { grid: "affine", bits, expected: "1 to 16" }),
        }
    }
}

impl Grid for Affine {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        let max = Self::greatest(bits)?;
        Ok(Codes::new(Levels::Integers { min: 0, max }, Mask::Rounded)
            .learned(ScaleRule::Rounding, Some(Shift::ZeroPoint)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        let max = Self::greatest(bits)? as f32;
        let (low, high) = (extent.low.min(0.0), extent.high.max(0.0));
        let scale = ((high - low) / max).max(LEAST_SCALE);
        let zero_point = (-(low / scale).round_ties_even()).clamp(0.0, max) as i32;
        Ok(Params { scale, zero_point, offset: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_and_zero_points_of_pytorch() {
        for (low, high, scale, zero_point) in [
            (0.5, 2.0, 2.0 / 255.0, 0),
            (-1.0, 3.0, 4.0 / 255.0, 64),
            (-3.0, -1.0, 3.0 / 255.0, 255),
            (0.0, 0.0, 1.192_092_9e-7, 0),
        ] {
            let extent = Extent { low, high };
            let params = Affine {}.params(extent, BitWidth::new(8).unwrap()).unwrap();
            assert_eq!(params, Params { scale, zero_point, offset: 0.0 }, "{extent:?}");
        }
    }
}
