//! Elements of a tensor as `f32`, and back.

use half::{bf16, f16};
use safetensors::Dtype;

/// An element type that is quantised; little-endian in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|&it| f32::from_le_bytes(it)).collect(),
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|&it| f16::from_le_bytes(it).to_f32()).collect()
            }
            Self::Bf16 => {
                bytes.as_chunks().0.iter().map(|&it| bf16::from_le_bytes(it).to_f32()).collect()
            }
        }
    }

    /// The nearest elements, ties to even; never an infinity for a finite value.
    pub(super) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
            Self::F16 => {
                let max = f16::MAX.to_f32();
                let cast = |it: &f32| f16::from_f32(it.clamp(-max, max)).to_le_bytes();
                values.iter().flat_map(cast).collect()
            }
            Self::Bf16 => {
                let max = bf16::MAX.to_f32();
                let cast = |it: &f32| bf16::from_f32(it.clamp(-max, max)).to_le_bytes();
                values.iter().flat_map(cast).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_holds_comes_back_and_the_rest_is_rounded_to_its_end() {
        let back = |float: FloatType, x: f32| float.decode(&float.encode(&[x]))[0];
        for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            for x in [0.0, -0.0, 1.0, -0.375, 448.0] {
                assert_eq!(back(float, x).to_bits(), x.to_bits());
            }
        }
        let cases = [
            (FloatType::F32, 0.1, 0.1),
            (FloatType::F16, 0.1, 0.099_975_586),  // 1638 / 2^14
            (FloatType::Bf16, 0.1, 0.100_097_656), // 205 / 2^11
            (FloatType::F16, 1.0 + 0.5 / 1024.0, 1.0), // a tie, to even
            (FloatType::F16, -70_000.0, -65_504.0),
            (FloatType::Bf16, f32::MAX, 3.389_531_4e38),
        ];
        for (float, x, expected) in cases {
            assert_eq!(back(float, x).to_bits(), f32::to_bits(expected), "{float:?} {x}");
        }
    }
}
