//! What a base kind answers with.

use half::f16;
use quantizers::{
    Affine, AnyGrid, AnyRange, BitWidth, Codes, Grid, Half, MinMax, Mse, Params, Quantizer,
    Symmetric,
};
use serde::{Deserialize, Serialize};

use crate::matrix::{check_shape, transposed};
use crate::{Mask, Matrix, OrthoError, Reference};

/// How the weights of an output channel are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    /// Codes of 4 bits and a scale.
    Int4,
    /// Codes of 8 bits and a scale.
    Int8,
    /// A number of half precision a weight.
    Fp16,
    /// As the stored matrix.
    Stored,
}

/// An output channel of a base.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelCoding {
    /// How it is stored.
    pub coding: Coding,
    /// The least value of a code: weights below are clipped.
    pub low: f32,
    /// The greatest value of a code.
    pub high: f32,
    /// Scale and zero point of its codes, if it has codes.
    pub params: Option<Params>,
}

impl ChannelCoding {
    /// One that clips nothing.
    pub(crate) fn unclipped(coding: Coding) -> Self {
        Self { coding, low: f32::NEG_INFINITY, high: f32::INFINITY, params: None }
    }

    /// One of codes.
    pub(crate) fn coded(width: CodeWidth, codes: &Codes, params: Params) -> Self {
        let (first, last) = codes.ends();
        let [low, high] = [first, last].map(|it| codes.value(it, &params));
        Self { coding: width.coding(), low, high, params: Some(params) }
    }
}

/// What is stored of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Layout {
    /// Numbers of the type of the stored matrix.
    Stored,
    /// Numbers of half precision.
    Fp16,
    /// Codes of one width, with a scale for each output channel.
    Codes {
        bits: CodeWidth,
        /// Whether each channel has a zero point, too.
        zero_points: bool,
    },
    /// Codes or fp16, by output channel.
    Mixed,
}

/// The dense stream of a split: the value of every weight, and what it takes to store it.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// What is computed with, `[d_in, d_out]`.
    pub(crate) values: Vec<f32>,
    pub(crate) shape: [usize; 2],
    pub(crate) channels: Vec<ChannelCoding>,
    pub(crate) layout: Layout,
    pub(crate) bytes: usize,
    /// What the kind says should go to the outlier stream.
    pub(crate) outside: Option<Mask>,
}

impl Base {
    /// The stored matrix itself.
    pub(crate) fn stored(reference: &Reference) -> Self {
        let weights = reference.matrix();
        Self {
            values: weights.values().to_vec(),
            shape: weights.shape(),
            channels: vec![ChannelCoding::unclipped(Coding::Stored); weights.shape()[1]],
            layout: Layout::Stored,
            bytes: reference.storage().bytes() * weights.values().len(),
            outside: None,
        }
    }

    /// The value of every weight, `[d_in, d_out]`.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::trusted(&self.values, self.shape)
    }

    /// How each output channel is stored, `[d_out]`.
    pub fn channels(&self) -> &[ChannelCoding] {
        &self.channels
    }

    /// Bytes of codes, scales and zero points.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many weights are another number of steps from zero than in `other`, whatever the steps of both are;
    /// where a channel has no codes, how many are another number.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`].
    pub fn moved(&self, other: &Self) -> Result<usize, OrthoError> {
        check_shape("the other base", other.shape, self.shape)?;
        let d_out = self.channels.len();
        let steps = |base: &Self, place: usize| {
            let value = base.values[place];
            let steps = |it: Params| (value / it.scale).round() + 0.0; // -0 is 0
            base.channels[place % d_out].params.map_or(value, steps)
        };
        let is_moved = |&place: &usize| steps(self, place).total_cmp(&steps(other, place)).is_ne();
        Ok((0..self.values.len()).filter(is_moved).count())
    }

    /// The weights that this kind means for the outlier stream, if it does.
    pub fn outside(&self) -> Option<&Mask> {
        self.outside.as_ref()
    }
}

/// Bits of a code of an integer base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum CodeWidth {
    /// 4 bits.
    Four,
    /// 8 bits.
    Eight,
}

impl CodeWidth {
    pub(crate) fn coding(self) -> Coding {
        match self {
            Self::Four => Coding::Int4,
            Self::Eight => Coding::Int8,
        }
    }

    /// Bytes of the codes of a channel.
    pub(crate) fn bytes(self, d_in: usize) -> usize {
        match self {
            Self::Four => d_in.div_ceil(2),
            Self::Eight => d_in,
        }
    }
}

impl From<CodeWidth> for u8 {
    fn from(width: CodeWidth) -> Self {
        match width {
            CodeWidth::Four => 4,
            CodeWidth::Eight => 8,
        }
    }
}

impl TryFrom<u8> for CodeWidth {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        match bits {
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            _ => Err(format!("a code has {bits} bits, expected 4 or 8")),
        }
    }
}

/// The one rule by which the scale of an output channel is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeRule {
    /// The greatest code is the largest magnitude: nothing is clipped by more than half a step.
    #[default]
    Absmax,
    /// The clip of the least squared error, by search.
    Mse,
}

