//! Symmetric absmax grid.
//!
//! # Definition
//! $s = \max |x| / Q$ with $Q = 2^{b-1} - 1$; codes are the integers from $-Q$ to $Q$: 255, 15 and 3
//! levels at 8, 4 and 2 bits, $2^b - 1$ of them. With an absmax scale the code $-2^{b-1}$ would never
//! occur.
//!
//! # Reference
//! B. Jacob et al., CVPR 2018, arXiv:1712.05877, in its symmetric restricted form.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, scale_of};
use crate::{BitWidth, QuantizerError};

/// Integers from $-(2^{b-1} - 1)$ to $2^{b-1} - 1$, at 2 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "symmetric"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Symmetric {}

impl Symmetric {
    /// $Q$, the greatest code.
    fn greatest(bits: BitWidth) -> Result<i32, QuantizerError> {
        match bits.get() {
            2..=16 => Ok((1 << (bits.get() - 1)) - 1),
            _ => Err(QuantizerError::GridWidth { grid: "symmetric", bits, expected: "2 to 16" }),
        }
    }
}

impl Grid for Symmetric {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        let max = Self::greatest(bits)?;
        Ok(Codes::new(Levels::Integers { min: -max, max }, Mask::Rounded))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        Ok(Params::scale(scale_of(extent.magnitude(), Self::greatest(bits)? as f32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_reference() {
        // w = .9 -.31 .05 -.004 .45 -.9 .13: s = .9/127, .9/7, .9.
        let w = [0.9, -0.31, 0.05, -0.004, 0.45, -0.9, 0.13];
        for (bits, scale, codes) in [
            (8, 0.007_086_61, [127, -44, 7, -1, 64, -127, 18]),
            (4, 0.128_571_42, [7, -2, 0, 0, 4, -7, 1]),
            (2, 0.9, [1, 0, 0, 0, 0, -1, 0]),
        ] {
            let bits = BitWidth::new(bits).unwrap();
            let params = Symmetric {}.params(Extent { low: -0.9, high: 0.9 }, bits).unwrap();
            assert!((params.scale - scale).abs() < 1e-8, "{params:?}");
            let grid = Symmetric {}.codes(bits).unwrap();
            assert_eq!(w.map(|x| grid.code(x, &params)), codes);
        }
    }

    #[test]
    fn ties_go_to_the_even_code() {
        let grid = Symmetric {}.codes(BitWidth::new(4).unwrap()).unwrap();
        let params = Params::scale(0.25);
        let x = [1.75, 0.125, 0.375, -0.125, -0.375, 0.625, -0.625];
        assert_eq!(x.map(|x| grid.code(x, &params)), [7, 0, 2, 0, -2, 2, -2]);
    }
}
