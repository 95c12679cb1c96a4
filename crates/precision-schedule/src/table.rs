//! A list of widths.
//!
//! # Definition
//! $b(t) = b_{t \bmod n}$ for a list $b_0 \dots b_{n-1}$. A list shorter than the run starts again after
//! its end; of a longer one, the rest is not used. In epochs ([`PerEpoch`](crate::PerEpoch)), a width for
//! each epoch.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::{PrecisionSchedule, ScheduleError, Widths};

/// A width for each step. By default 8 bits.
///
/// ```toml
/// kind = "table"
/// bits = [8, 6, 4, 4, 6, 8]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// $b_0 \dots b_{n-1}$, at least one.
    pub bits: Vec<u32>,
}

impl Default for Table {
    fn default() -> Self {
        Self { bits: vec![8] }
    }
}

impl PrecisionSchedule for Table {
    fn check(&self, widths: &Widths, _steps: NonZeroU64) -> Result<(), ScheduleError> {
        if self.bits.is_empty() {
            return Err(ScheduleError::EmptyTable);
        }
        let mut rows = self.bits.iter().enumerate();
        rows.try_for_each(|(row, &bits)| widths.check(format_args!("bits[{row}]"), bits))
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the length")]
    fn bits(&self, step: u64, widths: &Widths, _steps: NonZeroU64) -> u32 {
        let row = step.checked_rem(self.bits.len() as u64);
        row.map_or(widths.highest(), |row| self.bits[row as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first};

    #[test]
    fn a_list_starts_again_after_its_end() {
        let table = Table { bits: vec![8, 4, 6] };
        assert_eq!(first(7, &table, [4, 6, 8], 7), [8, 4, 6, 8, 4, 6, 8]);
        assert_eq!(first(2, &table, [4, 6, 8], 2), [8, 4]);
    }

    #[test]
    fn errors_name_the_row() {
        let error = |bits| error(&Table { bits }, [4, 6, 8], 7).to_string();
        assert_eq!(error(vec![]), "`bits` is empty, expected at least one width");
        assert_eq!(error(vec![8, 5]), "`bits[1]` is 5, expected one of `widths`, [4, 6, 8]");
    }
}
