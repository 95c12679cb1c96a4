//! What a bound is computed from, and what it says.
//!
//! # Events
//! A certificate can fail in two ways. The *training event*, of probability at most $\delta_1$ over the
//! draw of the $m$ training units, is that some hypothesis, at some smoothing weight, has a true risk
//! above what the bound makes of its training risk; code lengths of prefix codes pay for the union over
//! both. The *sample event*, of probability at most $\delta_2$ over the draw of the $n$ scored units
//! given the training units and the frozen models, is that the sample misleads about the training risk
//! of one of the $M$ models at some smoothing weight. Without a subsample there is no second event, and
//! $\delta_2$ is not spent.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::sums::mean;
use crate::{Bits, Bound, BoundError, FailureProbability, LossRange};

/// What the bound counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Documents, independent draws of one population. The bound is on the expected mean loss of a
    /// new document.
    Document,
    /// Tokens in the order of the corpus, each after its context. The bound is on the average
    /// conditional risk on the training contexts: new next tokens, not new documents.
    Token,
}

/// What is measured on a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean smoothed loss, in bits per token.
    BitsPerToken,
    /// Fraction of tokens that `k` others rank level with or above.
    TopKError {
        /// Ranks that count as right.
        k: NonZeroU32,
    },
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document => "document",
            Self::Token => "token",
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BitsPerToken => f.write_str("bits per token"),
            Self::TopKError { k } => write!(f, "top-{k} error"),
        }
    }
}

/// Which of the training units were scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling<'a> {
    /// All of them, once each.
    Full,
    /// Independent uniform draws with replacement, repeats kept.
    ///
    /// Instead of the loss of a document that was drawn, its value may be a random one whose
    /// expectation that loss is, drawn independently for each draw: the mean over the block of tokens
    /// around a uniform position of the document. Such draws are independent, in the loss range, and
    /// of the same expectation, which is all that most bounds use. The product bound needs the mean of
    /// a concave function of the documents' losses and finds that of the draws, which is less; the
    /// empirical Bernstein bound needs the variance of these losses and finds that of the draws, which
    /// is more: both stay valid.
    Uniform,
    /// Independent uniform draws of tokens, each scored with the whole block of tokens it lies in:
    /// draw i is the values `offsets[i]..offsets[i + 1]`, at least one; `[n + 1]`.
    ///
    /// The blocks partition the tokens and depend on the text alone. The mean of any function of a
    /// token over the block of a uniform token has the mean over all tokens for its expectation, so
    /// such means take the place of the single values in the sample event; their variance is less.
    Blocks(&'a [u64]),
}

/// Everything a bound needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What the values are of.
    pub unit: Unit,
    /// What they measure.
    pub metric: Metric,
    /// $m$, units in the training set.
    pub population: NonZeroU64,
    /// `[n]`: the scored units, for bits per token at the given smoothing weight.
    pub values: &'a [f64],
    /// How they were chosen among the $m$.
    pub sampling: Sampling<'a>,
    /// $K$, length of the prefix-free description of the hypothesis.
    pub code_length: Bits,
    /// $L_\alpha$, length of the code of the smoothing weight; 0 if that is fixed beforehand or the
    /// metric has none.
    pub alpha_bits: Bits,
    /// `[n]`: for each scored unit a number in the loss range that is known before the unit is.
    pub predictable: Option<&'a [f64]>,
    /// Where every loss lies.
    pub range: LossRange,
    /// $M$, models that share the sample.
    pub models: NonZeroU64,
    /// $\delta_1$, for the draw of the training set.
    pub training_failure: FailureProbability,
    /// $\delta_2$, for the draw of the sample; not spent when every unit is scored.
    pub sample_failure: FailureProbability,
}

impl<'a> Evidence<'a> {
    /// Refuses what no formula may see, and returns the mean of the scored values.
    pub(crate) fn risk(&self, bound: &dyn Bound) -> Result<f64, BoundError> {
        let Self { unit, metric, range, values, .. } = *self;
        if !bound.applies_to(unit, metric) {
            return Err(BoundError::DoesNotApply { unit, metric });
        }
        if matches!(metric, Metric::TopKError { .. }) && range != LossRange::UNIT {
            return Err(BoundError::TopKRange { low: range.low(), high: range.high() });
        }
        if values.is_empty() {
            return Err(BoundError::TooFew { found: 0, needed: 1 });
        }
        let expected = self.population.get();
        if self.sampling == Sampling::Full && values.len() as u64 != expected {
            let found = values.len() as u64;
            return Err(BoundError::Count { what: "scored units", found, expected });
        }
        range.check("unit", values)?;
        if let Sampling::Blocks(offsets) = self.sampling {
            check_blocks(unit, offsets, values.len() as u64)?;
        }
        Ok(mean(&self.draws(|draw| mean(&values[draw]))))
    }

