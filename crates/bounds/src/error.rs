//! Every way in which evidence or a setting can be wrong.

use thiserror::Error;

use crate::evidence::{Metric, Unit};

/// Why a number, a code length or a bound was refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum BoundError {
    /// Blocks of something else than tokens.
    #[error("blocks are drawn around tokens, not at the {0} level")]
    Blocks(Unit),
    /// A failure probability outside (0, 1).
    #[error("failure probability {0} lies outside (0, 1)")]
    Probability(f64),
    /// A length that is negative, infinite or not a number.
    #[error("length {0} is not a finite number of at least 0")]
    Length(f64),
    /// A loss range whose ends are not finite or not in order.
    #[error("loss range [{low}, {high}] is not finite and increasing")]
    Range {
        /// Lower end given.
        low: f64,
        /// Upper end given.
        high: f64,
    },
    /// A count that must be at least one.
    #[error("{0} is 0, expected at least 1")]
    Zero(&'static str),
    /// Fewer units than the formula can work with.
    #[error("{found} scored units, expected at least {needed}")]
    TooFew {
        /// Units given.
        found: usize,
        /// Units the formula needs.
        needed: usize,
    },
    /// Two arrays that must be parallel are not.
    #[error("{found} {what}, expected {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// Entries given.
        found: u64,
        /// Entries expected.
        expected: u64,
    },
    /// A value that is not a number or lies outside its range.
    #[error("{what} {index} is {value}, expected a number in [{low}, {high}]")]
    Value {
        /// What the value is.
        what: &'static str,
        /// Place in its array.
        index: usize,
        /// The value given.
        value: f64,
        /// Lower end of the range.
        low: f64,
        /// Upper end of the range.
        high: f64,
    },
    /// A document table that is not increasing from 0 to the number of tokens.
    #[error(
        "document {index} spans tokens {start} to {end} of {tokens}, expected at least one token"
    )]
    Offsets {
        /// Place in the table.
        index: usize,
        /// First token of the document.
        start: u64,
        /// Token after its last.
        end: u64,
        /// Tokens scored.
        tokens: u64,
    },
    /// A smoothing weight that is no odd numerator over a power of two between 0 and 1.
    #[error("smoothing weight {numerator}/2^{exponent} is not odd/2^b with 1 <= b <= 31 in (0, 1)")]
    Alpha {
        /// Numerator given.
        numerator: u32,
        /// Exponent of the denominator given.
        exponent: u32,
    },
    /// A smoothing weight outside (0, 1).
    #[error("smoothing weight {0} lies outside (0, 1)")]
    Smoothing(f64),
    /// A vocabulary too small to predict anything.
    #[error("vocabulary of {0} tokens, expected at least 2")]
    Vocabulary(u32),
    /// A number of ranks beyond the vocabulary.
    #[error("top-{k} error over {vocab} tokens, expected k of at most {vocab}")]
    TopK {
        /// Ranks that count as right.
        k: u32,
        /// Tokens of the vocabulary.
        vocab: u32,
    },
    /// A top-k error with a range other than [0, 1].
    #[error("top-k error with range [{low}, {high}], expected [0, 1]")]
    TopKRange {
        /// Lower end given.
        low: f64,
        /// Upper end given.
        high: f64,
    },
    /// A setting of a bound out of its range.
    #[error("setting {name} is {value}, expected {expected}")]
    Setting {
        /// Field of the bound.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What would have been right.
        expected: &'static str,
    },
    /// A bound that is not proven for these units or this metric.
    #[error("bound is not proven for {metric} over {unit} units")]
    DoesNotApply {
        /// Unit of the evidence.
        unit: Unit,
        /// Metric of the evidence.
        metric: Metric,
    },
    /// A bound for units that are right or wrong met one that is neither.
    #[error("unit {index} has error {value}, expected 0 or 1: the bound is for binary units")]
    NotBinary {
        /// Place of the unit.
        index: usize,
        /// Its error.
        value: f64,
    },
    /// A bound that needs a predictable value per unit was given none.
    #[error("no predictable values, expected one for each of {0} scored units")]
    NoPredictable(usize),
    /// A test-set bound was given a sample that the hypothesis may have seen.
    #[error("test-set bound with a code length of {0} bits, expected 0: units must be held out")]
    NotHeldOut(f64),
    /// A test-set bound was given a subsample of the held-out units.
    #[error("test-set bound on a subsample, expected every held-out unit")]
    Subsampled,
    /// A bound that is not a finite number.
    #[error("bound is {0}, expected a finite number")]
    NotFinite(f64),
}
