//! What can be wrong with a schedule, a cost or a range test.

use thiserror::Error;

use crate::{Schedule, Widths};

/// Why a schedule cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Nothing to choose from.
    #[error("`widths` is empty, expected at least one width")]
    NoWidth,
    /// A width that no quantiser is meant for.
    #[error("`widths` has {bits}, expected 2 to 18 or 32")]
    Width {
        /// The width.
        bits: u32,
    },
    /// Widths that fall, or one twice.
    #[error("`widths` has {bits} after {previous}, expected rising widths")]
    Order {
        /// The width before.
        previous: u32,
        /// The one that is not above it.
        bits: u32,
    },
    /// A run without a step, or one that nobody finishes.
    #[error("`steps` is {steps}, expected 1 to {}", Schedule::MAX_STEPS)]
    Steps {
        /// As given.
        steps: u64,
    },
    /// A setting with a width that is not configured.
    #[error("`{key}` is {bits}, expected one of `widths`, {widths}")]
    NotConfigured {
        /// The setting.
        key: String,
        /// Its width.
        bits: u32,
        /// What it may be.
        widths: Widths,
    },
    /// More cycles than steps, or a period, an epoch or a change beyond the end.
    #[error("`{key}` is {value}, expected at most the length of the run, {steps}")]
    BeyondRun {
        /// The setting.
        key: &'static str,
        /// As given.
        value: u64,
        /// Steps of the run; epochs, where a schedule counts in them.
        steps: u64,
    },
    /// Falling and rising in turn from the highest width, an odd number of times.
    #[error(
        "`cycles` is {cycles}, expected an even number, with which the run ends at the highest width; `may_end_low` allows it"
    )]
    OddCycles {
        /// As given.
        cycles: u64,
    },
    /// Changes out of order, or one at the first step.
    #[error("`changes[{index}].step` is {step}, expected more than {previous}")]
    ChangeOrder {
        /// Of the change, from 0.
        index: usize,
        /// Its step.
        step: u64,
        /// The step of the change before it; 0 for the first.
        previous: u64,
    },
    /// A change that never comes.
    #[error("`changes[{index}].step` is {step}, expected less than the length of the run, {steps}")]
    ChangeBeyondRun {
        /// Of the change, from 0.
        index: usize,
        /// Its step.
        step: u64,
        /// Steps of the run.
        steps: u64,
    },
    /// A table without a row.
    #[error("`bits` is empty, expected at least one width")]
    EmptyTable,
}

/// Why a cost cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CostError {
    /// A size is zero.
    #[error("`{key}` is 0, expected at least 1")]
    Zero {
        /// The setting.
        key: &'static str,
    },
    /// A size beyond what is counted.
    #[error("`{key}` is {value}, expected at most {most}")]
    TooLarge {
        /// The setting.
        key: &'static str,
        /// As given.
        value: u64,
        /// Its limit.
        most: u64,
    },
    /// The heads do not share the width evenly.
    #[error("`n_head` is {n_head}, which does not divide `n_embd` {n_embd}")]
    Heads {
        /// Heads asked for.
        n_head: u64,
        /// Width they share.
        n_embd: u64,
    },
    /// More operations than are counted.
    #[error("the shape has {macs} multiplications a sequence, expected at most {most}")]
    TooManyMacs {
        /// In a forward pass.
        macs: u128,
        /// The limit.
        most: u64,
    },
    /// A width that no operand has.
    #[error("a fixed width is {bits}, expected 1 to 32")]
    Width {
        /// As given.
        bits: u32,
    },
}

/// Why a range test cannot be made, or does not accept what was measured. That it finds no range is no
/// error of the test: see [`crate::Undecided`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RangeTestError {
    /// Too few values for a line with an error.
    #[error("`iterations` is {iterations}, expected at least 3")]
    Iterations {
        /// As given.
        iterations: u64,
    },
    /// The width that all others are compared with is among them.
    #[error("`widths` has 32, expected widths below full precision")]
    FullPrecision,
    /// A threshold that everything or nothing reaches.
    #[error("`{key}` is {value}, expected {expected}")]
    Threshold {
        /// The setting.
        key: &'static str,
        /// As given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The upper end is not configured.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A curve of another length.
    #[error("the curve of {bits} bits has {found} values, expected {expected}")]
    Curve {
        /// The width that was probed.
        bits: u32,
        /// How many values there are.
        found: usize,
        /// `iterations`.
        expected: u64,
    },
}
