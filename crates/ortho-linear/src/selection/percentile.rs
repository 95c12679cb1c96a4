//! Outside two quantiles.
//!
//! # Definition
//! What lies below the empirical quantile at `low` or above that at `high`, of the matrix or of each output
//! channel; quantiles are linear between the values next to $(n - 1) p$. Values equal to a quantile stay.
//!
//! # Notes on the reference implementation
//! See [`Bulk`](crate::Bulk), whose outliers these are.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals, ends_by, outside, quantiles};
use crate::{Mask, Matrix, OrthoError, Scope};

/// Both tails.
///
/// ```toml
/// kind = "percentile"
/// low = 0.005
/// high = 0.995
/// scope = "channel"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Percentile {
    /// Share of the values below the lower quantile.
    pub low: f64,
    /// Share of the values below the upper quantile.
    pub high: f64,
    /// Whose quantiles.
    pub scope: Scope,
}

/// Half a percent at each end.
impl Default for Percentile {
    fn default() -> Self {
        Self { low: 0.005, high: 0.995, scope: Scope::Channel }
    }
}

impl Percentile {
    /// The two quantiles of the matrix, or of each channel.
    pub(crate) fn extents(&self, weights: Matrix<'_>) -> Result<Vec<[f64; 2]>, OrthoError> {
        if !(0.0..=1.0).contains(&self.low) {
            let expected = "0 to 1";
            return Err(OrthoError::Setting { key: "low", value: self.low, expected });
        }
        if !(self.low..=1.0).contains(&self.high) {
            let expected = "`low` to 1";
            return Err(OrthoError::Setting { key: "high", value: self.high, expected });
        }
        Ok(ends_by(weights, self.scope, |values| quantiles(values, self.low, self.high)))
    }
}

impl Selection for Percentile {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        Ok(outside(signals.weights, &self.extents(signals.weights)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends() {
        // Of 0 to 9, (10 - 1) * .15 = 1.35 and 9 * .9 = 8.1.
        let values: Vec<f32> = (0_u8..10).map(f32::from).collect();
        let signals = Signals::of(Matrix::new(&values, [10, 1]).unwrap());
        let select = |low, high| Percentile { low, high, scope: Scope::Matrix }.select(&signals);
        assert_eq!(select(0.15, 0.9).unwrap().places(), [0, 1, 9]);
        assert!(select(0.0, 1.0).unwrap().places().is_empty());
        assert!(matches!(select(-0.1, 1.0), Err(OrthoError::Setting { key: "low", .. })));
        assert!(matches!(select(0.6, 0.5), Err(OrthoError::Setting { key: "high", .. })));
        assert!(select(0.5, f64::NAN).is_err());
    }
}
