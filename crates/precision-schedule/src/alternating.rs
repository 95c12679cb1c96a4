//! A profile that falls and rises in turn, the triangular schedules: CT, LT, ETV, ETH, RTV and RTH.
//!
//! # Definition
//! Cycle $k$ and phase $z$ of step $t$, a profile $g$ (see [`Profile`]). Odd cycles grow, even ones are a
//! decay, which is the growth turned upside down (V) or read backwards (H); the width is the one nearest
//! to $w_0 + (w_n - w_0)\, h(t)$ with
//! $$ h = g(z) \quad (k\ \text{odd}), \qquad
//!    h = 1 - g(z) \quad (k\ \text{even, V}), \qquad h = g(1 - z) \quad (k\ \text{even, H}). $$
//! For the cosine and the line, V and H are the same. The run starts at the highest width, and ends there
//! if the number of cycles is even and, where cycles are truncated, divides the run. A cycle is half a triangle.
//!
//! # Reference
//! C. R. Wolfe and A. Kyrillidis, *Better Schedules for Low Precision Training of Deep Neural Networks*,
//! Machine Learning 2024, arXiv:2403.02243. Code: wolfecameron/BetterPrecisionSchedules,
//! `cpt_cifar/quant_scheds.py` and `cpt_xnli/modules/quant_scheds.py`, which calls the growing schedules
//! `..._growth` and these `..._decay`.
//!
//! # Notes on the reference implementation
//! It truncates cycles to whole steps, see [`Division`]. An odd number of cycles ends the run at the lowest
//! width, where the model is the worst: it runs such a schedule, we refuse it unless asked.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::cycle::{Phase, check_cycles};
use crate::{Division, PrecisionSchedule, Profile, ScheduleError, Widths};

/// How a decay is made of a growth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flip {
    /// $1 - g(z)$.
    #[default]
    Vertical,
    /// $g(1 - z)$.
    Horizontal,
}

/// Decay from the highest width and growth back to it, a cycle each. The default is the paper's CT for
/// training from scratch.
///
/// ```toml
/// kind = "alternating"
/// profile = "rex"
/// flip = "horizontal"
/// cycles = 8
/// division = "exact"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alternating {
    /// $g$.
    pub profile: Profile,
    /// Which decay; without effect on `cosine` and `linear`.
    pub flip: Flip,
    /// $n$, falling and rising ones together, at most the steps of the run.
    pub cycles: NonZeroU64,
    /// How the run is cut into cycles.
    pub division: Division,
    /// Whether the number of cycles may be odd, with the end of the run at the lowest width.
    pub may_end_low: bool,
}

impl Default for Alternating {
    fn default() -> Self {
        Self {
            profile: Profile::Cosine,
            flip: Flip::Vertical,
            cycles: const { NonZeroU64::new(8).unwrap() },
            division: Division::Exact,
            may_end_low: false,
        }
    }
}

impl PrecisionSchedule for Alternating {
    fn check(&self, _widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        let cycles = self.cycles.get();
        if cycles % 2 == 1 && !self.may_end_low {
            return Err(ScheduleError::OddCycles { cycles });
        }
        check_cycles(self.cycles, steps)
    }

    fn bits(&self, step: u64, widths: &Widths, steps: NonZeroU64) -> u32 {
        let Phase { cycle, z } = self.division.phase(step, steps, self.cycles);
        widths.at(match (cycle % 2, self.flip) {
            (0, Flip::Vertical) => 1.0 - self.profile.growth(z),
            (0, Flip::Horizontal) => self.profile.growth(1.0 - z),
            _ => self.profile.growth(z),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first, nonzero};

    fn alternating(profile: Profile, flip: Flip, cycles: u64) -> Alternating {
        Alternating { profile, flip, cycles: nonzero(cycles), ..Alternating::default() }
    }

    /// 4 to 8 bits at z = 0, 1/8, ..., 7/8 of the first cycle.
    #[test]
    fn decays_in_eighths() {
        for (profile, flip, expected) in [
            (Profile::Cosine, Flip::Vertical, [8, 8, 7, 7, 6, 5, 5, 4]),
            (Profile::Cosine, Flip::Horizontal, [8, 8, 7, 7, 6, 5, 5, 4]),
            // 8, 7.5 -> 8, 7, 6.5 -> 6, 6, 5.5 -> 6, 5, 4.5 -> 4
            (Profile::Linear, Flip::Vertical, [8, 8, 7, 6, 6, 6, 5, 4]),
            (Profile::Linear, Flip::Horizontal, [8, 8, 7, 6, 6, 6, 5, 4]),
            // 4 + 4 e^(-4z): 8, 6.43, 5.47, 4.89, 4.54, 4.33, 4.20, 4.12
            (Profile::Exponential, Flip::Vertical, [8, 6, 5, 5, 5, 4, 4, 4]),
            // 8 - 4 e^(-4 + 4z): 7.93, 7.88, 7.80, 7.67, 7.46, 7.11, 6.53, 5.57
            (Profile::Exponential, Flip::Horizontal, [8, 8, 8, 8, 7, 7, 7, 6]),
            // 8, 7.94, 7.87, 7.77, 7.64, 7.43, 7.08, 6.35
            (Profile::Rex, Flip::Vertical, [8, 8, 8, 8, 8, 7, 7, 6]),
            // 8, 5.65, 4.92, 4.57, 4.36, 4.23, 4.13, 4.06
            (Profile::Rex, Flip::Horizontal, [8, 6, 5, 5, 4, 4, 4, 4]),
        ] {
            let found = first(8, &alternating(profile, flip, 2), 4..=8, 16);
            assert_eq!(found, expected, "{profile:?} {flip:?}");
        }
    }

    #[test]
    fn falling_then_rising_and_up_at_the_end() {
        let schedule = alternating(Profile::Linear, Flip::Vertical, 4);
        assert_eq!(first(16, &schedule, 4..=8, 16), [8, 7, 6, 5, 4, 5, 6, 7].repeat(2));
    }

    #[test]
    fn an_odd_number_of_cycles_is_refused_unless_asked_for() {
        let schedule = alternating(Profile::Linear, Flip::Vertical, 3);
        assert_eq!(
            error(&schedule, 4..=8, 12).to_string(),
            "`cycles` is 3, expected an even number, with which the run ends at the highest width; \
             `may_end_low` allows it"
        );
        let schedule = Alternating { may_end_low: true, ..schedule };
        assert_eq!(first(12, &schedule, 4..=8, 12), [8, 7, 6, 5, 4, 5, 6, 7, 8, 7, 6, 5]);
    }
}
