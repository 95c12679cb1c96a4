//! Element types, and their values as `f32`.
//!
//! # Definition
//! The 8-bit floats have a sign, an exponent $e$ and a fraction $m$ of $M$ bits; with a bias $b$ their
//! value is $\pm(1 + m / 2^M) 2^{e - b}$, and $\pm m\,2^{1 - b - M}$ for $e = 0$.
//!
//! | type | $M$ | $b$ | infinities | not a number |
//! |---|---|---|---|---|
//! | `F8_E4M3` | 3 | 7 | none | `0x7f`, `0xff` |
//! | `F8_E5M2` | 2 | 15 | `0x7c`, `0xfc` | above them |
//! | `F8_E4M3FNUZ` | 3 | 8 | none | `0x80` |
//! | `F8_E5M2FNUZ` | 2 | 16 | none | `0x80` |
//!
//! # Reference
//! P. Micikevicius et al., *FP8 Formats for Deep Learning*, 2022, arXiv:2209.05433; B. Noune et al.,
//! *8-bit Numerical Formats for Deep Neural Networks*, 2022, arXiv:2206.02915 (FNUZ).

use std::fmt;

use half::{bf16, f16};

/// Type of the elements of a tensor, spelled as in safetensors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 double precision; read rounded to single precision.
    F64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// 8 bits with a fraction of 3 and no infinities.
    F8E4M3,
    /// 8 bits with a fraction of 2.
    F8E5M2,
    /// 8 bits with a fraction of 3, no infinities and no negative zero.
    F8E4M3Fnuz,
    /// 8 bits with a fraction of 2, no infinities and no negative zero.
    F8E5M2Fnuz,
    /// Any other, which is listed but not read.
    Other(String),
}

impl Dtype {
    pub(crate) fn other(name: &str) -> Self {
        Self::Other(name.to_owned())
    }

    /// Bytes of an element, of a type that is read.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::F64 => Some(8),
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::F8E4M3 | Self::F8E5M2 | Self::F8E4M3Fnuz | Self::F8E5M2Fnuz => Some(1),
            Self::Other(_) => None,
        }
    }

    /// Why elements of this type are not read; `None` if they are.
    pub fn why_not_read(&self) -> Option<&'static str> {
        let Self::Other(name) = self else { return None };
        Some(match name.as_str() {
            "BOOL" => "truth values are no weights",
            "F4" | "F6_E2M3" | "F6_E3M2" | "F8_E8M0" => "their scales are in another tensor",
            "SPARSE" => "the tensor is stored sparsely",
            "QUANTIZED" => "codes are no weights without their scales",
            _ if name.starts_with(['I', 'U']) => "integers are no weights, or lack their scale",
            _ if name.starts_with('C') => "complex numbers are not supported",
            _ => "the type is not supported",
        })
    }

    /// Appends the values of little-endian elements, of a type that is read.
    pub(crate) fn decode(&self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Self::F64 => extend(bytes, values, rounded),
            Self::F32 => extend(bytes, values, f32::from_le_bytes),
            Self::F16 => extend(bytes, values, |it| f16::from_le_bytes(it).to_f32()),
            Self::Bf16 => extend(bytes, values, |it| bf16::from_le_bytes(it).to_f32()),
            Self::F8E4M3 => look_up(bytes, values, |it| match it & 0x7f {
                0x7f => f32::NAN,
                _ => eight_bits(it, 3, 7),
            }),
            Self::F8E5M2 => {
                look_up(bytes, values, |it| f16::from_bits(u16::from(it) << 8).to_f32());
            }
            Self::F8E4M3Fnuz => look_up(bytes, values, |it| without_zero(it, 3, 8)),
            Self::F8E5M2Fnuz => look_up(bytes, values, |it| without_zero(it, 2, 16)),
            Self::Other(_) => {}
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E4M3Fnuz => "F8_E4M3FNUZ",
            Self::F8E5M2Fnuz => "F8_E5M2FNUZ",
            Self::Other(name) => name,
        })
    }
}

