//! Where in its cycle a step is.
//!
//! # Definition
//! A run of $T$ steps has $n$ cycles. Step $t$ is in cycle $k$ at phase $z \in [0, 1)$:
//! $$ \text{exact:}\quad t n = k T + r,\ 0 \le r < T,\ z = r / T; \qquad
//!    \text{truncated:}\quad P = \lfloor T / n \rfloor,\ t = k P + r,\ 0 \le r < P,\ z = r / P. $$
//! Both are the same if $n$ divides $T$. If it does not, exact cycles differ in length by a step at most
//! and the run ends with the last of them, while after $n$ truncated ones the $T - nP$ steps that are left
//! begin another.
//!
//! All in integers: no error adds up over a long run.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::ScheduleError;

/// How a run is divided into cycles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// The run ends where the last cycle does; cycles may differ in length by a step.
    #[default]
    Exact,
    /// Cycles of $\lfloor T / n \rfloor$ steps, as in the code of CPT and of Wolfe and Kyrillidis: the
    /// steps that are left over begin another cycle.
    Truncated,
}

/// The place of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phase {
    /// $k$, modulo $2^{64}$.
    pub(crate) cycle: u64,
    /// $z$.
    pub(crate) z: f64,
}

impl Division {
    /// The place of `step` in a run of `steps` with `cycles`.
    pub(crate) fn phase(self, step: u64, steps: NonZeroU64, cycles: NonZeroU64) -> Phase {
        let (step, steps, cycles) = [step, steps.get(), cycles.get()].map(u128::from).into();
        let (place, length) = match self {
            Self::Exact => (step * cycles, steps),
            Self::Truncated => (step, (steps / cycles).max(1)),
        };
        #[expect(clippy::cast_possible_truncation, reason = "only its last bit is of interest")]
        let cycle = (place / length) as u64;
        Phase { cycle, z: (place % length) as f64 / length as f64 }
    }
}

/// Checks that every cycle has a step.
pub(crate) fn check_cycles(cycles: NonZeroU64, steps: NonZeroU64) -> Result<(), ScheduleError> {
    check_length("cycles", cycles, steps)
}

/// Checks that a number of steps, or of parts of a run, is not larger than the run.
pub(crate) fn check_length(
    key: &'static str,
    value: NonZeroU64,
    steps: NonZeroU64,
) -> Result<(), ScheduleError> {
    if value > steps {
        return Err(ScheduleError::BeyondRun { key, value: value.get(), steps: steps.get() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonzero(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n).unwrap()
    }

    fn places(division: Division, steps: u64, cycles: u64) -> Vec<(u64, f64)> {
        let phase = |step| division.phase(step, nonzero(steps), nonzero(cycles));
        (0..steps).map(phase).map(|phase| (phase.cycle, phase.z)).collect()
    }

    #[test]
    fn three_cycles_of_eight_steps() {
        // 3 t = 8 k + r: 0, 3, 6, 9, 12, 15, 18, 21.
        let expected = [
            (0, 0.0),
            (0, 0.375),
            (0, 0.75),
            (1, 0.125),
            (1, 0.5),
            (1, 0.875),
            (2, 0.25),
            (2, 0.625),
        ];
        assert_eq!(places(Division::Exact, 8, 3), expected);
        // P = 2, and two steps are left.
        let expected =
            [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0), (2, 0.5), (3, 0.0), (3, 0.5)];
        assert_eq!(places(Division::Truncated, 8, 3), expected);
    }

    #[test]
    fn nothing_overflows() {
        let most = NonZeroU64::MAX;
        let place = Division::Exact.phase(u64::MAX, most, most);
        assert_eq!((place.cycle, place.z), (u64::MAX, 0.0));
        let place = Division::Truncated.phase(7, nonzero(2), nonzero(3)); // which no check passes
        assert_eq!((place.cycle, place.z), (7, 0.0));
    }

    proptest! {
        #[test]
        fn divisions_agree_where_cycles_are_whole(cycles in 1_u64..50, length in 1_u64..200) {
            let steps = cycles * length;
            prop_assert_eq!(
                places(Division::Exact, steps, cycles),
                places(Division::Truncated, steps, cycles)
            );
        }

        #[test]
        fn exact_cycles_are_all_there_and_equally_long(steps in 1_u64..2_000, cycles in 1_u64..60) {
            prop_assume!(cycles <= steps);
            let places = places(Division::Exact, steps, cycles);
            prop_assert!(places.iter().all(|(_, z)| (0.0..1.0).contains(z)));
            for cycle in 0..cycles {
                let length = places.iter().filter(|(it, _)| *it == cycle).count() as u64;
                prop_assert!(length == steps / cycles || length == steps.div_ceil(cycles));
            }
        }
    }
}
