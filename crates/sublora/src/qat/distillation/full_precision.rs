//! The unquantised model as the only teacher, at a temperature.
//!
//! # Definition
//! $L = \frac1K \sum_i [ c\,\mathrm{CE}(y_i) + w\,T^2\,\mathrm{KL}(\operatorname{softmax}(\bar y_{32}/T)
//! \,\|\, \operatorname{softmax}(y_i/T)) ]$.
//!
//! # Reference
//! G. Hinton, O. Vinyals and J. Dean, *Distilling the Knowledge in a Neural Network*, 2015,
//! arXiv:1503.02531. On logits only, as in Z. Liu et al., *LLM-QAT*, 2023, arXiv:2305.17888, where hidden
//! states as targets did harm. From 32 straight to 4 bits it fails in the tables of `InstantNet`
//! (arXiv:2104.10853).

use counter_rng::Key;
use gpt2_model::Matching;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Distillation, Lesson, Visit, check_weight};
use crate::Error;

/// The teacher is the unquantised model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FullPrecision {
    /// $w$.
    pub weight: f64,
    /// $T$.
    pub temperature: f64,
    /// $c$.
    pub cross_entropy: f64,
}

impl Default for FullPrecision {
    fn default() -> Self {
        Self { weight: 1.0, temperature: 3.0, cross_entropy: 1.0 }
    }
}

impl Distillation for FullPrecision {
    fn visits(&self, widths: &[BitWidth], _key: Key) -> Vec<Visit> {
        let matching = Matching::Kl { temperature: self.temperature };
        let pupil = |&bits: &BitWidth| {
            let lesson = Lesson { teacher: 0, weight: self.weight, matching };
            Visit { bits, cross_entropy: self.cross_entropy, lessons: vec![lesson] }
        };
        let teacher = Visit::teacher(BitWidth::FULL);
        std::iter::once(teacher).chain(widths.iter().rev().map(pupil)).collect()
    }

    fn check(&self) -> Result<(), Error> {
        check_weight("method.distillation.weight", self.weight)?;
        check_weight("method.distillation.cross_entropy", self.cross_entropy)?;
        if self.temperature.is_finite() && self.temperature > 0.0 {
            return Ok(());
        }
        let reason = format!(
            "`method.distillation.temperature` is {}, expected a positive number",
            self.temperature
        );
        Err(Error::Config(reason))
    }
}
