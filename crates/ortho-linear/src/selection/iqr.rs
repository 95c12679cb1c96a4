//! Beyond a multiple of the interquartile range.
//!
//! # Definition
//! With the quartiles $q_1$ and $q_3$, what lies below $q_1 - k\,(q_3 - q_1)$ or above
//! $q_3 + k\,(q_3 - q_1)$; quantiles are linear between two values. Of a normal distribution,
//! $k$ = 1.5 is 2.698 standard deviations and selects .698 %, $k$ = 2 selects .0745 %.
//!
//! # Reference
//! J. Tukey, *Exploratory Data Analysis*, 1977; with $k$ from 1.5 to 2 in the code of S. Kim et al.,
//! *SqueezeLLM*, ICML 2024, arXiv:2306.07629.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals, check_factor, ends_by, outside, quantiles};
use crate::{Mask, OrthoError, Scope};

/// Tukey's fences.
///
/// ```toml
/// kind = "iqr"
/// factor = 1.5
/// scope = "matrix"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Iqr {
    /// $k$, above 0.
    pub factor: f64,
    /// Whose quartiles.
    pub scope: Scope,
}

impl Default for Iqr {
    fn default() -> Self {
        Self { factor: 1.5, scope: Scope::Matrix }
    }
}

impl Selection for Iqr {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        check_factor("factor", self.factor)?;
        let fences = |values: &mut [f32]| {
            let [q1, q3] = quantiles(values, 0.25, 0.75);
            [q1 - self.factor * (q3 - q1), q3 + self.factor * (q3 - q1)]
        };
        Ok(outside(signals.weights, &ends_by(signals.weights, self.scope, fences)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn fences_by_hand() {
        // Quartiles of 0 1 2 3 4 5 6 7 30: 2 and 6. Fences -4 and 12 at 1.5; -22 and 30 at 6, included.
        let values = [3.0, 0.0, 30.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0];
        let signals = Signals::of(Matrix::new(&values, [9, 1]).unwrap());
        let select = |factor| Iqr { factor, scope: Scope::Channel }.select(&signals);
        assert_eq!(select(1.5).unwrap().places(), [2]);
        assert_eq!(select(6.0).unwrap().places(), [0; 0]);
        assert!(matches!(select(0.0), Err(OrthoError::Setting { key: "factor", .. })));
    }
}
