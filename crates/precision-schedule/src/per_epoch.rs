//! A schedule that counts epochs.
//!
//! # Definition
//! With $E$ steps in an epoch, $b(t) = b'(\lfloor t / E \rfloor)$ for a schedule $b'$ over the $\lceil T / E
//! \rceil$ epochs of a run of $T$ steps. The last epoch may be cut short.
//!
//! CPT and its followers change the width in every iteration, which is what every schedule does without
//! this adapter.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::check_length;
use crate::{AnyPrecisionSchedule, CosineWave, PrecisionSchedule, ScheduleError, Widths};

/// Another schedule, with an epoch where it says step. By default an epoch of one step, which changes
/// nothing.
///
/// ```toml
/// kind = "per-epoch"
/// steps_per_epoch = 100
/// schedule = { kind = "cosine-wave", cycles = 15 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerEpoch {
    /// $E$, at most the steps of the run.
    pub steps_per_epoch: NonZeroU64,
    /// $b'$.
    pub schedule: Box<AnyPrecisionSchedule>,
}

impl Default for PerEpoch {
    fn default() -> Self {
        let schedule = Box::new(CosineWave::default().into());
        Self { steps_per_epoch: NonZeroU64::MIN, schedule }
    }
}

impl PerEpoch {
    /// Epochs of a run, the last of them perhaps cut short.
    fn epochs(&self, steps: NonZeroU64) -> NonZeroU64 {
        steps.div_ceil(self.steps_per_epoch)
    }
}

impl PrecisionSchedule for PerEpoch {
    fn check(&self, widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        check_length("steps_per_epoch", self.steps_per_epoch, steps)?;
        self.schedule.as_dyn().check(widths, self.epochs(steps))
    }

    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32 {
        self.schedule.as_dyn().bits(step / self.steps_per_epoch, widths, self.epochs(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first, nonzero};
    use crate::{Random, Table};

    fn per_epoch(steps_per_epoch: u64, schedule: impl Into<AnyPrecisionSchedule>) -> PerEpoch {
        PerEpoch { steps_per_epoch: nonzero(steps_per_epoch), schedule: Box::new(schedule.into()) }
    }

    #[test]
    fn a_width_holds_for_an_epoch() {
        let schedule = per_epoch(3, Table { bits: vec![8, 4] });
        assert_eq!(first(8, &schedule, [4, 6, 8], 8), [8, 8, 8, 4, 4, 4, 8, 8]);
        // 15 cycles in 150 epochs of four steps: each epoch is a step of the schedule without them.
        let (epochs, steps) = (CosineWave::default(), per_epoch(4, CosineWave::default()));
        let expected = first(150, &epochs, [4, 6, 8], 150);
        let expected: Vec<u32> = expected.into_iter().flat_map(|bits| [bits; 4]).collect();
        assert_eq!(first(600, &steps, [4, 6, 8], 600), expected);
        // Draws, too.
        let drawn = first(60, &per_epoch(5, Random::default()), 3..=8, 60);
        assert!(drawn.chunks(5).all(|epoch| epoch == [epoch[0]; 5]), "{drawn:?}");
    }

    #[test]
    fn the_length_of_a_run_is_in_epochs() {
        // 43 steps are 14 epochs and a part of the fifteenth.
        let schedule = per_epoch(3, CosineWave::default());
        assert_eq!(schedule.check(&Widths::default(), nonzero(43)), Ok(()));
        assert_eq!(
            error(&schedule, 3..=8, 42).to_string(),
            "`cycles` is 15, expected at most the length of the run, 14"
        );
        assert_eq!(
            error(&schedule, 3..=8, 2).to_string(),
            "`steps_per_epoch` is 3, expected at most the length of the run, 2"
        );
    }
}
