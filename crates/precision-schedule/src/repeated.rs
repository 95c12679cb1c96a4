//! A growth profile, restarted in every cycle: CR, LR, ER and RR.
//!
//! # Definition
//! With the phase $z$ of step $t$ in its cycle and a profile $g$ (see [`Profile`]), the
//! width is the one nearest to
//! $$ v(t) = w_0 + (w_n - w_0)\, g(z). $$
//! Every cycle starts at the lowest width and is followed at once by the next one.
//!
//! # Reference
//! C. R. Wolfe and A. Kyrillidis, *Better Schedules for Low Precision Training of Deep Neural Networks*,
//! Machine Learning 2024, arXiv:2403.02243: the schedules CR, LR, ER and RR; CR is CPT's
//! (arXiv:2101.09868). Code: wolfecameron/BetterPrecisionSchedules, `cpt_cifar/quant_scheds.py`.
//!
//! # Notes on the reference implementation
//! It truncates cycles to whole steps and begins another with those that are left
//! ([`Division::Truncated`]); ours end with the run. For fine-tuning the paper takes 2 cycles, not 8.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::check_cycles;
use crate::{Division, PrecisionSchedule, Profile, ScheduleError, Widths};

/// Growth from the lowest width to the highest in every cycle. The default is the paper's CR for
/// training from scratch.
///
/// ```toml
/// kind = "repeated"
/// profile = "rex"
/// cycles = 2
/// division = "exact"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repeated {
    /// $g$.
    pub profile: Profile,
    /// $n$, at most the steps of the run.
    pub cycles: NonZeroU64,
    /// How the run is cut into cycles.
    pub division: Division,
}

impl Default for Repeated {
    fn default() -> Self {
        Self {
            profile: Profile::Cosine,
            cycles: const { NonZeroU64::new(8).unwrap() },
            division: Division::Exact,
        }
    }
}

impl PrecisionSchedule for Repeated {
    fn check(&self, _widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        check_cycles(self.cycles, steps)
    }

    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32 {
        widths.at(self.profile.growth(self.division.phase(step, steps, self.cycles).z))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first, nonzero};

    fn repeated(profile: Profile, cycles: u64, division: Division) -> Repeated {
        Repeated { profile, cycles: nonzero(cycles), division }
    }

    /// 4 to 8 bits at z = 0, 1/8, ..., 7/8.
    #[test]
    fn profiles_in_eighths() {
        for (profile, expected) in [
            // 4, 4.15, 4.59, 5.23, 6, 6.77, 7.41, 7.85
            (Profile::Cosine, [4, 4, 5, 5, 6, 7, 7, 8]),
            // 4, 4.5 -> 4, 5, 5.5 -> 6, 6, 6.5 -> 6, 7, 7.5 -> 8
            (Profile::Linear, [4, 4, 5, 6, 6, 6, 7, 8]),
            // 4, 5.57, 6.53, 7.11, 7.46, 7.67, 7.80, 7.88
            (Profile::Exponential, [4, 6, 7, 7, 7, 8, 8, 8]),
            // 4, 4.06, 4.13, 4.23, 4.36, 4.57, 4.92, 5.65
            (Profile::Rex, [4, 4, 4, 4, 4, 5, 5, 6]),
        ] {
            let schedule = repeated(profile, 2, Division::Exact);
            assert_eq!(first(16, &schedule, 4..=8, 16), [expected, expected].concat());
        }
    }

    #[test]
    fn cycles_that_do_not_divide_the_run() {
        // z = 0, 3/8, 6/8, 1/8, 4/8, 7/8, 2/8, 5/8 of the linear ramp 0 to 8 above 2.
        let exact = repeated(Profile::Linear, 3, Division::Exact);
        assert_eq!(first(8, &exact, 2..=10, 8), [2, 5, 8, 3, 6, 9, 4, 7]);
        // Cycles of two steps, z = 0 and 1/2; the fourth is the left-over.
        let truncated = repeated(Profile::Linear, 3, Division::Truncated);
        assert_eq!(first(8, &truncated, 2..=10, 8), [2, 6, 2, 6, 2, 6, 2, 6]);
    }

    #[test]
    fn more_cycles_than_steps() {
        let schedule = repeated(Profile::Cosine, 9, Division::Truncated);
        assert_eq!(
            error(&schedule, 4..=8, 8).to_string(),
            "`cycles` is 9, expected at most the length of the run, 8"
        );
    }
}