    /// `of` every draw, given as a range of the values. All units, where nothing was drawn, are one.
    pub(crate) fn draws(&self, of: impl Fn(Range<usize>) -> f64) -> Vec<f64> {
        let count = self.values.len();
        match self.sampling {
            Sampling::Full => vec![of(0..count)],
            Sampling::Uniform => (0..count).map(|i| of(i..i + 1)).collect(),
            Sampling::Blocks(offsets) => {
                let place = |offset: u64| usize::try_from(offset).unwrap_or(count).min(count);
                offsets.windows(2).map(|span| of(place(span[0])..place(span[1]))).collect()
            }
        }
    }

    /// $m$.
    pub(crate) fn m(&self) -> f64 {
        self.population.get() as f64
    }

    /// $n$.
    pub(crate) fn n(&self) -> f64 {
        match self.sampling {
            Sampling::Blocks(offsets) => offsets.len().saturating_sub(1) as f64,
            Sampling::Full | Sampling::Uniform => self.values.len() as f64,
        }
    }

    /// Whether there is a sample event.
    pub(crate) fn is_sampled(&self) -> bool {
        self.sampling != Sampling::Full
    }

    /// $(K + L_\alpha) \ln 2 + \ln(1/\delta_1)$: the level of the training event.
    pub(crate) fn training_nats(&self) -> f64 {
        (self.code_length + self.alpha_bits).to_nats().get()
            + self.training_failure.ln_inverse().get()
    }

    /// $L_\alpha \ln 2 + \ln(M/\delta_2)$: the level of the sample event.
    pub(crate) fn sample_nats(&self) -> f64 {
        self.alpha_bits.to_nats().get()
            + (self.models.get() as f64).ln()
            + self.sample_failure.ln_inverse().get()
    }

    /// At least two scored units, without which there is no variance.
    pub(crate) fn needs_variance(&self) -> Result<(), BoundError> {
        let found = match self.sampling {
            Sampling::Blocks(offsets) => offsets.len().saturating_sub(1),
            Sampling::Full | Sampling::Uniform => self.values.len(),
        };
        if found < 2 { Err(BoundError::TooFew { found, needed: 2 }) } else { Ok(()) }
    }

    /// The predictable values, one for each scored unit, in the loss range.
    pub(crate) fn predictable(&self) -> Result<&'a [f64], BoundError> {
        let predictable = self.predictable.ok_or(BoundError::NoPredictable(self.values.len()))?;
        if predictable.len() != self.values.len() {
            let (found, expected) = (predictable.len() as u64, self.values.len() as u64);
            return Err(BoundError::Count { what: "predictable values", found, expected });
        }
        self.range.check("predictable value", predictable)?;
        Ok(predictable)
    }
}

/// Blocks are of tokens, and divide the values among draws of at least one.
fn check_blocks(unit: Unit, offsets: &[u64], values: u64) -> Result<(), BoundError> {
    if unit != Unit::Token {
        return Err(BoundError::Blocks(unit));
    }
    if offsets.len() < 2 {
        return Err(BoundError::TooFew { found: 0, needed: 1 });
    }
    let last = offsets.len() - 2;
    for (index, span) in offsets.windows(2).enumerate() {
        let (start, end) = (span[0], span[1]);
        let ends = if index == last { end == values } else { end < values };
        if (index == 0 && start != 0) || start >= end || !ends {
            return Err(BoundError::Offsets { index, start, end, tokens: values });
        }
    }
    Ok(())
}

/// A bound that holds with probability at least $1 - \delta_1 - \delta_2$, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// Mean of the scored values.
    pub risk: f64,
    /// What the description length costs: the excess over the risk if the scored units were the whole
    /// training set, of $m$ units.
    pub complexity_term: f64,
    /// What the subsample costs on top; 0 without one.
    pub sampling_term: f64,
    /// The sum of the three.
    pub bound: f64,
}

impl Certified {
    /// Splits `bound` at `unsampled`, the value had the scored units been the whole training set.
    pub(crate) fn new(risk: f64, unsampled: f64, bound: f64) -> Result<Self, BoundError> {
        if !bound.is_finite() || !unsampled.is_finite() {
            return Err(BoundError::NotFinite(bound));
        }
        // In exact arithmetic risk <= unsampled <= bound; rounding may lose the last digit of it.
        let unsampled = unsampled.max(risk);
        let bound = bound.max(unsampled);
        Ok(Self {
            risk,
            complexity_term: unsampled - risk,
            sampling_term: bound - unsampled,
            bound,
        })
    }
}
