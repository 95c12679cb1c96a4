//! A whole cosine in every cycle, from the lowest width to the highest and back.
//!
//! # Definition
//! With the phase $z$ of step $t$ in its cycle, the width is the one nearest to
//! $$ v(t) = w_0 + \tfrac12 (w_n - w_0) (1 - \cos 2\pi z). $$
//! Every cycle starts and ends at the lowest width and reaches the highest in its middle, without a
//! restart. This is not CPT with $n$ cycles: [`CyclicCosine`](crate::CyclicCosine) falls at once from the
//! highest width to the lowest. It costs the same, since both spend as long at every width.
//!
//! # Notes on the reference implementation
//! Public code for GPT-2 (Laurence-Wu/LLM-QAT-on-gpt2) has it in epochs, with the phase from a division of
//! floating-point numbers and ties to the lower width. Epochs are [`PerEpoch`](crate::PerEpoch) here.

use std::f64::consts::PI;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::check_cycles;
use crate::{Division, PrecisionSchedule, ScheduleError, Widths};

/// Up and down along a cosine. By default 15 cycles, for 150 epochs.
///
/// ```toml
/// kind = "cosine-wave"
/// cycles = 8
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosineWave {
    /// $n$, at most the steps of the run. They divide it exactly ([`Division::Exact`]).
    pub cycles: NonZeroU64,
}

impl Default for CosineWave {
    fn default() -> Self {
        Self { cycles: const { NonZeroU64::new(15).unwrap() } }
    }
}

impl PrecisionSchedule for CosineWave {
    fn check(&self, _widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        check_cycles(self.cycles, steps)
    }

    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32 {
        let z = Division::Exact.phase(step, steps, self.cycles).z;
        widths.at(0.5 * (1.0 - libm::cos(2.0 * PI * z)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first};

    #[test]
    fn ten_epochs_of_a_cycle() {
        // 4, 4.38, 5.38, 6.62, 7.62, 8, 7.62, 6.62, 5.38, 4.38
        let expected = [4, 4, 6, 6, 8, 8, 8, 6, 6, 4];
        assert_eq!(first(150, &CosineWave::default(), [4, 6, 8], 150), expected.repeat(15));
    }

    #[test]
    fn more_cycles_than_steps() {
        assert_eq!(
            error(&CosineWave::default(), [4, 6, 8], 14).to_string(),
            "`cycles` is 15, expected at most the length of the run, 14"
        );
    }
}
