//! The precision range test: between which widths precision should cycle.
//!
//! # Definition
//! From one and the same state, a network is trained for $K$ iterations on the same batches at every width
//! of a rising list, and, where the criterion compares with it, at full precision. The [`Gain`] of a width
//! is, with the least-squares slope $\hat\beta$ of its curve,
//!
//! - of a loss, $-\hat\beta$, in nats per iteration;
//! - of an accuracy, $(K - 1) \hat\beta$, its rise over the probe.
//!
//! **Lower end:** the first width whose gain is at or above the threshold and more than two standard
//! errors above zero. The threshold is an absolute rise of the accuracy, or a fraction of the gain of the
//! loss at full precision. **Upper end:** the width of the static training that the schedule replaces, or
//! the first width, from the lower end on, whose gain is at or above a fraction of that of full precision.
//!
//! Where no width qualifies there is no answer but the reason and the curves ([`Undecided`]). A curve with
//! a value that is not finite has no gain and qualifies for nothing.
//!
//! This is the decision alone: [`RangeTest::start`] says which width to probe, and takes the curve of each.
//! Restoring weights, optimiser, data and generators before every probe is up to whoever trains.
//!
//! # Reference
//! Y. Fu et al., *CPT*, ICLR 2021, arXiv:2101.09868, which describes the test for the accuracy,
//! with a threshold of 0.01.
//!
//! # Notes on the reference implementation
//! The published code has no such test. The paper raises the precision within one run and takes the mean
//! of the differences between consecutive iterations, in which all values but the first and the last
//! cancel: we restart, so that widths are compared at the same state, and fit a line, which uses all values and has a standard
//! error. A public one (Laurence-Wu/LLM-QAT-on-gpt2) does not train, stops at a relative gain between two
//! widths, and otherwise guesses.

mod decision;

use serde::{Deserialize, Serialize};

use crate::{Gain, RangeTestError, Widths};

/// The settings of a test. By default 2 to 8 bits with the loss of 50 iterations, for a schedule that
/// replaces static 8 bits.
///
/// ```toml
/// widths = [2, 3, 4, 5, 6, 7, 8]
/// iterations = 50
/// criterion = { kind = "loss-slope", fraction = 0.5 }
/// upper = { kind = "static", bits = 8 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RangeTest {
    /// Candidates, below full precision. Those above a static upper end are not probed.
    pub widths: Widths,
    /// $K$, at least 3.
    pub iterations: u64,
    /// What makes the lower end.
    pub criterion: Criterion,
    /// What makes the upper end.
    pub upper: Upper,
}

/// What is measured, and from where on a width can train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Criterion {
    /// Curves are losses in nats, in every iteration.
    LossSlope {
        /// Of the gain at full precision: above 0, at most 1.
        fraction: f64,
    },
    /// Curves are accuracies, 0 to 1, in every iteration.
    Accuracy {
        /// The rise over the probe: above 0, at most 1. The paper's is 0.01.
        threshold: f64,
    },
}

/// The highest width of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Upper {
    /// That of the static training which the schedule replaces.
    Static {
        /// One of the candidates.
        bits: u32,
    },
    /// Where the gains no longer grow.
    Plateau {
        /// Of the gain at full precision: above 0, at most 1. Commonly 0.95.
        fraction: f64,
    },
}

/// A test that is under way.
#[derive(Debug, Clone, PartialEq)]
pub enum RangeTestState {
    /// A width has to be probed.
    Probe(Probe),
    /// The test is over.
    Done(Verdict),
}

/// A width that has to be probed next.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    test: RangeTest,
    /// What was probed, in this order.
    evidence: Vec<Evidence>,
}

/// What a probe showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The width, 32 for full precision.
    pub bits: u32,
    /// The loss or accuracy of every iteration.
    pub curve: Vec<f64>,
    /// Its gain; none if a value is not finite.
    pub gain: Option<Gain>,
}

/// The end of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The range, or why there is none.
    pub range: Result<PrecisionRange, Undecided>,
    /// Every probe, full precision first where it was needed, then in rising order.
    pub evidence: Vec<Evidence>,
}

/// Between which widths precision should cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRange {
    /// The lowest width that trains.
    pub lower: u32,
    /// The upper end, at or above it. At it, there is nothing to cycle between.
    pub upper: u32,
    /// The gain that the lower end had to reach.
    pub threshold: f64,
}

/// Why a test has no answer. Longer probes or other widths may have one; a guess would not be one.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// There is nothing to compare with. No other width was probed.
    #[error("training at full precision shows no gain in {iterations} iterations")]
    NoReference {
        /// Of the probe.
        iterations: u64,
    },
    /// No candidate trains.
    #[error("no width up to {highest} bits has a gain of {threshold} and of two standard errors")]
    NoLower {
        /// The highest that was probed.
        highest: u32,
        /// The gain that was expected.
        threshold: f64,
    },
    /// No candidate is as good as full precision.
    #[error(
        "no width from {lower} to {highest} bits has a gain of {threshold}: the gains have no plateau"
    )]
    NoPlateau {
        /// The lower end, which was found.
        lower: u32,
        /// The highest that was probed.
        highest: u32,
        /// The gain that was expected.
        threshold: f64,
    },
}

impl Default for RangeTest {
    fn default() -> Self {
        Self {
            widths: Widths::consecutive(2, 8),
            iterations: 50,
            criterion: Criterion::LossSlope { fraction: 0.5 },
            upper: Upper::Static { bits: 8 },
        }
    }
}

impl RangeTest {
    /// The first probe.
    ///
    /// # Errors
    /// [`RangeTestError`], naming the key, for settings that make no test.
    pub fn start(&self) -> Result<Probe, RangeTestError> {
        self.check()?;
        Ok(Probe { test: self.clone(), evidence: Vec::new() })
    }

    /// Every width that will be probed, in this order: the cost of the test is
    /// [`iterations`](Self::iterations) training steps for each.
    pub fn probes(&self) -> Vec<u32> {
        let reference = self.needs_reference().then_some(Widths::FULL);
        let highest = match self.upper {
            Upper::Static { bits } => bits,
            Upper::Plateau { .. } => Widths::FULL,
        };
        let candidates = self.widths.as_slice().iter().copied().filter(|&bits| bits <= highest);
        reference.into_iter().chain(candidates).collect()
    }

    /// Whether full precision is probed first.
    fn needs_reference(&self) -> bool {
        matches!(self.criterion, Criterion::LossSlope { .. })
            || matches!(self.upper, Upper::Plateau { .. })
    }

    fn check(&self) -> Result<(), RangeTestError> {
        if self.iterations < 3 {
            return Err(RangeTestError::Iterations { iterations: self.iterations });
        }
        if self.widths.contains(Widths::FULL) {
            return Err(RangeTestError::FullPrecision);
        }
        let (key, value) = match self.criterion {
            Criterion::LossSlope { fraction } => ("criterion.fraction", fraction),
            Criterion::Accuracy { threshold } => ("criterion.threshold", threshold),
        };
        share(key, value)?;
        match self.upper {
            Upper::Static { bits } => Ok(self.widths.check("upper.bits", bits)?),
            Upper::Plateau { fraction } => share("upper.fraction", fraction),
        }
    }
}

/// Checks that a setting is above 0 and at most 1.
fn share(key: &'static str, value: f64) -> Result<(), RangeTestError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    let expected = "above 0, at most 1";
    Err(RangeTestError::Threshold { key, value: value.to_string(), expected })
}

#[cfg(test)]
mod tests;
