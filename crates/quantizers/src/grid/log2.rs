//! Powers of one ratio, with an honest budget of codes.
//!
//! # Definition
//! $K = 2^{b-1} - 1$ magnitudes $m_k = T \rho^{-k}$ for $k = 0, \dots, K - 1$, both signs, and zero:
//! $2K + 1 = 2^b - 1$ codes. The scale is $T$, the largest magnitude. The **nearest** level is taken:
//! borders are midpoints, and what lies below $m_{K-1} / 2$ is zero. With $\rho = 2$ a product is a
//! shift.
//!
//! Rounded in the **logarithm**, as in the paper, borders are geometric means, zero alone is zero, and the
//! scale is a power of the ratio too:
//! $$ \hat x = \operatorname{sign}(x)\,\rho^{\,\operatorname{clip}(\operatorname{round}(\log_\rho |x|),
//!    F - K + 1, F)}, \qquad F = \operatorname{round}(\log_\rho T): $$
//! as many codes, cheaper where logarithms are to be had, and of slightly more error. The gradient then
//! passes where the rounded exponent is at most $F$: up to $\sqrt\rho$ times the scale.
//!
//! Past 3 bits $\rho = 2$ buys next to nothing on bell-shaped values, for it only adds levels near
//! zero (at most 14.23 dB on a Gaussian); $2^{1/2}$ at 4 and $2^{1/4}$ at 5 bits suit those.
//!
//! # Reference
//! D. Miyashita, E. H. Lee and B. Murmann, *Convolutional Neural Networks using Logarithmic Data
//! Representation*, 2016, arXiv:1603.01025.
//!
//! # Notes on reference implementations
//! Laurence-Wu/LLM-QAT-on-gpt2 rounds the logarithm to $2^b$ steps and adds sign and zero, up to
//! $2^{b+1} - 1$ codes, and compares them with the $2^b$ of a uniform grid.

use serde::{Deserialize, Serialize};

use super::{Codes, Extent, Grid, Levels, Mask, Params, check_width, scale_of};
use crate::{BitWidth, QuantizerError};

/// Zero and $\pm T \rho^{-k}$, at 2 to 8 bits.
///
/// ```toml
/// [grid]
/// kind = "log2"
/// ratio = 2.0
/// rounding = "nearest"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log2 {
    /// $\rho > 1$, the quotient of neighbouring magnitudes. The smallest, $\rho^{1-K}$, must be at
    /// least $2^{-126}$, the smallest normal number: with the default it is, up to 8 bits.
    pub ratio: f32,
    /// Where one level ends and the next begins.
    pub rounding: LogRounding,
}

/// What is rounded to a power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogRounding {
    /// The value.
    #[default]
    Nearest,
    /// Its logarithm.
    Logarithm,
}

impl Default for Log2 {
    fn default() -> Self {
        Self { ratio: 2.0, rounding: LogRounding::Nearest }
    }
}

impl Log2 {
    /// $\rho^F$ for a largest magnitude, which a power above the largest `f32` is brought below.
    fn power(&self, magnitude: f32) -> f32 {
        let ratio = f64::from(self.ratio);
        let exponent = (f64::from(magnitude).ln() / ratio.ln()).round_ties_even() as i32;
        let power = ratio.powi(exponent) as f32;
        if power.is_finite() { power } else { ratio.powi(exponent - 1) as f32 }
    }
}

