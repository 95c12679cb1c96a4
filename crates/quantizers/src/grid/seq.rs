//! Stretched elastic quantisation: balanced levels without a zero.
//!
//! # Definition
//! With $u = x / \alpha$ and $n = 2^{b-1}$,
//! $$ \hat x = \alpha \frac{1 + 2 \operatorname{round}(n \operatorname{clip}(u, \pm 0.99) - 1/2)}{2n}: $$
//! the $2^b$ levels $\pm\tfrac{1}{2n}, \pm\tfrac{3}{2n}, \dots, \pm\tfrac{2n-1}{2n}$ in units of the
//! scale $\alpha$, at 2 bits $\pm\tfrac14$ and $\pm\tfrac34$. The gradient passes for
//! $|u| \le 0.99$.
//!
//! # Reference
//! Z. Liu et al., *`ParetoQ`: Scaling Laws in Extremely Low-bit LLM Quantization*, 2025,
//! arXiv:2502.02631; code: facebookresearch/ParetoQ.
//!
//! # Notes on the reference implementation
//! From 8 bits on, the clip at 0.99 would take all values from the outermost levels. There is no such
//! width here.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// Odd multiples of half a step, at 2 to 7 bits.
///
/// ```toml
/// [grid]
/// kind = "seq"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seq {}

impl Grid for Seq {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("seq", bits, 2..=7, "2 to 7")?;
        let n: i16 = 1 << (bits.get() - 1);
        let levels = (-n..n).map(|q| (f32::from(q) + 0.5) / f32::from(n)).collect();
        Ok(Codes::new(Levels::Table(levels), Mask::Between(-0.99, 0.99)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("seq", bits, 2..=7, "2 to 7")?;
        Ok(Params::scale(scale_of(extent.magnitude(), 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bits_of_the_reference() {
        let codes = Seq {}.codes(BitWidth::new(2).unwrap()).unwrap();
        let u = [-0.6, -0.5, -0.49, -0.0, 0.0, 0.49, 0.5, 0.51];
        let quantized = [-0.75, -0.75, -0.25, 0.25, 0.25, 0.25, 0.25, 0.75];
        assert_eq!(u.map(|u| codes.quantize(u, &Params::scale(1.0))), quantized);
        let u = [0.98, 0.99, 1.0, -0.99, -1.0];
        let passes = [true, true, false, true, false];
        assert_eq!(u.map(|u| codes.passes(u, &Params::scale(1.0))), passes);
    }

    #[test]
    fn the_nearest_level_is_that_of_the_formula() {
        for bits in 2..=7 {
            let codes = Seq {}.codes(BitWidth::new(bits).unwrap()).unwrap();
            let n = f32::from(1_u8 << (bits - 1));
            for k in -1_300..=1_300 {
                let u = k as f32 / 1_024.0; // every border is among them
                let clipped = u.clamp(-0.99, 0.99);
                let formula = ((n * clipped - 0.5).round_ties_even() + 0.5) / n;
                assert_eq!(codes.quantize(u, &Params::scale(1.0)), formula, "{bits} bits, {u}");
            }
        }
    }
}
