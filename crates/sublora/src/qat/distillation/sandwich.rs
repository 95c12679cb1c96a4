//! The sandwich rule: the highest, the lowest and some random widths in every step.
//!
//! # Definition
//! The highest width learns from the text, the others from the text and, with weight $\beta$, from its
//! logits. Of the widths between the ends `between` are drawn uniformly, without replacement, from the
//! generator of the step.
//!
//! # Reference
//! J. Yu and T. Huang, *Universally Slimmable Networks and Improved Training Techniques*, ICCV 2019,
//! arXiv:1903.05134, for widths of layers; there pupils learn from the highest alone.

use std::num::NonZeroU64;

use counter_rng::Key;
use gpt2_model::Matching;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Distillation, Lesson, Visit, check_weight};
use crate::Error;

/// Few widths a step, so that its price does not depend on how many there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandwich {
    /// Weight of the highest width as a teacher.
    pub beta: f64,
    /// Widths drawn between the ends.
    pub between: usize,
}

impl Default for Sandwich {
    fn default() -> Self {
        Self { beta: 1.0, between: 2 }
    }
}

impl Distillation for Sandwich {
    fn visits(&self, widths: &[BitWidth], key: Key) -> Vec<Visit> {
        let Some((&highest, lower)) = widths.split_last() else { return Vec::new() };
        let mut chosen = Vec::new();
        if let Some((&lowest, between)) = lower.split_first() {
            let mut between = between.to_vec();
            let mut words = key.words(0);
            while between.len() > self.between {
                let Some(count) = NonZeroU64::new(between.len() as u64) else { break };
                between.remove(usize::try_from(words.below(count)).unwrap_or(0));
            }
            chosen.push(lowest);
            chosen.extend(between);
        }
        let pupil = |&bits: &BitWidth| {
            let lesson = Lesson { teacher: 0, weight: self.beta, matching: Matching::Mse };
            Visit { lessons: vec![lesson], ..Visit::alone(bits) }
        };
        std::iter::once(Visit::alone(highest)).chain(chosen.iter().rev().map(pupil)).collect()
    }

    fn check(&self) -> Result<(), Error> {
        check_weight("method.distillation.beta", self.beta)
    }
}
