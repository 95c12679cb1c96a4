//! No teacher: every width learns from the text alone, all of them in every step.

use counter_rng::Key;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Distillation, Visit};
use crate::Error;

/// $L = \frac1K \sum_i \mathrm{CE}(y_i)$.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Independent {}

impl Distillation for Independent {
    fn visits(&self, widths: &[BitWidth], _key: Key) -> Vec<Visit> {
        widths.iter().rev().map(|&bits| Visit::alone(bits)).collect()
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}
