//! Imitation of a run in half precision.
//!
//! # Definition
//! With $h$ the rounding to the type, ties to even, scale and offset are $h(s)$ and $h(o)$, and the value of
//! a code is
//! $$ \hat x = h\bigl( (q - z)\,h(s) + h(o) \bigr), $$
//! the inside in `f32`. Codes and masks are those of `f32`. The straight-through estimator passes $h$ as
//! it passes every rounding.
//!
//! # Notes
//! A value must come back as itself, so levels must not be closer than the type can tell apart: for each
//! pair of neighbours, at least $2^{1-p}$ of the larger one, with $p$ = 11 bits of significand in f16 and 8
//! in bf16. In bf16 that is all symmetric codes of 8 bits and the affine ones of 7; in f16, all of 10.
//! What is too close, or beyond 65,504 in f16, is an error and not another grid.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::{Codes, Levels, Params};

/// A type of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// IEEE 754 `binary16`: 11 bits of significand, up to 65,504.
    F16,
    /// The upper half of an `f32`: 8 bits of significand.
    Bf16,
}

impl std::fmt::Display for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl Half {
    /// $h(x)$; zero is positive.
    #[inline]
    pub fn round(self, x: f32) -> f32 {
        let rounded = match self {
            Self::F16 => f16::from_f32(x).to_f32(),
            Self::Bf16 => bf16::from_f32(x).to_f32(),
        };
        rounded + 0.0
    }

    /// `params` as this type holds them. A scale that would become zero is the least above it.
    pub fn params(self, params: Params) -> Params {
        let least = match self {
            Self::F16 => f16::from_bits(1).to_f32(),
            Self::Bf16 => bf16::from_bits(1).to_f32(),
        };
        let scale = self.round(params.scale).max(least);
        Params { scale, offset: self.round(params.offset), ..params }
    }

    /// Whether the values of all codes are finite and come back as themselves.
    pub(crate) fn holds(self, codes: &Codes, params: &Params) -> bool {
        let step = match self {
            Self::F16 => f64::from(f16::EPSILON),
            Self::Bf16 => f64::from(bf16::EPSILON),
        };
        let value = |code: i32| f64::from(codes.value(code, params));
        let (first, last) = codes.ends();
        let are_apart = match &codes.levels {
            Levels::Integers { .. } => {
                f64::from(params.scale) >= step * value(first).abs().max(value(last).abs())
            }
            Levels::Table(_) | Levels::Logarithms(_) => (first..last).all(|code| {
                let (below, above) = (value(code), value(code + 1));
                above - below >= step * below.abs().max(above.abs())
            }),
        };
        let is_finite = |code| self.round(codes.value(code, params)).is_finite();
        are_apart && is_finite(first) && is_finite(last)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Affine, BitWidth, Granularity, Half, Lsq, Params, Quantizer, QuantizerError};

    fn quantizer(bits: u8, emulate: Half) -> Quantizer {
        Quantizer {
            bits: BitWidth::new(bits).unwrap(),
            granularity: Granularity::Tensor,
            emulate: Some(emulate),
            ..Quantizer::default()
        }
    }

    #[test]
    fn the_nearest_number_of_the_type() {
        // Significands of 11 and 8 bits: steps of 2^-10 and 2^-7 from 1 to 2.
        for (x, f16, bf16) in [
            (1.0 + 2.0_f32.powi(-11), 1.0, 1.0), // a tie, to even
            (1.0 + 3.0 * 2.0_f32.powi(-11), 1.0 + 2.0_f32.powi(-9), 1.0),
            (0.1, 1_638.0 / 16_384.0, 205.0 / 2_048.0), // 1638.4 and 204.8
            (65_520.0, f32::INFINITY, 65_536.0),
            (1e-9, 0.0, 1.070_312_5 * 2.0_f32.powi(-30)), // 1.0737
        ] {
            assert_eq!(Half::F16.round(x), f16);
            assert_eq!(Half::Bf16.round(x), bf16);
        }
        assert!(Half::F16.round(-1e-9).is_sign_positive());
        assert_eq!(Half::F16.params(Params::scale(1e-30)).scale, 2.0_f32.powi(-24));
    }

    #[test]
    fn scale_and_product_of_the_reference_example() {
        // w = .9 -.31 .05 -.004 .45 -.9 .13, 8 bits: s = .00708661 is 1.8142 2^-8, in f16
        // (1 + 834/1024) 2^-8 = .007087708, in bf16 (1 + 104/128) 2^-8 = .007080078.
        let w = [0.9, -0.31, 0.05, -0.004, 0.45, -0.9, 0.13];
        let codes = [127.0, -44.0, 7.0, -1.0, 63.0, -127.0, 18.0]; // .45/s = 63.49; in bf16 63.56
        for (half, scale) in [(Half::F16, 1_858.0), (Half::Bf16, 1_856.0)] {
            let scale = scale / 1_024.0 / 256.0;
            let quantizer = quantizer(8, half);
            let params = quantizer.fit(&w, [1, 7]).unwrap();
            assert_eq!(params, [Params::scale(scale)]);
            let mut out = [0.0; 7];
            quantizer.fake_quantize_into(&w, [1, 7], &params, &mut out).unwrap();
            let mut codes = codes;
            codes[4] = if half == Half::Bf16 { 64.0 } else { 63.0 };
            assert_eq!(out, codes.map(|q| half.round(q * scale)));
            // A scale of f32 is rounded on the way.
            let mut again = [0.0; 7];
            let params = [Params::scale(0.9 / 127.0)];
            quantizer.fake_quantize_into(&w, [1, 7], &params, &mut again).unwrap();
            assert_eq!(again, out);
        }
    }

    #[test]
    fn levels_that_the_type_cannot_tell_apart_are_refused() {
        let values = [-1.0, 0.3, 1.0];
        let is_held = |quantizer: &Quantizer, values: &[f32]| match quantizer.fit(values, [1, 3]) {
            Ok(_) => true,
            Err(QuantizerError::Half { group: 0, .. }) => false,
            Err(error) => panic!("{error}"),
        };
        for bits in 2..=16 {
            assert_eq!(is_held(&quantizer(bits, Half::Bf16), &values), bits <= 8);
            assert_eq!(is_held(&quantizer(bits, Half::F16), &values), bits <= 11);
            let grid = Affine::default().into();
            let affine = Quantizer { grid, ..quantizer(bits, Half::Bf16) };
            assert_eq!(is_held(&affine, &values.map(f32::abs)), bits <= 7, "{bits}");
        }
        assert!(!is_held(&quantizer(4, Half::F16), &[1e5, 0.0, 0.0]));
        assert!(is_held(&quantizer(4, Half::Bf16), &[1e30, 0.0, 0.0]));
        let lsq = Quantizer { grid: Lsq::default().into(), ..quantizer(8, Half::Bf16) };
        assert!(is_held(&lsq, &values)); // -128 of 128 steps
        let error = quantizer(16, Half::F16).fit(&values, [1, 3]).unwrap_err().to_string();
        assert!(error.ends_with("of group 0, expected levels that f16 holds apart"), "{error}");
    }
}
