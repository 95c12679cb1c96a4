//! Cascade distillation: every width learns from all higher ones.
//!
//! # Definition
//! $L = \frac1K \sum_i [ \mathrm{CE}(y_i) + \beta \sum_{j > i} \mathrm{MSE}(y_i, \bar y_j) ]$ over the
//! logits of widths $b_1 < \dots < b_K$, and of 32 bits above them if they teach.
//!
//! # Reference
//! Y. Fu et al., *`InstantNet`: Automated Generation and Deployment of Instantaneously Switchable-Precision
//! Networks*, DAC 2021, arXiv:2104.10853; code GATECH-EIC/InstantNet.

use counter_rng::Key;
use gpt2_model::Matching;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Distillation, Lesson, Visit, check_weight};
use crate::Error;

/// Teachers are all higher widths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cascade {
    /// Weight of each teacher.
    pub beta: f64,
    /// Whether the unquantised model is one.
    pub full_precision: bool,
}

impl Default for Cascade {
    fn default() -> Self {
        Self { beta: 1.0, full_precision: true }
    }
}

impl Distillation for Cascade {
    fn visits(&self, widths: &[BitWidth], _key: Key) -> Vec<Visit> {
        let mut visits: Vec<Visit> =
            self.full_precision.then(|| Visit::teacher(BitWidth::FULL)).into_iter().collect();
        for &bits in widths.iter().rev() {
            let lesson = |teacher| Lesson { teacher, weight: self.beta, matching: Matching::Mse };
            let lessons = (0..visits.len()).map(lesson).collect();
            visits.push(Visit { lessons, ..Visit::alone(bits) });
        }
        visits
    }

    fn check(&self) -> Result<(), Error> {
        check_weight("method.distillation.beta", self.beta)
    }
}
