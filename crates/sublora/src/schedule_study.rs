//! What a precision schedule does with a run, before there is one: how many steps are at which width, and
//! what they cost.
//!
//! Two meters stand side by side. CPT's counts one multiply-accumulate in which everything is at the width
//! of the step, and makes schedules comparable with published ones. The other counts every multiplication
//! of a GPT-2 at the widths that a policy gives it, and says what of that is left where head and attention
//! stay at full precision. Formulas and references are in the crate `precision-schedule`.

mod cost;
mod curve;
mod page;

use precision_schedule::{
    CostPolicy, Gpt2Shape, Meter, Operation, Schedule, ScheduleConfig, ScheduleError, Widths,
};
use serde::{Deserialize, Serialize};

pub use cost::{Cost, OperandPrecision, OperationCost, PartCost, RunCost};

use crate::Error;
use crate::config::read;

/// A schedule, the length of a run and the network that runs at it. By default 64 000 steps, as CPT trains
/// on CIFAR, of a GPT-2 small.
///
/// ```toml
/// steps = 64_000
///
/// [precision]
/// widths = [4, 5, 6, 7, 8]
/// schedule = { kind = "repeated", profile = "cosine", cycles = 8 }
///
/// [cost]
/// base = "frozen"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleStudy {
    /// Length of the run.
    pub steps: u64,
    /// Width of gradients in CPT's meter, 1 to 32 bits. Those of the network are in `cost`.
    pub gradient_bits: u32,
    /// The widths, and which of them when.
    pub precision: ScheduleConfig,
    /// Sizes of the network and of what it reads.
    pub model: Gpt2Shape,
    /// Which operands of the network have which width.
    pub cost: CostPolicy,
}

impl Default for ScheduleStudy {
    fn default() -> Self {
        Self {
            steps: 64_000,
            gradient_bits: 8,
            precision: ScheduleConfig::default(),
            model: Gpt2Shape::default(),
            cost: CostPolicy::default(),
        }
    }
}

/// What a schedule uses and costs. BitOPs are whole numbers, also above $2^{64}$.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleReport {
    /// What was asked.
    pub settings: ScheduleStudy,
    /// Every configured width, in rising order.
    pub usage: Vec<WidthUsage>,
    /// Mean width of a step.
    pub mean_bits: f64,
    /// By CPT's meter, of one multiply-accumulate a step.
    pub cpt: RunCost,
    /// By that of the network, of one sequence a step.
    pub model: RunCost,
    /// Every operation of the network in the order of a forward pass, those of all blocks together.
    pub operations: Vec<OperationCost>,
    /// The same by what of it is quantised.
    pub parts: Vec<PartCost>,
    /// The same together.
    pub total: Cost,
    #[serde(skip)]
    schedule: Schedule,
}

/// How often a width is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WidthUsage {
    /// The width.
    pub bits: u32,
    /// Steps at it; 0 if the run does not come to it.
    pub steps: u64,
    /// Of all steps.
    pub share: f64,
}

impl ScheduleStudy {
    /// Reads a configuration and what overrides it, each `table.key=value` as in
    /// [`RunConfig::parse`](crate::RunConfig::parse), for example `precision.schedule.cycles=2`.
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let study: Self = read(text, overrides)?;
        study.checked()?;
        Ok(study)
    }

    /// Counts. Time in proportion to the steps.
    ///
    /// # Errors
    /// The first value that no run can have.
    pub fn report(&self) -> Result<ScheduleReport, Error> {
        let (schedule, operations) = self.checked()?;
        let (used, widths) = (schedule.usage(), schedule.widths());
        let usage = widths.as_slice().iter().map(|&bits| {
            let steps = used.by_width().find(|it| it.0 == bits).map_or(0, |it| it.1);
            WidthUsage { bits, steps, share: steps as f64 / used.steps() as f64 }
        });
        let network = operations.iter().map(|it| it.meter(&self.cost)).sum();
        let pricing = cost::Pricing::new(&operations, &self.cost, widths);
        Ok(ScheduleReport {
            settings: self.clone(),
            usage: usage.collect(),
            mean_bits: used.mean_bits().unwrap_or_default(), // there is a step
            cpt: RunCost::new(&Meter::cpt(self.gradient_bits), &used, widths.highest()),
            model: RunCost::new(&network, &used, widths.highest()),
            operations: pricing.operations(),
            parts: pricing.parts(),
            total: pricing.total(),
            schedule,
        })
    }

    /// The schedule over the run and the operations of the network, if all settings are sound.
    fn checked(&self) -> Result<(Schedule, Vec<Operation>), Error> {
        if !(1..=Widths::FULL).contains(&self.gradient_bits) {
            return Err(Error::value("gradient_bits", &self.gradient_bits, "1 to 32"));
        }
        let schedule = self.precision.over(self.steps).map_err(|error| match error {
            ScheduleError::Steps { .. } => Error::config(&error),
            _ => Error::Config(format!("`[precision]`: {error}")),
        })?;
        let operations = self.model.operations();
        let operations =
            operations.map_err(|error| Error::Config(format!("`[model]`: {error}")))?;
        Ok((schedule, operations))
    }
}

#[cfg(test)]
mod tests;