/// Bytes of a scale, stored as fp16.
pub(crate) const SCALE_BYTES: usize = 2;

/// The codes of a base: from -7 or -127, or with a zero point from 0.
pub(crate) fn codes(width: CodeWidth, has_zero_point: bool) -> Result<Codes, OrthoError> {
    let bits = BitWidth::new(width.into())?;
    Ok(if has_zero_point { Affine::default().codes(bits) } else { Symmetric {}.codes(bits) }?)
}

/// A quantiser with a scale for each output channel.
fn quantizer(width: CodeWidth, grid: AnyGrid, range: AnyRange) -> Result<Quantizer, OrthoError> {
    Ok(Quantizer { bits: BitWidth::new(width.into())?, grid, range, ..Quantizer::default() })
}

/// Symmetric codes, the scale of each output channel by one rule.
pub(crate) fn symmetric(
    reference: &Reference,
    width: CodeWidth,
    rule: RangeRule,
) -> Result<Base, OrthoError> {
    let range = match rule {
        RangeRule::Absmax => MinMax {}.into(),
        RangeRule::Mse => Mse::default().into(),
    };
    let quantizer = quantizer(width, Symmetric {}.into(), range)?;
    let weights = reference.matrix();
    let params = quantizer.fit(weights.values(), weights.shape())?;
    encode(reference, width, &quantizer, params, false)
}

/// Symmetric codes of which the greatest stands for the threshold of each output channel.
pub(crate) fn clipped(
    reference: &Reference,
    width: CodeWidth,
    thresholds: &[f32],
) -> Result<Base, OrthoError> {
    let quantizer = quantizer(width, Symmetric {}.into(), MinMax {}.into())?;
    let params = |&high: &f32| quantizer.fit(&[high], [1, 1]);
    let params: Vec<Vec<Params>> = thresholds.iter().map(params).collect::<Result<_, _>>()?;
    encode(reference, width, &quantizer, params.concat(), false)
}

/// Codes with a zero point for the values from `low` to `high` of each output channel.
pub(crate) fn affine(
    reference: &Reference,
    width: CodeWidth,
    extents: &[[f32; 2]],
) -> Result<Base, OrthoError> {
    let quantizer = quantizer(width, Affine::default().into(), MinMax {}.into())?;
    let params = |extent: &[f32; 2]| quantizer.fit(extent, [2, 1]);
    let params: Vec<Vec<Params>> = extents.iter().map(params).collect::<Result<_, _>>()?;
    encode(reference, width, &quantizer, params.concat(), true)
}

/// `params` in half precision, with a scale that is the nearest, unless the ends of the codes move inwards by more
/// than half a step: where the type is coarse, that would clip. Then it is the next.
fn in_half(params: Params, codes: &Codes) -> Params {
    let half = Half::F16.params(params);
    let (first, last) = codes.ends();
    let steps = (first - params.zero_point).abs().max((last - params.zero_point).abs()) as f32;
    if params.scale * steps <= half.scale * (steps + 0.5) {
        return half;
    }
    let next = f16::from_bits(f16::from_f32(half.scale).to_bits() + 1);
    Params { scale: next.to_f32(), ..half }
}

/// The values of codes under scales that are stored in half precision.
fn encode(
    reference: &Reference,
    width: CodeWidth,
    quantizer: &Quantizer,
    params: Vec<Params>,
    zero_points: bool,
) -> Result<Base, OrthoError> {
    let weights = reference.matrix();
    let shape @ [d_in, d_out] = weights.shape();
    let codes = codes(width, zero_points)?;
    let params: Vec<Params> = params.into_iter().map(|it| in_half(it, &codes)).collect();
    let mut values = vec![0.0; weights.values().len()];
    quantizer.fake_quantize_into(weights.values(), shape, &params, &mut values)?;
    let channel = |params: &Params| ChannelCoding::coded(width, &codes, *params);
    // As many as the codes of a channel with an input for each output.
    let zero_point_bytes = if zero_points { width.bytes(d_out) } else { 0 };
    Ok(Base {
        values,
        shape,
        channels: params.iter().map(channel).collect(),
        layout: Layout::Codes { bits: width, zero_points },
        bytes: (width.bytes(d_in) + SCALE_BYTES) * d_out + zero_point_bytes,
        outside: None,
    })
}

/// $\sum (w - b)^2$ and $\sum w^2$ of each output channel.
pub(crate) fn channel_errors(reference: &Reference, values: &[f32]) -> Vec<[f64; 2]> {
    let weights = reference.matrix();
    let [d_in, _] = weights.shape();
    let (weights, values) = (weights.channels(), transposed(values, weights.shape()));
    let channels = weights.chunks_exact(d_in).zip(values.chunks_exact(d_in));
    let error = |(weights, values): (&[f32], &[f32])| {
        let pairs = weights.iter().zip(values);
        let error = pairs.map(|(&w, &b)| (f64::from(w) - f64::from(b)).powi(2)).sum();
        [error, crate::matrix::energy(weights.iter().copied())]
    };
    channels.map(error).collect()
}
