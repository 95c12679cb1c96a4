//! Whose rules hold.

use serde::{Deserialize, Serialize};

/// Whose rules hold where WeightWatcher's are arguable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Thresholds without a scale, no number from a failed fit, no verdict on a point estimate.
    #[default]
    Strict,
    /// The columns and sentinels of WeightWatcher 0.7.7.
    Compat,
}
