//! Freedman-type token bound: the residual against a predicted loss in place of the range.
//!
//! # Definition
//! With the loss $X_i$ of a token, a value $Y_i \in [a, b]$ that its context determines,
//! $A_i = (Y_i - X_i)/\Delta \ge -1$, $v(x) = x - \ln (1 + x)$ and a fixed grid $S$ of stakes in (0, 1),
//! $$ \bar R \le \hat R + \min_{s \in S} \frac{\Delta}{s} \Bigl[ c + \frac1m \sum_i v(s A_i) \Bigr], \quad
//!    c = \frac{(K + L_\alpha) \ln 2 + \ln (|S|/\delta_1)}{m}. $$
//! Token by token, $\bar R \le \Delta c / s + \frac1m \sum_i Z_i$, $Z_i = Y_i - \frac{\Delta}{s} \ln (1 + s A_i)$ in
//! $[a, a + \frac{\Delta}{s} \ln \frac{1}{1 - s}]$. With a subsample, the mean of $Z$ is replaced by
//! $$ \bar Z + \sqrt{2 V_Z \ell / n} + \frac{7 w \ell}{3 (n - 1)}, \quad
//!    w = \frac{\Delta}{s} \ln \frac{1}{1 - s}, \quad \ell = L_\alpha \ln 2 + \ln (2 |S| M / \delta_2). $$
//!
//! # Validity
//! $\prod_i (1 + s A_i)/(1 + s \, \mathbb E [A_i \mid x_{<i}])$ is a non-negative martingale of mean 1, its
//! denominators positive because $s < 1$. Markov's inequality at level $\delta_1 2^{-(K + L_\alpha)}/|S|$ and
//! $\ln (1 + x) \le x$ on the denominators give
//! $\sum \ln (1 + s A_i) \le m c + s \sum \mathbb E [A_i \mid x_{<i}]$; with
//! $\mathbb E [A_i \mid x_{<i}] = (Y_i - \mathbb E [X_i \mid x_{<i}])/\Delta$, the formula. *Any* predictable $Y$ will do, and
//! the gap is about $\sigma \sqrt{2c}$, $\sigma^2$ the mean of $(Y - X)^2$. The range of $Z$: $Z \ge X \ge a$, and $Z$ is
//! greatest at $X = b$, $Y = a$. Sample event: uniform draws of positions, so $Z$ is independent; empirical
//! Bernstein for each stake at $\delta_2 2^{-L_\alpha} / (|S| M)$.
//!
//! # Reference
//! M. Finzi et al., *Compute-Optimal LLMs Provably Generalize Better with Scale*, 2025,
//! arXiv:2504.15208.

use std::f64::consts::LN_2;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::empirical_bernstein::excess;
use crate::stakes::{self, stakes};
use crate::sums::{mean, mean_and_variance, sum_of_logs};
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// The Freedman-type bound for tokens; needs a prediction for each.
///
/// ```toml
/// [bound]
/// kind = "freedman"
/// stakes = 64
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Freedman {
    /// $|S|$, stakes tried.
    pub stakes: NonZeroU32,
}

impl Default for Freedman {
    fn default() -> Self {
        Self { stakes: stakes::DEFAULT }
    }
}

impl Bound for Freedman {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Token
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let predictable = evidence.predictable()?;
        let width = evidence.range.width();
        let residuals: Vec<f64> = predictable
            .iter()
            .zip(evidence.values)
            .map(|(y, x)| ((y - x) / width).clamp(-1.0, 1.0))
            .collect();
        let c = (evidence.training_nats() + stakes::ln_size(self.stakes)) / evidence.m();
        let predicted = evidence.draws(|draw| mean(&predictable[draw]));
        let nats = evidence.sample_nats() + stakes::ln_size(self.stakes) + LN_2;
        if evidence.is_sampled() {
            evidence.needs_variance()?;
        }
        let (mut unsampled, mut bound) = (f64::INFINITY, f64::INFINITY);
        for s in stakes(self.stakes) {
            let mut z = evidence.draws(|draw| {
                let len = draw.len() as f64;
                sum_of_logs(residuals[draw].iter().map(|a| 1.0 + s * a)) / len
            });
            z.iter_mut().zip(&predicted).for_each(|(z, y)| *z = y - width / s * *z);
            unsampled = unsampled.min(width / s * c + mean(&z));
            if evidence.is_sampled() {
                bound = bound.min(width / s * c + upper_limit(s, width, &z, nats));
            }
        }
        let bound = if evidence.is_sampled() { bound } else { unsampled };
        Certified::new(risk, unsampled, bound)
    }
}

/// Upper limit of the mean of $Z$ over all tokens from its draws, at a level of $2 e^{-\mathtt{nats}}$.
fn upper_limit(s: f64, width: f64, z: &[f64], nats: f64) -> f64 {
    let (mean, variance) = mean_and_variance(z);
    mean + excess(variance, width / s * -(-s).ln_1p(), nats, z.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, evidence};

    /// $\frac1m \sum_i v(s A_i)$ over all tokens: the gap of the first form.
    fn mean_curvature(s: f64, residuals: &[f64]) -> f64 {
        let logs = sum_of_logs(residuals.iter().map(|a| 1.0 + s * a));
        s * mean(residuals) - logs / residuals.len() as f64
    }

    #[test]
    fn both_forms_at_three_stakes_of_the_reference() {
        let (x, y, width) = ([2.0, 3.0, 1.0, 4.0], [2.5, 2.5, 1.5, 3.0], 5.0);
        let residuals = [0.1, -0.1, 0.1, -0.2]; // (Y - X)/5
        for (s, expected) in
            [(0.25, 4.511_129_385_955), (0.5, 3.522_683_704_266), (0.75, 3.201_398_579_680)]
        {
            let gap = width / s * (0.1 + mean_curvature(s, &residuals));
            let bound = mean(&x) + gap;
            assert_close(bound, expected, 1e-12);
            let z: Vec<f64> =
                y.iter().zip(residuals).map(|(y, a)| y - width / s * (s * a).ln_1p()).collect();
            assert_close(width * 0.1 / s + mean(&z), bound, 1e-12);
        }
    }

    #[test]
    fn predictable_values_are_checked() {
        let values = [0.2, 0.4];
        let evidence = Evidence { unit: Unit::Token, ..evidence(&values) };
        let refused = |predictable: &[f64]| {
            let evidence = Evidence { predictable: Some(predictable), ..evidence };
            Freedman::default().certify(&evidence).unwrap_err()
        };
        assert_eq!(Freedman::default().certify(&evidence), Err(BoundError::NoPredictable(2)));
        let count = BoundError::Count { what: "predictable values", found: 1, expected: 2 };
        assert_eq!(refused(&[0.5]), count);
        for value in [-0.1, 1.1, f64::NAN] {
            let error = refused(&[0.5, value]);
            assert!(matches!(error, BoundError::Value { what: "predictable value", index: 1, .. }));
        }
    }

    #[test]
    fn a_perfect_prediction_leaves_the_code_alone() {
        let values = [0.5; 1_000];
        let evidence =
            Evidence { unit: Unit::Token, predictable: Some(&values), ..evidence(&values) };
        let certified = Freedman::default().certify(&evidence).unwrap();
        let c = (40_f64.ln() + 64_f64.ln()) / 1_000.0;
        assert!((certified.complexity_term - c).abs() < 1e-3 * c, "{certified:?}"); // s near 1
    }
}
