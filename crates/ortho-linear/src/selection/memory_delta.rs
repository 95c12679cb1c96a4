//! The largest changes of fine-tuning.
//!
//! # Definition
//! The $k$ places with the largest $|w - w_0|$, where $w_0$ is the weight before fine-tuning. With
//! [`Split::delta`](crate::Split::delta), $\alpha = 0$ undoes these changes and no others: what was changed
//! off the mask stays in the base. [`Change::captured`](crate::Change::captured) says how much that is.
//!
//! # Reference
//! Task arithmetic (G. Ilharco et al., ICLR 2023, arXiv:2212.04089), on a mask.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals};
use crate::{Mask, OrthoError, Scope};

/// Top-k by change.
///
/// ```toml
/// kind = "memory-delta"
/// ratio = 0.005
/// scope = "matrix"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryDelta {
    /// Share of the weights.
    pub ratio: f64,
    /// Among which weights.
    pub scope: Scope,
}

/// Of the size of [`Magnitude`](crate::Magnitude).
impl Default for MemoryDelta {
    fn default() -> Self {
        Self { ratio: 0.005, scope: Scope::Matrix }
    }
}

impl Selection for MemoryDelta {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        let delta = signals.delta("memory-delta")?;
        let shape = signals.weights.shape();
        Mask::top(shape, self.ratio, self.scope, |place| delta(place).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn changes_and_not_weights() {
        let (after, before) = ([9.0, 1.0, -2.0, 0.5], [9.0, 1.25, 0.0, 0.0]); // 0 -.25 -2 .5
        let [after, before] = [&after, &before].map(|it| Matrix::new(it, [2, 2]).unwrap());
        let rule = MemoryDelta { ratio: 0.5, ..MemoryDelta::default() };
        let signals = Signals::of(after).with_pretrained(before).unwrap();
        assert_eq!(rule.select(&signals).unwrap().places(), [2, 3]);
        let error = rule.select(&Signals::of(after)).unwrap_err();
        assert!(matches!(error, OrthoError::Missing { selection: "memory-delta", .. }));
        let other = [0.0; 4];
        let other = Matrix::new(&other, [4, 1]).unwrap();
        let error = Signals::of(after).with_pretrained(other).unwrap_err().to_string();
        assert_eq!(error, "the pretrained matrix is [4, 1], expected [2, 2]");
    }
}
