//! Integers with a zero point, by PyTorch's rules.
//!
//! # Definition
//! Codes are the integers from $q_{min}$ to $q_{max}$: 0 to $2^b - 1$ (`unsigned`) or $-2^{b-1}$ to
//! $2^{b-1} - 1$ (`signed`). The range is widened to hold zero, $l = \min(\mathrm{low}, 0)$ and
//! $h = \max(\mathrm{high}, 0)$. Of the `affine` scheme,
//! $$ s = \frac{h - l}{q_{max} - q_{min}}, \qquad
//!    z = \operatorname{clamp}(q_{min} - \operatorname{round}(l / s), q_{min}, q_{max}); $$
//! of the `symmetric` one,
//! $$ s = \frac{\max(-l, h)}{(q_{max} - q_{min}) / 2}, \qquad z = \begin{cases} 0 & \text{signed} \\
//!    2^{b-1} & \text{unsigned, 8 bits} \\ 2^{b-1} - 1 & \text{unsigned, other widths;} \end{cases} $$
//! and $s$ is at least $2^{-23}$. The affine scheme can learn $z$, which the symmetric one fixes.
//!
//! # Reference
//! B. Jacob et al., CVPR 2018, arXiv:1712.05877; `torch.ao.quantization.MinMaxObserver` of PyTorch 2.15,
//! where 8 bits are the range of a type and other widths a custom one, whose middle is rounded down.
//!
//! # Notes on the reference implementation
//! The floor of $s$ makes zero of all values below $6 \cdot 10^{-8}$.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, LEAST_SCALE, Levels, Mask, Params, check_width};
use crate::{BitWidth, QuantizerError, ScaleRule, Shift};

/// Integers with a zero point, at 1 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "affine"
/// codes = "unsigned"
/// scheme = "affine"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    /// Which integers.
    pub codes: Signedness,
    /// Where their zero point lies.
    pub scheme: Scheme,
}

/// Whether there are negative codes, as in `quint8` and `qint8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signedness {
    /// From 0 to $2^b - 1$.
    #[default]
    Unsigned,
    /// From $-2^{b-1}$ to $2^{b-1} - 1$.
    Signed,
}

/// How a range is laid on the codes, as in `per_tensor_affine` and `per_tensor_symmetric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// From end to end.
    #[default]
    Affine,
    /// As far on one side of zero as on the other.
    Symmetric,
}

impl Affine {
    /// $q_{min}$ and $q_{max}$.
    fn ends(&self, bits: BitWidth) -> Result<(i32, i32), QuantizerError> {
        check_width("affine", bits, 1..=16, "1 to 16")?;
        let max = (1 << bits.get()) - 1;
        Ok(match self.codes {
            Signedness::Unsigned => (0, max),
            Signedness::Signed => (-(max + 1) / 2, max / 2),
        })
    }
}

impl Grid for Affine {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        let (min, max) = self.ends(bits)?;
        let shift = (self.scheme == Scheme::Affine).then_some(Shift::ZeroPoint);
        Ok(Codes::new(Levels::Integers { min, max }, Mask::Rounded)
            .learned(ScaleRule::Rounding, shift))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        let (min, max) = self.ends(bits)?;
        let steps = (max - min) as f32;
        let (low, high) = (extent.low.min(0.0), extent.high.max(0.0));
        let width = high - low;
        let scale = match self.scheme {
            Scheme::Affine if width.is_finite() => width / steps,
            Scheme::Affine => high / steps - low / steps,
            Scheme::Symmetric => high.max(-low) / (0.5 * steps),
        };
        let scale = scale.clamp(LEAST_SCALE, f32::MAX);
        let zero_point = match (self.scheme, self.codes) {
            (Scheme::Affine, _) => {
                let (min, max) = (min as f32, max as f32);
                (min - (low / scale).round_ties_even()).clamp(min, max) as i32
            }
            (Scheme::Symmetric, Signedness::Signed) => 0,
            (Scheme::Symmetric, Signedness::Unsigned) if bits.get() == 8 => 128,
            (Scheme::Symmetric, Signedness::Unsigned) => max / 2,
        };
        Ok(Params { scale, zero_point, offset: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Signedness::{Signed, Unsigned};

    #[test]
    fn scales_and_zero_points_of_pytorch() {
        for ((low, high), codes, scheme, bits, scale, zero_point) in [
            ((0.5, 2.0), Unsigned, Scheme::Affine, 8, 2.0 / 255.0, 0),
            ((-1.0, 3.0), Unsigned, Scheme::Affine, 8, 4.0 / 255.0, 64),
            ((-1.0, 3.0), Signed, Scheme::Affine, 8, 4.0 / 255.0, -64),
            ((-3.0, -1.0), Unsigned, Scheme::Affine, 8, 3.0 / 255.0, 255),
            ((-3.0, -1.0), Signed, Scheme::Affine, 8, 3.0 / 255.0, 127),
            ((-1.0, 3.0), Signed, Scheme::Symmetric, 8, 3.0 / 127.5, 0),
            ((-1.0, 3.0), Signed, Scheme::Symmetric, 4, 0.4, 0),
            ((-1.0, 3.0), Unsigned, Scheme::Symmetric, 8, 3.0 / 127.5, 128),
            ((-1.0, 3.0), Unsigned, Scheme::Symmetric, 4, 0.4, 7),
            ((0.0, 0.0), Unsigned, Scheme::Affine, 8, 1.192_092_9e-7, 0),
        ] {
            let (grid, bits) = (Affine { codes, scheme }, BitWidth::new(bits).unwrap());
            let params = grid.params(Extent { low, high }, bits).unwrap();
            assert_eq!(
                params,
                Params { scale, zero_point, offset: 0.0 },
                "{low}..{high}, {grid:?}"
            );
        }
        // From -127 to 127 it is the symmetric grid: 3/127.
        let params = super::super::Symmetric {}
            .params(Extent { low: -1.0, high: 3.0 }, BitWidth::new(8).unwrap())
            .unwrap();
        assert_eq!(params, Params::scale(3.0 / 127.0));
    }

    #[test]
    fn the_codes_of_both_kinds() {
        for (codes, bits, ends) in [
            (Unsigned, 8, (0, 255)),
            (Signed, 8, (-128, 127)),
            (Signed, 4, (-8, 7)),
            (Unsigned, 1, (0, 1)),
            (Signed, 1, (-1, 0)),
        ] {
            let grid = Affine { codes, ..Affine::default() };
            assert_eq!(grid.codes(BitWidth::new(bits).unwrap()).unwrap().ends(), ends);
        }
    }
}
