//! The largest magnitudes.
//!
//! # Definition
//! The $k$ places with the largest $|w|$, $k = \operatorname{round}(\mathrm{ratio} \cdot n)$, of the matrix
//! or of each output channel.
//!
//! # Notes
//! A mask for compression, not for forgetting: extracting the largest 5 % of a normal matrix changes it
//! by half its norm, at any precision of the base.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals};
use crate::{Mask, OrthoError, Scope};

/// Top-k by magnitude.
///
/// ```toml
/// kind = "magnitude"
/// ratio = 0.005
/// scope = "matrix"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Magnitude {
    /// Share of the weights.
    pub ratio: f64,
    /// Among which weights.
    pub scope: Scope,
}

/// Half a percent, as of SqueezeLLM.
impl Default for Magnitude {
    fn default() -> Self {
        Self { ratio: 0.005, scope: Scope::Matrix }
    }
}

impl Selection for Magnitude {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        let weights = signals.weights;
        Mask::top(weights.shape(), self.ratio, self.scope, |place| {
            f64::from(weights.values()[place].abs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn either_sign() {
        let values = [0.1, -3.0, 2.0, -0.2, 0.3, 2.5];
        let signals = Signals::of(Matrix::new(&values, [3, 2]).unwrap());
        let select = |ratio, scope| Magnitude { ratio, scope }.select(&signals).unwrap();
        assert_eq!(select(0.34, Scope::Matrix).places(), [1, 5]); // 2.04
        // Channels .1 2 .3 and -3 -.2 2.5: one each.
        assert_eq!(select(0.34, Scope::Channel).places(), [1, 2]);
    }
}
