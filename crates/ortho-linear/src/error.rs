//! What can be wrong with a matrix, a mask, a stream of outliers or a split.

use quantizers::QuantizerError;
use thiserror::Error;

use crate::Storage;

/// Why a matrix is not split, selected from, multiplied or diagnosed.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum OrthoError {
    /// Values that are not those of the shape.
    #[error("{what} has {len} values, expected {expected}")]
    Length {
        /// What was given.
        what: &'static str,
        /// How many values it has.
        len: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A matrix without values, or with more than an index of 32 bits reaches.
    #[error("the shape is {shape:?}, expected 1 to {} values", u32::MAX)]
    Shape {
        /// `[d_in, d_out]`.
        shape: [usize; 2],
    },
    /// Two matrices that should be of one shape.
    #[error("{what} is {found:?}, expected {expected:?}")]
    ShapeMismatch {
        /// Which of them is wrong.
        what: &'static str,
        /// Its shape.
        found: [usize; 2],
        /// That of the weights.
        expected: [usize; 2],
    },
    /// Two matrices that should be stored in one type.
    #[error("{what} is stored as {found}, expected {expected} as the weights")]
    StorageMismatch {
        /// Which of them is wrong.
        what: &'static str,
        /// Its type.
        found: Storage,
        /// That of the weights.
        expected: Storage,
    },
    /// NaN or infinite.
    #[error("{what} {index} is {value}, expected a finite number")]
    NotFinite {
        /// Of what.
        what: &'static str,
        /// Place in row-major order.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A weight that the stored type cannot hold.
    #[error("weight {index} is {value}, expected a number within the range of {storage}")]
    Overflow {
        /// Place in row-major order.
        index: usize,
        /// The weight.
        value: f32,
        /// The type.
        storage: Storage,
    },
    /// A share that is none.
    #[error("`ratio` is {ratio}, expected 0 to 1")]
    Ratio {
        /// As given.
        ratio: f64,
    },
    /// A setting out of its range.
    #[error("`{key}` is {value}, expected {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// As given.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A selection or construction without what it needs.
    #[error("`{selection}` needs {needs}, which was not given")]
    Missing {
        /// Its name.
        selection: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A sensitivity below zero.
    #[error("{what} {index} is {value}, expected at least 0")]
    Negative {
        /// Of what.
        what: &'static str,
        /// Its place.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Places of a mask that do not rise, or lie outside the matrix.
    #[error("place {place} of the mask follows {previous:?}, expected rising places below {numel}")]
    Mask {
        /// The place.
        place: u32,
        /// The one before it.
        previous: Option<u32>,
        /// Values of the matrix.
        numel: usize,
    },
    /// Base and outliers do not add up to a weight.
    #[error(
        "weight {index} is {weight}, which base {base} and outlier {outlier} miss, as do {others} other weights; expected weights and base in f16 or bf16, of magnitudes that f32 can add"
    )]
    NotExact {
        /// Place of the first in row-major order.
        index: usize,
        /// The weight.
        weight: f32,
        /// The base.
        base: f32,
        /// What f32 has for their difference.
        outlier: f32,
        /// How many more weights there are like it.
        others: usize,
    },
    /// A zero whose sign no sum restores.
    #[error(
        "weight {index} is -0 and its base {base}, and no sum of numbers restores that sign; expected weights without negative zeros (`Reference::with_positive_zeros`)"
    )]
    NegativeZero {
        /// Place in row-major order.
        index: usize,
        /// The base.
        base: f32,
    },
    /// Indices of 16 bits were asked for and do not reach.
    #[error("{d_in} inputs, expected at most 65536 for indices of 16 bits")]
    IndexOverflow {
        /// Inputs of the matrix.
        d_in: usize,
    },
    /// The pointers of a sparse matrix.
    #[error("pointer {row} is {value}, expected {expected}")]
    Pointer {
        /// Which one; pointer 0 is the start of the first row.
        row: usize,
        /// As given.
        value: u32,
        /// What it may be.
        expected: String,
    },
    /// The indices of a sparse matrix.
    #[error(
        "index {entry}, in row {row}, is {value}, expected rising indices below {d_in} within a row"
    )]
    Index {
        /// Place of the index.
        entry: usize,
        /// Output channel.
        row: usize,
        /// As given.
        value: u32,
        /// Inputs of the matrix.
        d_in: usize,
    },
    /// A layer that the model does not have.
    #[error("`{name}` is no linear layer of the model, expected {expected}")]
    NoSuchLayer {
        /// As given.
        name: String,
        /// Those it has.
        expected: String,
    },
    /// A split of another shape than the layer it is for.
    #[error("the split of `{name}` is {found:?}, expected {expected:?} as the layer")]
    LayerShape {
        /// The layer.
        name: String,
        /// `[d_in, d_out]` of the split.
        found: [usize; 2],
        /// `[d_in, d_out]` of the layer.
        expected: [usize; 2],
    },
    /// An alpha that interpolates nothing.
    #[error("alpha is {alpha}, expected 0 to 1, or a finite number if extrapolation is asked for")]
    Alpha {
        /// As given.
        alpha: f32,
    },
    /// The best that mixed precision has is not good enough.
    #[error("`budget` is {budget}, expected at least {least}, the error of fp16 alone")]
    Budget {
        /// As given.
        budget: f64,
        /// The least error that can be had.
        least: f64,
    },
    /// From the quantiser of a base.
    #[error(transparent)]
    Quantizer(#[from] QuantizerError),
}
