//! Recursive distillation: every width learns from the next higher one.
//!
//! # Definition
//! $L = \frac1K \sum_i [ \mathrm{CE}(y_i) + \beta\,\mathrm{MSE}(y_i, \bar y_{i+1}) ]$; with two widths this is
//! the cascade.
//!
//! # Reference
//! H. Yu et al., *Any-Precision Deep Neural Networks*, AAAI 2021, arXiv:1911.07346; code
//! SHI-Labs/Any-Precision-DNNs, which matches distributions where we match logits.

use counter_rng::Key;
use gpt2_model::Matching;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Distillation, Lesson, Visit, check_weight};
use crate::Error;

/// The teacher is the next higher width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recursive {
    /// Weight of the teacher.
    pub beta: f64,
    /// Whether the unquantised model teaches the highest width.
    pub full_precision: bool,
}

impl Default for Recursive {
    fn default() -> Self {
        Self { beta: 1.0, full_precision: true }
    }
}

impl Distillation for Recursive {
    fn visits(&self, widths: &[BitWidth], _key: Key) -> Vec<Visit> {
        let mut visits: Vec<Visit> =
            self.full_precision.then(|| Visit::teacher(BitWidth::FULL)).into_iter().collect();
        for &bits in widths.iter().rev() {
            let lesson = |teacher| Lesson { teacher, weight: self.beta, matching: Matching::Mse };
            let lessons = visits.len().checked_sub(1).map(lesson).into_iter().collect();
            visits.push(Visit { lessons, ..Visit::alone(bits) });
        }
        visits
    }

    fn check(&self) -> Result<(), Error> {
        check_weight("method.distillation.beta", self.beta)
    }
}
