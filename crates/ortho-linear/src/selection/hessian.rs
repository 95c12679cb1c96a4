//! The weights whose removal changes the outputs of the layer most.
//!
//! # Definition
//! The $k$ places with the largest $w_{ij}^2 H_{ii} / 2$, where $H = 2 X^\top X$ is the Hessian of the
//! squared output error over calibration inputs $X$, and its diagonal alone is looked at.
//!
//! # Reference
//! Y. LeCun et al., *Optimal Brain Damage*, NeurIPS 1989.
//!
//! # Notes
//! SpQR (T. Dettmers et al., arXiv:2306.03078) divides the squared error of quantisation by the diagonal of
//! $H^{-1}$ instead, which needs all of $H$.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals};
use crate::{Mask, OrthoError, Scope};

/// Top-k by optimal brain damage; the Hessian comes with the signals.
///
/// ```toml
/// kind = "hessian"
/// ratio = 0.005
/// scope = "matrix"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hessian {
    /// Share of the weights.
    pub ratio: f64,
    /// Among which weights.
    pub scope: Scope,
}

/// Of the size of [`Magnitude`](crate::Magnitude).
impl Default for Hessian {
    fn default() -> Self {
        Self { ratio: 0.005, scope: Scope::Matrix }
    }
}

impl Selection for Hessian {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        let needs = "the diagonal of the Hessian";
        let hessian = signals.hessian.ok_or(OrthoError::Missing { selection: "hessian", needs })?;
        let (shape, weights) = (signals.weights.shape(), signals.weights.values());
        Mask::top(shape, self.ratio, self.scope, |place| {
            f64::from(weights[place]).powi(2) * f64::from(hessian[place / shape[1]])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn inputs_that_are_large() {
        let weights = [1.0, 2.0, 3.0, -4.0];
        let signals = Signals::of(Matrix::new(&weights, [2, 2]).unwrap());
        let rule = Hessian { ratio: 0.5, ..Hessian::default() };
        assert!(matches!(rule.select(&signals), Err(OrthoError::Missing { .. })));
        assert!(matches!(signals.with_hessian(&[1.0; 4]), Err(OrthoError::Length { .. })));
        let hessian = [20.0, 2.0]; // w^2 H = 20 80 18 32
        let signals = signals.with_hessian(&hessian).unwrap();
        assert_eq!(rule.select(&signals).unwrap().places(), [1, 3]);
    }
}
