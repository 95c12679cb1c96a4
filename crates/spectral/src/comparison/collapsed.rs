//! Whether quantisation destroyed a matrix, whatever its exponent says.
//!
//! A destroyed matrix may have the healthiest exponent of all: at 2 bits with one scale, more layers lie
//! in [2, 6] than in full precision. So a matrix is *collapsed* for any of the reasons below, and each
//! that holds is listed.

use serde::{Deserialize, Serialize};

use crate::WeightDifference;

/// A way in which a matrix is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CollapseReason {
    /// The rank fell below a share of what it was.
    #[error("rank")]
    Rank,
    /// Too many entries are zero.
    #[error("zeros")]
    Zeros,
    /// A row or column became zero.
    #[error("lost_line")]
    LostLine,
    /// Too few distinct values.
    #[error("levels")]
    Levels,
    /// The error is nearly as large as the weights.
    #[error("snr")]
    Snr,
}

/// Where the limits lie. A value at its limit is collapsed for `levels` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseLimits {
    /// Least share of the rank that must remain.
    pub rank_share: f64,
    /// Largest share of zeros.
    pub zero_fraction: f64,
    /// Most distinct values that are too few: three are the levels of two bits.
    pub levels: usize,
    /// Least signal to noise, in decibels.
    pub snr_db: f64,
}

impl Default for CollapseLimits {
    fn default() -> Self {
        Self { rank_share: 0.9, zero_fraction: 0.9, levels: 3, snr_db: 3.0 }
    }
}

impl CollapseLimits {
    /// Every reason to call a matrix collapsed, whose entries changed by `weights` and whose rank went
    /// from `rank_before` to `rank_after`; none for a sound one.
    pub fn reasons(
        &self,
        weights: &WeightDifference,
        rank_before: usize,
        rank_after: usize,
    ) -> Vec<CollapseReason> {
        [
            (CollapseReason::Rank, (rank_after as f64) < self.rank_share * rank_before as f64),
            (CollapseReason::Zeros, weights.zero_fraction > self.zero_fraction),
            (CollapseReason::LostLine, weights.lost > 0),
            (CollapseReason::Levels, weights.levels <= self.levels),
            (CollapseReason::Snr, weights.snr_db < self.snr_db),
        ]
        .into_iter()
        .filter_map(|(reason, holds)| holds.then_some(reason))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: WeightDifference = WeightDifference {
        error_norm: 0.1,
        relative_error: 0.1,
        snr_db: 20.0,
        zero_fraction: 0.9,
        zero_rows: 1, // it was zero before
        zero_columns: 0,
        lost: 0,
        levels: 4,
    };

    #[test]
    fn a_sound_matrix_at_every_limit() {
        assert_eq!(CollapseLimits::default().reasons(&SOUND, 100, 90), []);
    }

    #[test]
    fn each_reason_alone_and_all_together() {
        let reasons = |weights, after| CollapseLimits::default().reasons(&weights, 100, after);
        assert_eq!(reasons(SOUND, 89), [CollapseReason::Rank]);
        let zeros = WeightDifference { zero_fraction: 0.91, ..SOUND };
        assert_eq!(reasons(zeros, 100), [CollapseReason::Zeros]);
        let lost = WeightDifference { lost: 1, ..SOUND };
        assert_eq!(reasons(lost, 100), [CollapseReason::LostLine]);
        let levels = WeightDifference { levels: 3, ..SOUND };
        assert_eq!(reasons(levels, 100), [CollapseReason::Levels]);
        let noisy = WeightDifference { snr_db: 2.9, ..SOUND };
        assert_eq!(reasons(noisy, 100), [CollapseReason::Snr]);
        let dead =
            WeightDifference { levels: 1, snr_db: 0.0, lost: 8, zero_fraction: 1.0, ..SOUND };
        assert_eq!(reasons(dead, 0).len(), 5);
    }
}
