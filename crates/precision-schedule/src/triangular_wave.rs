//! A straight line from the lowest width to the highest and back in every cycle.
//!
//! # Definition
//! With the phase $z$ of step $t$ in its cycle, the width is the one nearest to
//! $$ v(t) = w_0 + (w_n - w_0) (1 - |2z - 1|). $$
//! Every cycle starts and ends at the lowest width. [`Alternating`](crate::Alternating) with a linear
//! profile is the same line from the highest width, with two cycles for one of these.
//!
//! # Notes on the reference implementation
//! As for [`CosineWave`](crate::CosineWave).

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::check_cycles;
use crate::{Division, PrecisionSchedule, ScheduleError, Widths};

/// Up and down along a straight line. By default 15 cycles, for 150 epochs.
///
/// ```toml
/// kind = "triangular-wave"
/// cycles = 8
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriangularWave {
    /// $n$, at most the steps of the run. They divide it exactly ([`Division::Exact`]).
    pub cycles: NonZeroU64,
}

impl Default for TriangularWave {
    fn default() -> Self {
        Self { cycles: const { NonZeroU64::new(15).unwrap() } }
    }
}

impl PrecisionSchedule for TriangularWave {
    fn check(&self, _widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        check_cycles(self.cycles, steps)
    }

    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32 {
        let z = Division::Exact.phase(step, steps, self.cycles).z;
        widths.at(1.0 - (2.0 * z - 1.0).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first};

    #[test]
    fn ten_epochs_of_a_cycle() {
        // 4, 4.8, 5.6, 6.4, 7.2, 8, 7.2, 6.4, 5.6, 4.8
        let expected = [4, 4, 6, 6, 8, 8, 8, 6, 6, 4];
        assert_eq!(first(150, &TriangularWave::default(), [4, 6, 8], 150), expected.repeat(15));
    }

    #[test]
    fn more_cycles_than_steps() {
        assert_eq!(
            error(&TriangularWave::default(), [4, 6, 8], 14).to_string(),
            "`cycles` is 15, expected at most the length of the run, 14"
        );
    }
}
