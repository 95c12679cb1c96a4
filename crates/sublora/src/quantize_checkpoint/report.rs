//! What quantisation did to a checkpoint.

use quantizers::{Distortion, Operand};
use serde::{Deserialize, Serialize};
use weight_files::TensorInfo;

use super::Reason;

/// A matrix that was quantised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedTensor {
    /// In the checkpoint.
    pub name: String,
    /// Element type, by its name in safetensors.
    pub dtype: String,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// Which way round it was taken to lie.
    pub operand: Operand,
    /// Levels, clipping and bits are those of the codes; the errors and the zeros are those of the
    /// values in the file, rounded to its element type.
    pub distortion: Distortion,
}

/// A tensor that was copied as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UntouchedTensor {
    /// In the checkpoint.
    pub name: String,
    /// Element type, by its name in safetensors.
    pub dtype: String,
    /// As in the file.
    pub shape: Vec<usize>,
    /// Why.
    pub reason: Reason,
}

/// What quantisation did to a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedCheckpoint {
    /// The matrices that were quantised, in the order of the files.
    pub quantized: Vec<QuantizedTensor>,
    /// All of them as one: the most levels, errors of the sums, means over values. Nothing if there
    /// are none.
    pub total: Option<Distortion>,
    /// The tensors that were copied as they were.
    pub untouched: Vec<UntouchedTensor>,
    /// Bits of the whole checkpoint over its values, the untouched tensors in their own types.
    pub bits_per_value: f64,
    /// Files and folders beside the weights that were not copied: weights in other formats, which are
    /// not quantised, and what lies deeper.
    pub files_left_out: Vec<String>,
}

/// Sums over values and what stands for them in a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Errors {
    len: usize,
    signal: f64,
    noise: f64,
    zeros: usize,
}

impl Errors {
    pub(super) fn between(values: &[f32], written: &[f32]) -> Self {
        let mut errors = Self { len: values.len(), ..Self::default() };
        for (&x, &y) in values.iter().zip(written) {
            errors.signal += f64::from(x).powi(2);
            errors.noise += (f64::from(x) - f64::from(y)).powi(2);
            errors.zeros += usize::from(y == 0.0);
        }
        errors
    }

    /// These errors and zeros, with what is said of the codes.
    pub(super) fn distortion(
        &self,
        levels: usize,
        clipped: f64,
        bits_per_value: f64,
    ) -> Distortion {
        let (sqnr_db, relative_error) = Distortion::sqnr_and_error(self.signal, self.noise);
        let zeros = self.zeros as f64 / self.len.max(1) as f64;
        Distortion { levels, sqnr_db, relative_error, zeros, clipped, bits_per_value }
    }

    fn add(&mut self, other: Self) {
        self.len += other.len;
        self.signal += other.signal;
        self.noise += other.noise;
        self.zeros += other.zeros;
    }
}

/// A report that is being made.
#[derive(Debug, Default)]
pub(super) struct Tally {
    quantized: Vec<QuantizedTensor>,
    untouched: Vec<UntouchedTensor>,
    errors: Errors,
    /// Sums over the values of the quantised tensors.
    clipped: f64,
    bits: f64,
    /// Of the untouched tensors.
    untouched_values: usize,
    untouched_bits: f64,
}

impl Tally {
    /// Tensors so far.
    pub(super) fn len(&self) -> u64 {
        (self.quantized.len() + self.untouched.len()) as u64
    }

    pub(super) fn quantize(&mut self, (tensor, errors): (QuantizedTensor, Errors)) {
        let len = errors.len as f64;
        self.clipped += tensor.distortion.clipped * len;
        self.bits += tensor.distortion.bits_per_value * len;
        self.errors.add(errors);
        self.quantized.push(tensor);
    }

    /// A tensor of so many bytes.
    pub(super) fn leave(&mut self, tensor: &TensorInfo, bytes: usize, reason: Reason) {
        let (name, dtype) = (tensor.name.clone(), tensor.dtype.to_string());
        self.untouched_values += tensor.elements();
        self.untouched_bits += 8.0 * bytes as f64;
        self.untouched.push(UntouchedTensor { name, dtype, shape: tensor.shape.clone(), reason });
    }

    pub(super) fn finish(self, files_left_out: Vec<String>) -> QuantizedCheckpoint {
        let len = self.errors.len as f64;
        let levels = self.quantized.iter().map(|it| it.distortion.levels).max();
        let total = levels
            .map(|levels| self.errors.distortion(levels, self.clipped / len, self.bits / len));
        let values = (self.errors.len + self.untouched_values).max(1) as f64;
        QuantizedCheckpoint {
            quantized: self.quantized,
            total,
            untouched: self.untouched,
            bits_per_value: (self.bits + self.untouched_bits) / values,
            files_left_out,
        }
    }
}
