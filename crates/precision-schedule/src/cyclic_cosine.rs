//! Cyclic precision: half a cosine from the lowest width up to the highest, restarted every `period`
//! steps.
//!
//! # Definition
//! With $\phi = (t \bmod T) / T$, the place of step $t$ in its period, the width is the one nearest to
//! $$ v(t) = w_0 + \tfrac12 (w_n - w_0) (1 - \cos \pi\phi). $$
//! The top of the ramp is followed at once by the bottom: half a wave, not a whole one.
//!
//! # Reference
//! Y. Fu et al., *CPT: Efficient Deep Neural Network Training via Cyclic Precision*, ICLR 2021,
//! arXiv:2101.09868. Code: GATECH-EIC/CPT, `cpt_cifar/train.py`, `cyclic_adjust_precision`.
//!
//! # Notes on the reference implementation
//! It is given the number of periods and truncates `iters / periods`; we take the period itself.
//! [`Repeated`](crate::Repeated) with a cosine counts cycles. It cycles the width of gradients by the same
//! formula, with equal ends in all experiments; here a schedule is one number, and gradients have theirs.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::check_length;
use crate::{PrecisionSchedule, Profile, ScheduleError, Widths};

/// Half-cosine ramp, restarted every period. The default is the paper's CIFAR setting.
///
/// ```toml
/// kind = "cyclic-cosine"
/// period = 500
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CyclicCosine {
    /// Steps in a period, at most those of the run. Of a run that ends within one, the last width is
    /// not the highest.
    pub period: NonZeroU64,
}

impl Default for CyclicCosine {
    fn default() -> Self {
        Self { period: const { NonZeroU64::new(2_000).unwrap() } } // 64 000 iterations, 32 periods
    }
}

impl PrecisionSchedule for CyclicCosine {
    fn check(&self, _widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        check_length("period", self.period, steps)
    }

    fn bits(&self, step: u64, widths: &Widths, _steps: NonZeroU64) -> u32 {
        let phase = (step % self.period) as f64 / self.period.get() as f64;
        widths.at(Profile::Cosine.growth(phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first, nonzero};

    #[test]
    fn one_period_and_the_restart() {
        let expected = [
            3, // 3 + 2.5 (1 - cos 0)    = 3.00
            3, // 3 + 2.5 (1 - cos π/5)  = 3.48
            5, // 3 + 2.5 (1 - cos 2π/5) = 4.73
            6, // 3 + 2.5 (1 - cos 3π/5) = 6.27
            8, // 3 + 2.5 (1 - cos 4π/5) = 7.52
            3, // the next period
        ];
        let schedule = CyclicCosine { period: nonzero(5) };
        assert_eq!(first(6, &schedule, 3..=8, 6), expected);
    }

    #[test]
    fn a_period_of_the_paper() {
        let widths = Widths::new(4..=8).unwrap();
        let bits = |step| CyclicCosine::default().bits(step, &widths, nonzero(64_000));
        assert_eq!([0, 500, 1_000, 1_500, 1_998].map(bits), [4, 5, 6, 7, 8]);
        assert_eq!([62_000, 62_500, 63_000, 63_500, 63_999].map(bits), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_period_beyond_the_run() {
        assert_eq!(
            error(&CyclicCosine::default(), 4..=8, 1_999).to_string(),
            "`period` is 2000, expected at most the length of the run, 1999"
        );
    }
}
