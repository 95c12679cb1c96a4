//! Additive powers of two: each magnitude is a sum of one term from each of a few sets.
//!
//! # Definition
//! In units of the scale, the largest magnitude: zero and both signs of the sums of one term from each
//! set, divided by the largest sum.
//! - 3 bits: $\{0, 2^{-1}, 2^{-2}, 2^{-3}\}$
//! - 4 bits: $\{0, 2^{-1}, 2^{-2}, 2^{-4}\} + \{0, 2^{-3}\}$
//! - 5 bits: $\{0, 2^{-1}, 2^{-3}, 2^{-5}\} + \{0, 2^{-2}, 2^{-4}, 2^{-6}\}$
//!
//! # Reference
//! Y. Li, X. Dong and W. Wang, *Additive Powers-of-Two Quantization*, ICLR 2020, arXiv:1909.13144;
//! code: yhhhli/APoT_Quantization.
//!
//! # Notes on the reference implementation
//! It normalises weights to mean 0 and deviation 1 before projection and passes the gradient of
//! weights everywhere. Here the range decides on the scale, and the gradient stops beyond it.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// Sums of powers of two with either sign, at 3 to 5 bits.
///
/// ```toml
/// [grid]
/// kind = "apot"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apot {}

/// The terms of both sets as multiples of $2^{-6}$.
fn terms(bits: BitWidth) -> Result<(&'static [u8], &'static [u8]), QuantizerError> {
    check_width("apot", bits, 3..=5, "3 to 5")?;
    Ok(match bits.get() {
        3 => (&[0, 32, 16, 8], &[0]),
        4 => (&[0, 32, 16, 4], &[0, 8]),
        _ => (&[0, 32, 8, 2], &[0, 16, 4, 1]),
    })
}

impl Grid for Apot {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        let (first, second) = terms(bits)?;
        let sums = first.iter().flat_map(|a| second.iter().map(move |b| i16::from(a + b)));
        let mut sums: Vec<i16> = sums.flat_map(|it| [it, -it]).collect();
        sums.sort_unstable();
        sums.dedup(); // zero and minus zero
        let largest = f32::from(sums[sums.len() - 1]);
        let levels = sums.into_iter().map(|it| f32::from(it) / largest).collect();
        Ok(Codes::new(Levels::Table(levels), Mask::Between(-1.0, 1.0)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        terms(bits)?;
        Ok(Params::scale(scale_of(extent.magnitude(), 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_one_term_from_each_set() {
        let codes = |bits| Apot {}.codes(BitWidth::new(bits).unwrap()).unwrap();
        // 1/2 + 1/8 = 10/16 is the largest; in sixteenths 1, 2, 1 + 2, 4, 4 + 2, 8, 8 + 2.
        let magnitudes = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0].map(|it| it / 10.0);
        let Levels::Table(levels) = codes(4).levels else { unreachable!() };
        assert_eq!(levels[8..], magnitudes);
        assert_eq!(levels[7], 0.0);
        assert_eq!([3, 4, 5].map(|bits| codes(bits).count()), [7, 15, 31]);
    }
}
