//! A width that changes at listed steps.
//!
//! # Definition
//! $b(t)$ is the width of the last change at a step $\le t$, and $b_0$ before the first.
//!
//! # Reference
//! With one change, from low to high, it is the critical learning period test of C. R. Wolfe and A.
//! Kyrillidis, arXiv:2403.02243: the lowest width for the first $R$ steps, then a full run at the highest,
//! compared with $R = 0$.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::{PrecisionSchedule, ScheduleError, Widths};

/// A piecewise constant width. By default 8 bits throughout.
///
/// ```toml
/// kind = "step"
/// first = 4
/// changes = [{ step = 1000, bits = 6 }, { step = 3000, bits = 8 }]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// $b_0$, the width from the first step on.
    pub first: u32,
    /// What follows, in the order of the steps.
    pub changes: Vec<Change>,
}

/// A change of the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The first step at the new width, above 0 and before the end of the run.
    pub step: u64,
    /// The new width.
    pub bits: u32,
}

impl Default for Step {
    fn default() -> Self {
        Self { first: 8, changes: Vec::new() }
    }
}

impl PrecisionSchedule for Step {
    fn check(&self, widths: &Widths, steps: NonZeroU64) -> Result<(), ScheduleError> {
        widths.check("first", self.first)?;
        let (mut previous, steps) = (0, steps.get());
        for (index, &Change { step, bits }) in self.changes.iter().enumerate() {
            if step <= previous {
                return Err(ScheduleError::ChangeOrder { index, step, previous });
            }
            if step >= steps {
                return Err(ScheduleError::ChangeBeyondRun { index, step, steps });
            }
            widths.check(format_args!("changes[{index}].bits"), bits)?;
            previous = step;
        }
        Ok(())
    }

    fn bits(&self, step: u64, _widths: &Widths, _steps: NonZeroU64) -> u32 {
        let made = self.changes.partition_point(|change| change.step <= step);
        made.checked_sub(1).map_or(self.first, |last| self.changes[last].bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first};

    fn step(changes: &[(u64, u32)]) -> Step {
        let changes = changes.iter().map(|&(step, bits)| Change { step, bits }).collect();
        Step { first: 4, changes }
    }

    #[test]
    fn widths_hold_until_the_next_change() {
        let schedule = step(&[(2, 8), (3, 6)]);
        assert_eq!(first(6, &schedule, [4, 6, 8], 5), [4, 4, 8, 6, 6, 6]);
        assert_eq!(first(3, &step(&[]), [4, 6, 8], 5), [4, 4, 4]);
    }

    #[test]
    fn errors_name_the_change() {
        for (changes, expected) in [
            (&[(0, 8)][..], "`changes[0].step` is 0, expected more than 0"),
            (&[(2, 8), (2, 6)], "`changes[1].step` is 2, expected more than 2"),
            (
                &[(2, 8), (5, 6)],
                "`changes[1].step` is 5, expected less than the length of the run, 5",
            ),
            (&[(2, 7)], "`changes[0].bits` is 7, expected one of `widths`, [4, 6, 8]"),
        ] {
            assert_eq!(error(&step(changes), [4, 6, 8], 5).to_string(), expected);
        }
        assert_eq!(
            error(&step(&[]), [6, 8], 5).to_string(),
            "`first` is 4, expected one of `widths`, [6, 8]"
        );
    }
}
