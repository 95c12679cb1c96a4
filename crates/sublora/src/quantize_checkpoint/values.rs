//! Values as elements of a tensor.

use half::{bf16, f16};
use weight_files::Dtype;

/// An element type that is quantised; little-endian in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    pub(super) fn of(dtype: &Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::Bf16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// The nearest elements, ties to even; never an infinity for a finite value. `values` become what they
    /// stand for.
    pub(super) fn encode(self, values: &mut [f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
            Self::F16 => encode(values, f16::MAX.to_f32(), |x| {
                let element = f16::from_f32(x);
                (element.to_le_bytes(), element.to_f32())
            }),
            Self::Bf16 => encode(values, bf16::MAX.to_f32(), |x| {
                let element = bf16::from_f32(x);
                (element.to_le_bytes(), element.to_f32())
            }),
        }
    }
}

fn encode(values: &mut [f32], max: f32, element: impl Fn(f32) -> ([u8; 2], f32)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let (element, rounded) = element(value.clamp(-max, max));
        bytes.extend(element);
        *value = rounded;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_holds_comes_back_and_the_rest_is_rounded_to_its_end() {
        let back = |float: FloatType, x: f32| {
            let mut values = [x];
            let bytes = float.encode(&mut values);
            let high = match (float, bytes[..].try_into()) {
                (FloatType::F32, _) => f32::from_le_bytes(bytes[..].try_into().unwrap()),
                (FloatType::F16, Ok(bytes)) => f16::from_le_bytes(bytes).to_f32(),
                (FloatType::Bf16, Ok(bytes)) => bf16::from_le_bytes(bytes).to_f32(),
                _ => panic!("{} bytes", bytes.len()),
            };
            assert_eq!(values[0].to_bits(), high.to_bits());
            values[0]
        };
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