fn extend<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
    values.extend(bytes.as_chunks().0.iter().map(|&it| value(it)));
}

#[expect(clippy::cast_possible_truncation, reason = "to the nearest, or to an infinity")]
fn rounded(element: [u8; 8]) -> f32 {
    f64::from_le_bytes(element) as f32
}

fn look_up(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn(u8) -> f32) {
    let table: Vec<f32> = (0..=u8::MAX).map(value).collect();
    values.extend(bytes.iter().map(|&it| table[usize::from(it)]));
}

fn without_zero(code: u8, fraction_bits: i32, bias: i32) -> f32 {
    if code == 0x80 { f32::NAN } else { eight_bits(code, fraction_bits, bias) }
}

fn eight_bits(code: u8, fraction_bits: i32, bias: i32) -> f32 {
    let magnitude = i32::from(code & 0x7f);
    let (exponent, one) = (magnitude >> fraction_bits, 1 << fraction_bits);
    let fraction = magnitude & (one - 1);
    let (significand, exponent) =
        if exponent == 0 { (fraction, 1) } else { (fraction + one, exponent) };
    let value = significand as f32 * 2_f32.powi(exponent - bias - fraction_bits);
    if code & 0x80 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(dtype: &Dtype, bytes: &[u8]) -> Vec<f32> {
        let mut values = Vec::new();
        dtype.decode(bytes, &mut values);
        values
    }

    #[test]
    fn single_elements() {
        let cases: [(Dtype, &[u8], f32); 13] = [
            (Dtype::F64, &0.1_f64.to_le_bytes(), 0.1),
            (Dtype::F64, &1e300_f64.to_le_bytes(), f32::INFINITY), // rounded
            (Dtype::F32, &(-0.0_f32).to_le_bytes(), -0.0),
            (Dtype::F16, &[0x00, 0x3e], 1.5),
            (Dtype::Bf16, &[0xc0, 0xbf], -1.5),
            (Dtype::F8E4M3, &[0x7e], 448.0), // (1 + 6/8) 2^(15-7)
            (Dtype::F8E4M3, &[0x81], -1.0 / 512.0), // 1/8 2^(1-7)
            (Dtype::F8E5M2, &[0x7b], 57_344.0), // (1 + 3/4) 2^(30-15)
            (Dtype::F8E5M2, &[0xfc], f32::NEG_INFINITY),
            (Dtype::F8E4M3Fnuz, &[0x7f], 240.0), // (1 + 7/8) 2^(15-8)
            (Dtype::F8E4M3Fnuz, &[0x01], 1.0 / 1024.0), // 1/8 2^(1-8)
            (Dtype::F8E5M2Fnuz, &[0xff], -57_344.0), // -(1 + 3/4) 2^(31-16)
            (Dtype::F8E5M2Fnuz, &[0x05], 5.0 / 131_072.0), // (1 + 1/4) 2^(1-16)
        ];
        for (dtype, bytes, expected) in cases {
            let bits: Vec<u32> = decoded(&dtype, bytes).iter().map(|it| it.to_bits()).collect();
            assert_eq!(bits, [expected.to_bits()], "{dtype} {bytes:?}");
        }
        for (dtype, code) in [
            (Dtype::F8E4M3, 0xff),
            (Dtype::F8E5M2, 0x7d),
            (Dtype::F8E4M3Fnuz, 0x80),
            (Dtype::F8E5M2Fnuz, 0x80),
        ] {
            assert!(decoded(&dtype, &[code])[0].is_nan(), "{dtype}");
        }
    }

    #[test]
    fn what_is_not_read_says_why() {
        for (name, word) in
            [("I64", "integers"), ("BOOL", "truth"), ("F4", "scales"), ("X", "type")]
        {
            assert!(Dtype::other(name).why_not_read().is_some_and(|it| it.contains(word)));
        }
        assert_eq!(Dtype::Bf16.why_not_read(), None);
    }
}
