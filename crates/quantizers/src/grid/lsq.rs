//! Learned step size.
//!
//! # Definition
//! With $u = x / s$, $\hat x = s \operatorname{round}(\operatorname{clamp}(u, -Q_n, Q_p))$, where
//! $Q_p = 2^{b-1} - 1$ and $Q_n = Q_p + 1$ (two's complement) or $Q_p$ (symmetric). The gradient of
//! $x$ passes where $-Q_n \le u \le Q_p$ for the **unrounded** $u$, ends included: the paper takes
//! them out, but the largest value lies on one when the scale starts from it.
//!
//! Here is the grid. The step is learned where tensors are; it starts from
//! $\max |x| / Q_p$ with the range `min-max`, or from a range that looks at the error.
//!
//! # Reference
//! S. K. Esser et al., *Learned Step Size Quantization*, ICLR 2020, arXiv:1902.08153. The ends and the
//! start as in facebookresearch/ParetoQ (arXiv:2502.02631).

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// Integers around zero with the mask of a learned step, at 2 to 16 bits.
///
/// ```toml
/// [grid]
/// kind = "lsq"
/// integers = "twos-complement"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lsq {
    /// Whether there is one code more below zero than above.
    pub integers: Integers,
}

/// Integers of $b$ bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integers {
    /// From $-2^{b-1}$ to $2^{b-1} - 1$, as in the paper.
    #[default]
    TwosComplement,
    /// From $-(2^{b-1} - 1)$ to $2^{b-1} - 1$.
    Symmetric,
}

impl Grid for Lsq {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("lsq", bits, 2..=16, "2 to 16")?;
        let max = (1 << (bits.get() - 1)) - 1;
        let min = match self.integers {
            Integers::TwosComplement => -max - 1,
            Integers::Symmetric => -max,
        };
        let mask = Mask::Between(min as f32, max as f32);
        Ok(Codes::new(Levels::Integers { min, max }, mask))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("lsq", bits, 2..=16, "2 to 16")?;
        let magnitude = extent.magnitude();
        let greatest = ((1_i32 << (bits.get() - 1)) - 1) as f32;
        let scale = scale_of(magnitude, greatest);
        // A quotient rounded down would put the largest magnitude beyond the end, outside the mask.
        let is_short = magnitude / scale > greatest;
        Ok(Params::scale(if is_short { scale.next_up() } else { scale }))
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;

    fn codes(integers: Integers, bits: u8) -> Codes {
        Lsq { integers }.codes(BitWidth::new(bits).unwrap()).unwrap()
    }

    #[test]
    fn the_mask_ends_at_the_last_code_not_half_a_step_beyond() {
        let params = Params::scale(1.0);
        let u = [2.3, 7.0, 7.1, 9.0, -8.0, -8.1, -7.0, -7.1];
        let twos_complement = codes(Integers::TwosComplement, 4);
        assert_eq!(u.map(|u| twos_complement.code(u, &params)), [2, 7, 7, 7, -8, -8, -7, -7]);
        let passes = [true, true, false, false, true, false, true, true];
        assert_eq!(u.map(|u| twos_complement.passes(u, &params)), passes);
        let symmetric = codes(Integers::Symmetric, 4);
        assert_eq!(u.map(|u| symmetric.code(u, &params)), [2, 7, 7, 7, -7, -7, -7, -7]);
        let passes = [true, true, false, false, false, false, true, false];
        assert_eq!(u.map(|u| symmetric.passes(u, &params)), passes);
        assert_eq!((twos_complement.count(), symmetric.count()), (16, 15));
    }

    #[test]
    fn the_largest_magnitude_is_on_the_last_code_whatever_it_is() {
        let mut magnitudes = vec![0.0; 2_000];
        Key::from_seed(1).fill_normal(0, &mut magnitudes);
        for bits in [2, 3, 4, 5, 8, 12, 16] {
            let (grid, bits) = (Lsq::default(), BitWidth::new(bits).unwrap());
            let codes = grid.codes(bits).unwrap();
            for high in magnitudes.iter().map(|it| 1.0 + it.abs()) {
                let params = grid.params(Extent { low: 0.0, high }, bits).unwrap();
                assert!(codes.passes(high, &params), "{high} at {bits} bits: {params:?}");
                let exact = high / ((1 << (bits.get() - 1)) - 1) as f32;
                assert!((params.scale / exact - 1.0).abs() < 3e-7);
            }
        }
    }
}
