//! One width from the first step to the last.
//!
//! # Definition
//! $b(t) = b$: the static training that every other schedule is compared with.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::{PrecisionSchedule, ScheduleError, Widths};

/// The same width in every step. By default 8 bits, the baseline of CPT.
///
/// ```toml
/// kind = "constant"
/// bits = 6
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constant {
    /// $b$, one of the configured widths.
    pub bits: u32,
}

impl Default for Constant {
    fn default() -> Self {
        Self { bits: 8 }
    }
}

impl PrecisionSchedule for Constant {
    fn check(&self, widths: &Widths, _steps: NonZeroU64) -> Result<(), ScheduleError> {
        widths.check("bits", self.bits)
    }

    fn bits(&self, _step: u64, _widths: &Widths, _steps: NonZeroU64) -> u32 {
        self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{error, first};

    #[test]
    fn one_width_of_the_set() {
        assert_eq!(first(6, &Constant { bits: 6 }, [4, 6, 8], 6), [6; 6]);
        assert_eq!(
            error(&Constant { bits: 5 }, [4, 6, 8], 6).to_string(),
            "`bits` is 5, expected one of `widths`, [4, 6, 8]"
        );
    }
}
