//! `NormalFloat` of 4 bits.
//!
//! # Definition
//! Quantiles of a standard normal, scaled to reach from -1 to 1. With
//! $o = 1 - \tfrac12 (\tfrac1{30} + \tfrac1{32})$, the positive levels are $\Phi^{-1}$ of 9 equally
//! spaced points from $o$ to $\tfrac12$, the last dropped; the negative ones minus $\Phi^{-1}$ of 8
//! such points, the last dropped; and zero; all divided by the largest. The scale is the largest
//! magnitude, of 64 values in the paper.
//!
//! # Reference
//! T. Dettmers et al., *QLoRA: Efficient Finetuning of Quantized LLMs*, NeurIPS 2023,
//! arXiv:2305.14314, appendix E.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// 16 levels for normally distributed values, at 4 bits only.
///
/// ```toml
/// [grid]
/// kind = "nf4"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nf4 {}

/// As published, to 7 digits.
const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_1,
    -0.394_917_5,
    -0.284_441_4,
    -0.184_773_4,
    -0.091_05,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_2,
    0.440_709_8,
    0.562_617,
    0.722_956_8,
    1.0,
];

impl Grid for Nf4 {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("nf4", bits, 4..=4, "4")?;
        Ok(Codes::new(Levels::Table(LEVELS.to_vec()), Mask::Between(-1.0, 1.0)))
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("nf4", bits, 4..=4, "4")?;
        Ok(Params::scale(scale_of(extent.magnitude(), 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    #[test]
    fn the_levels_are_those_of_the_construction() {
        let normal = Normal::standard();
        let end = 1.0 - 0.5 * (1.0 / 30.0 + 1.0 / 32.0);
        let quantiles = |steps: u8| {
            let point = move |k: u8| end + (0.5 - end) * f64::from(k) / f64::from(steps);
            (0..steps).map(move |k| normal.inverse_cdf(point(k)))
        };
        let largest = normal.inverse_cdf(end);
        let negative = quantiles(7).map(|it| -it);
        let positive = quantiles(8).collect::<Vec<_>>().into_iter().rev();
        let derived: Vec<f64> =
            negative.chain([0.0]).chain(positive).map(|it| it / largest).collect();
        assert_eq!(derived.len(), LEVELS.len());
        // The published ones come from points in single precision.
        for (derived, published) in derived.iter().zip(LEVELS) {
            assert!((derived - f64::from(published)).abs() < 2e-7, "{derived}, {published}");
        }
    }

    #[test]
    fn the_nearest_of_the_levels() {
        let bits = BitWidth::new(4).unwrap();
        let codes = Nf4 {}.codes(bits).unwrap();
        let params = Nf4 {}.params(Extent { low: -2.0, high: 0.5 }, bits).unwrap();
        // In units of 2: -1, -.85, -.84, 0, .039, .04, .86, .87; borders at -.8481, .0398, .8615.
        let x = [-2.0, -1.7, -1.68, 0.0, 0.078, 0.08, 1.72, 1.74];
        assert_eq!(x.map(|x| codes.code(x, &params)), [0, 0, 1, 7, 7, 8, 14, 15]);
    }
}
