//! A width drawn for every step.
//!
//! # Definition
//! $b(t)$ is uniform on the set and independent of all other steps: word 0 onwards of the key *seed*,
//! *precision-schedule*, $t$ of [`counter_rng`], without modulo bias. The draw of a step is a function of
//! seed and step alone.

use std::num::NonZeroU64;

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::{PrecisionSchedule, ScheduleError, Widths};

/// A uniform width for every step.
///
/// ```toml
/// kind = "random"
/// seed = 137
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Random {
    /// Another seed is another schedule.
    pub seed: u64,
}

impl Default for Random {
    fn default() -> Self {
        Self { seed: 137 }
    }
}

impl PrecisionSchedule for Random {
    fn check(&self, _widths: &Widths, _steps: NonZeroU64) -> Result<(), ScheduleError> {
        Ok(())
    }

    fn bits(&self, step: u64, widths: &Widths, _steps: NonZeroU64) -> u32 {
        let widths = widths.as_slice();
        let key = Key::from_seed(self.seed).derive("precision-schedule").index(step);
        let count = NonZeroU64::MIN.saturating_add(widths.len() as u64 - 1); // never empty
        #[expect(clippy::cast_possible_truncation, reason = "below the length")]
        let drawn = key.words(0).below(count) as usize;
        widths[drawn]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::first;

    #[test]
    fn the_set_is_covered_evenly() {
        let drawn = first(30_000, &Random::default(), [4, 6, 8], 30_000);
        for bits in [4, 6, 8] {
            let count = drawn.iter().filter(|&&it| it == bits).count();
            // Expectation 10 000, standard deviation sqrt(30 000 * 2/9) = 82; five of them.
            assert!(count.abs_diff(10_000) < 410, "{bits}: {count}");
        }
        // Neighbours are independent: pairs of equal widths are a third of all, with the same deviation.
        let pairs = drawn.array_windows().filter(|[a, b]| a == b).count();
        assert!(pairs.abs_diff(10_000) < 410, "{pairs}");
    }

    /// A change here changes every run with such a schedule. The assertion prints what was found.
    #[test]
    fn golden_draws() {
        let drawn = |seed| first(10, &Random { seed }, 3..=8, 10);
        assert_eq!(drawn(137), [7, 7, 3, 6, 7, 4, 6, 7, 8, 6]);
        assert_ne!(drawn(137), drawn(138));
    }
}
