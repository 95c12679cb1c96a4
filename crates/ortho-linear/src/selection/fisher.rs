//! The weights whose removal a quadratic model of the loss notices most.
//!
//! # Definition
//! The $k$ places with the largest $F_{ij}\,p_{ij}^2$, where $F$ is the diagonal of the Fisher information
//! and $p$ what is taken away: the weight $w$, or the change $w - w_0$ of fine-tuning. To forget, give
//! as $F$ the quotient of that of what is forgotten and that of what is kept.
//!
//! # Reference
//! S. Kim et al., *SqueezeLLM*, ICML 2024, arXiv:2306.07629, for $F$ and weights.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals};
use crate::{Mask, OrthoError, Scope};

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Perturbation {
    /// The weight.
    #[default]
    Weight,
    /// Its change from the pretrained one.
    Delta,
}

/// Top-k by Fisher information, which comes with the signals.
///
/// ```toml
/// kind = "fisher"
/// ratio = 0.0005
/// scope = "matrix"
/// perturbation = "weight"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fisher {
    /// Share of the weights.
    pub ratio: f64,
    /// Among which weights.
    pub scope: Scope,
    /// What is taken away.
    pub perturbation: Perturbation,
}

/// The share of sensitive weights in SqueezeLLM.
impl Default for Fisher {
    fn default() -> Self {
        let perturbation = Perturbation::Weight;
        Self { ratio: 0.0005, scope: Scope::Matrix, perturbation }
    }
}

impl Selection for Fisher {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        let needs = "the Fisher information";
        let fisher = signals.fisher.ok_or(OrthoError::Missing { selection: "fisher", needs })?;
        let (shape, weights) = (signals.weights.shape(), signals.weights.values());
        let score = |place: usize, it: f64| f64::from(fisher[place]) * it * it;
        match self.perturbation {
            Perturbation::Weight => Mask::top(shape, self.ratio, self.scope, |place| {
                score(place, f64::from(weights[place]))
            }),
            Perturbation::Delta => {
                let delta = signals.delta("fisher")?;
                Mask::top(shape, self.ratio, self.scope, |place| score(place, delta(place)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn by_weight_and_by_change() {
        let (weights, before) = ([1.0, 2.0, 3.0, -4.0], [1.0, 2.5, 1.0, -4.0]);
        let fisher = [9.0, 1.0, 0.5, 0.0]; // w^2 F = 9 4 4.5 0; dW^2 F = 0 .25 2 0
        let [weights, before] = [&weights, &before].map(|it| Matrix::new(it, [2, 2]).unwrap());
        let signals = Signals::of(weights).with_fisher(&fisher).unwrap();
        let rule = Fisher { ratio: 0.5, ..Fisher::default() };
        assert_eq!(rule.select(&signals).unwrap().places(), [0, 2]);
        let rule = Fisher { perturbation: Perturbation::Delta, ..rule };
        let error = rule.select(&signals).unwrap_err().to_string();
        let expected = "`fisher` needs the pretrained matrix, which was not given";
        assert_eq!(error, expected);
        let signals = signals.with_pretrained(before).unwrap();
        assert_eq!(rule.select(&signals).unwrap().places(), [1, 2]);
        assert!(rule.select(&Signals::of(weights)).is_err());
    }

    #[test]
    fn information_that_is_none() {
        let weights = [0.0; 4];
        let signals = Signals::of(Matrix::new(&weights, [2, 2]).unwrap());
        let error = |fisher: &[f32]| signals.with_fisher(fisher).unwrap_err().to_string();
        assert_eq!(error(&[0.0; 2]), "Fisher information has 2 values, expected 4");
        let expected = "Fisher information 1 is -1, expected at least 0";
        assert_eq!(error(&[0.0, -1.0, 0.0, 0.0]), expected);
        let expected = "Fisher information 0 is NaN, expected a finite number";
        assert_eq!(error(&[f32::NAN, 0.0, 0.0, 0.0]), expected);
    }
}
