//! Every way a codebook cannot be made or a payload cannot be read, one variant each.

use thiserror::Error;

use crate::BitWidth;

/// Why values could not be quantised or a codebook does not stand.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CodebookError {
    /// There is nothing to quantise.
    #[error("no values to quantise, expected at least one")]
    NoValues,
    /// More values than one payload may hold.
    #[error("{len} values to quantise, expected at most {max}")]
    TooManyValues {
        /// How many were given.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} is {value}, expected a finite number")]
    ValueNotFinite {
        /// Its place in the vector.
        index: usize,
        /// The value.
        value: f32,
    },
    /// No centroids, or more than a symbol of one byte below 255 can name.
    #[error("codebook of {levels} levels, expected 1 to 255")]
    LevelCount {
        /// How many were given.
        levels: usize,
    },
    /// A centroid is NaN, infinite, or outside the range of fp16 (±65,504).
    #[error("centroid {index} is {value}, expected a finite fp16 number")]
    CentroidNotFinite {
        /// Its place in the codebook.
        index: usize,
        /// The value before the cast.
        value: f64,
    },
    /// The centroids of a stored codebook are not in strictly increasing order.
    #[error("centroid {index} is not above the one before it, expected strictly increasing order")]
    CentroidsNotIncreasing {
        /// The first centroid out of order.
        index: usize,
    },
    /// The multiplier of an entropy-constrained codebook is negative or not finite.
    #[error("lambda is {lambda}, expected a finite number of at least 0")]
    Lambda {
        /// The value.
        lambda: f64,
    },
    /// A symbol names no centroid.
    #[error("symbol {index} is {symbol}, expected less than the {levels} levels")]
    SymbolOutOfRange {
        /// Its place in the vector.
        index: usize,
        /// The symbol.
        symbol: u8,
        /// The levels of the codebook.
        levels: usize,
    },
}

/// Why bytes are not a coded vector.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside the code.
    #[error("payload ends after {bits} bits, expected more")]
    Truncated {
        /// Bits there are.
        bits: usize,
    },
    /// The dimension exceeds what the caller or the format allows.
    #[error("dimension is at least {dimension}, expected at most {max}")]
    DimensionAboveLimit {
        /// The stored dimension, or the least it can be where its code was not read to the end.
        dimension: u64,
        /// The limit.
        max: u32,
    },
    /// More levels than the format allows.
    #[error("codebook of at least {levels} levels, expected 1 to 255")]
    LevelCount {
        /// The stored number, or the least it can be where its code was not read to the end.
        levels: u64,
    },
    /// The codebook does not stand.
    #[error("stored codebook is invalid")]
    Codebook(#[from] CodebookError),
    /// The table of counts holds more symbols than the vector.
    #[error("counts up to level {level} sum to {sum}, expected at most the dimension {dimension}")]
    CountsExceedDimension {
        /// The level whose count is too large.
        level: usize,
        /// The sum up to there.
        sum: u64,
        /// The dimension.
        dimension: u32,
    },
    /// The bits lie outside every codeword.
    #[error("symbol {index} of a stream has no codeword")]
    NoCodeword {
        /// The symbol that could not be read.
        index: usize,
    },
    /// A number that its limit excludes.
    #[error("number {index} is {value}, expected below {below}")]
    ChoiceAboveLimit {
        /// Which number.
        index: usize,
        /// What was read.
        value: u64,
        /// Its limit.
        below: u64,
    },
    /// The bits decode, but the encoder would have written others.
    #[error("payload is not in canonical form")]
    NotCanonical,
    /// Bytes follow the code.
    #[error("{bytes} bytes after the end of the payload, expected none")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
}

/// A fake quantiser that cannot be, or cannot be used on these values.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum QuantizerError {
    /// No width.
    #[error("{0} bits, expected 1 to 16, or 32 for none")]
    Width(u8),
    /// A width that a grid has no codes for.
    #[error("the grid `{grid}` has no codes of {bits} bits, expected {expected}")]
    GridWidth {
        /// The grid.
        grid: &'static str,
        /// The width.
        bits: BitWidth,
        /// The widths it has.
        expected: &'static str,
    },
    /// A value that has no code.
    #[error("value {index} is {value}, expected a finite number")]
    NotFinite {
        /// Its place.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A range of no value.
    #[error("no value was seen")]
    NothingSeen,
    /// A range that places integer codes, on a grid that has a table.
    #[error("the range `{range}` is for integer codes, and this grid has none")]
    NotIntegers {
        /// The range.
        range: &'static str,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Scales that no integer product can realise.
    #[error(
        "`{granularity}` for {} {operand}, expected scales that do not vary along the contraction: \
         {advice}", if *operand == crate::Operand::Activation { "an" } else { "a" }
    )]
    Granularity {
        /// The granularity.
        granularity: crate::Granularity,
        /// What it was asked for.
        operand: crate::Operand,
        /// What to take instead.
        advice: &'static str,
    },
    /// Groups that do not come out even.
    #[error(
        "{length} inputs are no multiple of the group size {size}, expected one, or `group:{size}:pad`"
    )]
    GroupSize {
        /// Values in a group.
        size: usize,
        /// Values to divide.
        length: usize,
    },
    /// A name of no granularity.
    #[error(
        "granularity `{0}`, expected `tensor`, `channel:AXIS`, `group:N`, `group:N:pad` or `token`"
    )]
    GranularityName(String),
    /// A slice that is not the matrix.
    #[error("{len} values, expected {} x {}", shape[0], shape[1])]
    Shape {
        /// How many there are.
        len: usize,
        /// `[rows, cols]`.
        shape: [usize; 2],
    },
    /// Scales of another matrix or another granularity.
    #[error("{len} scales, expected one for each of {groups} groups")]
    ScaleCount {
        /// How many there are.
        len: usize,
        /// How many groups there are.
        groups: usize,
    },
    /// A scale that is not above 0, a zero point that is no code, or levels beyond the largest `f32`.
    #[error("{params:?} of group {group}, expected a scale above 0 and levels that f32 can hold")]
    Params {
        /// The group.
        group: usize,
        /// What it was given.
        params: crate::Params,
    },
    /// Levels too close or too large for the type that is imitated.
    #[error("{params:?} of group {group}, expected levels that {half} holds apart")]
    Half {
        /// The group.
        group: usize,
        /// Its parameters, as the type holds them.
        params: crate::Params,
        /// The type.
        half: crate::Half,
    },
    /// A number that is no code.
    #[error("code {index} is {code}, expected {min} to {max}")]
    NoSuchCode {
        /// Its place.
        index: usize,
        /// The number.
        code: i32,
        /// The least code.
        min: i32,
        /// The greatest code.
        max: i32,
    },
}
