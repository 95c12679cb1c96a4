#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "exact where the arithmetic is"))]

mod cycle;
mod error;
mod gain;
mod gpt2_cost;
mod meter;
mod operands;
mod profile;
mod range_test;
mod schedule;
mod usage;
mod widths;

mod alternating;
mod constant;
mod cosine_wave;
mod cyclic_cosine;
mod per_epoch;
mod random;
mod repeated;
mod step;
mod table;
mod triangular_wave;

#[cfg(test)]
mod conformance;

use std::num::NonZeroU64;

pub use alternating::Flip;
pub use cycle::Division;
pub use error::{CostError, RangeTestError, ScheduleError};
pub use gain::Gain;
pub use gpt2_cost::{AttentionKernel, Gpt2Shape, Operation, OperationKind};
pub use meter::{MatchedWidth, Meter};
pub use operands::{Base, CostPolicy, OperandWidth, Operands};
pub use profile::Profile;
pub use range_test::{
    Criterion, Evidence, PrecisionRange, Probe, RangeTest, RangeTestState, Undecided, Upper,
    Verdict,
};
pub use schedule::{Schedule, ScheduleConfig};
pub use step::Change;
pub use usage::Usage;
pub use widths::Widths;

/// A rule for the width of every step of a run. It has no state: any step can be asked for, in any
/// order, and a run that is resumed goes on as if it had not stopped.
///
/// [`ScheduleConfig::over`] checks a schedule and answers with a [`Schedule`], which is what a run asks.
pub trait PrecisionSchedule {
    /// Checks the settings against a run of `steps` at `widths`.
    ///
    /// # Errors
    /// [`ScheduleError`], naming the key, for a setting that makes no sense for this run.
    fn check(&self, widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError>;

    /// The width, one of `widths`, of `step`, counted from 0, in a run of `steps`. After its last step
    /// the pattern goes on. Never panics; if [`check`](Self::check) fails, the width may be none of the
    /// set.
    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32;
}

registry::methods! {
    /// Every precision schedule of this crate.
    pub enum AnyPrecisionSchedule: dyn PrecisionSchedule {
        /// One width from the first step to the last.
        constant::Constant = "constant",
        /// Half a cosine from the lowest width up to the highest, restarted every period (CPT, Fu et al. 2021).
        cyclic_cosine::CyclicCosine = "cyclic-cosine",
        /// A growth profile restarted in every cycle: CR, LR, ER and RR (Wolfe and Kyrillidis 2024).
        repeated::Repeated = "repeated",
        /// A growth profile that falls and rises in turn, from the highest width: CT, LT, ETV, ETH, RTV and RTH (Wolfe and Kyrillidis 2024).
        alternating::Alternating = "alternating",
        /// A whole cosine in every cycle: from the lowest width to the highest and back.
        cosine_wave::CosineWave = "cosine-wave",
        /// A straight line from the lowest width to the highest and back in every cycle.
        triangular_wave::TriangularWave = "triangular-wave",
        /// A width that changes at listed steps.
        step::Step = "step",
        /// A width drawn for every step, uniformly over the set, from a seed.
        random::Random = "random",
        /// A list of widths, one for each step, from the start again after its end.
        table::Table = "table",
        /// Any of these in epochs: the width changes between epochs only.
        per_epoch::PerEpoch = "per-epoch",
    }
}