impl Grid for Log2 {
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError> {
        check_width("log2", bits, 2..=8, "2 to 8")?;
        let magnitudes = (1 << (bits.get() - 1)) - 1;
        let ratio = f64::from(self.ratio);
        let magnitude = |k: i32| ratio.powi(-k) as f32;
        if !(self.ratio > 1.0 && magnitude(magnitudes - 1) >= f32::MIN_POSITIVE) {
            let expected = "a ratio above 1 whose magnitudes stay above 2^-126";
            return Err(QuantizerError::Setting { name: "ratio", value: ratio, expected });
        }
        let negative = (0..magnitudes).map(|k| -magnitude(k));
        let positive = (0..magnitudes).rev().map(magnitude);
        let levels = negative.chain([0.0]).chain(positive).collect();
        Ok(match self.rounding {
            LogRounding::Nearest => Codes::new(Levels::Table(levels), Mask::Between(-1.0, 1.0)),
            LogRounding::Logarithm => {
                let end = ratio.sqrt() as f32;
                Codes::new(Levels::Logarithms(levels), Mask::Between(-end, end))
            }
        })
    }

    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError> {
        check_width("log2", bits, 2..=8, "2 to 8")?;
        let scale = scale_of(extent.magnitude(), 1.0);
        Ok(Params::scale(match self.rounding {
            LogRounding::Nearest => scale,
            LogRounding::Logarithm => self.power(scale),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(bits: u8) -> Codes {
        Log2::default().codes(BitWidth::new(bits).unwrap()).unwrap()
    }

    #[test]
    fn three_bits_are_seven_levels() {
        let levels = vec![-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0];
        assert_eq!(codes(3).levels, Levels::Table(levels));
        for bits in 2..=8 {
            assert_eq!(codes(bits).count(), (1 << bits) - 1);
        }
    }

    #[test]
    fn the_nearest_level_not_that_of_the_rounded_logarithm() {
        let (codes, params) = (codes(3), Params::scale(8.0)); // levels 0, 2, 4, 8
        // Borders at 1, 3, 6; by the logarithm they were at 2.83 and 5.66.
        let x = [0.0, 0.99, 1.01, 2.9, 3.1, 5.9, 6.1, 100.0, -5.9, -6.1];
        let quantized = [0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0, -4.0, -8.0];
        assert_eq!(x.map(|x| codes.quantize(x, &params)), quantized);
    }

    #[test]
    fn the_gradient_passes_up_to_the_largest_level() {
        let (codes, params) = (codes(3), Params::scale(8.0));
        let x = [0.0, 8.0, -8.0, 8.001, -8.001];
        assert_eq!(x.map(|x| codes.passes(x, &params)), [true, true, true, false, false]);
    }

    #[test]
    fn a_ratio_whose_magnitudes_vanish_is_refused() {
        for (ratio, bits) in [(1.0, 3), (0.5, 3), (f32::NAN, 3), (f32::INFINITY, 3), (2.1, 8)] {
            let error =
                Log2 { ratio, ..Log2::default() }.codes(BitWidth::new(bits).unwrap()).unwrap_err();
            assert!(matches!(error, QuantizerError::Setting { name: "ratio", .. }), "{error}");
        }
        let grid = Log2 { ratio: 4.0, ..Log2::default() };
        assert!(grid.codes(BitWidth::new(7).unwrap()).is_ok()); // 4^-62
    }

    fn logarithm() -> Log2 {
        Log2 { rounding: LogRounding::Logarithm, ..Log2::default() }
    }

    #[test]
    fn the_scale_of_the_logarithm_is_a_power_of_two() {
        // 2^(1/2) = 1.4142
        for (magnitude, scale) in [
            (1.0, 1.0),
            (1.41, 1.0),
            (1.42, 2.0),
            (5.6, 4.0),
            (5.7, 8.0),
            (0.35, 0.25),
            (0.36, 0.5),
            (0.0, 2.0_f32.powi(-23)),
            (f32::MAX, 2.0_f32.powi(127)),
        ] {
            for bits in [2, 4, 8] {
                let extent = Extent { low: -magnitude, high: 0.0 };
                let params = logarithm().params(extent, BitWidth::new(bits).unwrap()).unwrap();
                assert_eq!(params, Params::scale(scale), "{magnitude}");
            }
        }
    }

    #[test]
    fn the_level_of_the_rounded_logarithm() {
        let codes = logarithm().codes(BitWidth::new(3).unwrap()).unwrap();
        assert_eq!(codes.count(), 7);
        let params = Params::scale(8.0); // F = 3: exponents 1, 2, 3
        // Borders at 2^1.5 = 2.828 and 2^2.5 = 5.657; nothing but zero is below 2.
        let x = [0.0, -0.0, 1e-44, 0.5, 2.82, 2.83, 5.65, 5.66, 11.0, 100.0, -1e-44, -2.83, -5.65];
        let quantized = [0.0, 0.0, 2.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0, 8.0, -2.0, -4.0, -4.0];
        assert_eq!(x.map(|x| codes.quantize(x, &params)), quantized);
        let formula = |x: f32| x.signum() * x.abs().log2().round_ties_even().clamp(1.0, 3.0).exp2();
        for k in 1..4_000 {
            let x = k as f32 * 0.003 - 6.001;
            assert_eq!(codes.quantize(x, &params), formula(x), "{x}");
        }
        let passes = [0.0, 11.31, -11.31, 11.32, -11.32].map(|x| codes.passes(x, &params));
        assert_eq!(passes, [true, true, true, false, false]); // 8 sqrt 2 = 11.314
    }
}
