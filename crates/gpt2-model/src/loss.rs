//! The vocabulary loss, fused with the head.
//!
//! # Definition
//! With logits $z = \sum_k x_k W_k$ of a token and its target $t$, the loss is $-\ln p_t$ where
//! $p = \operatorname{softmax}(z)$. Its gradient is closed,
//! $$ \nabla_{x_k} = (p - e_t)\,W_k^\top, \qquad \nabla_{W_k} = x_k^\top (p - e_t), $$
//! so the graph of `[tokens, vocab]` is never built: a chunk of tokens has its logits computed, its
//! two products taken, and is forgotten. Only the gradients that somebody asks for are computed.
//!
//! $\ln p_t = z_t - z_{max} + \ln p_{max}$, where $p_{max} \ge 1/V$ never underflows.

use burn::tensor::{Int, Tensor};
use thiserror::Error;

use crate::Factor;
use crate::head::{CHUNK_LOGITS, Gradient, Head, chunks, constants, differentiable};
use crate::parameters::{DeviceError, host};

/// A mean loss and the head it came from, as one differentiable tensor.
pub type Loss = Tensor<1>;

/// Mean cross-entropy of the targets, in nats, differentiable in every tracked input and weight.
///
/// # Shapes
/// - factors: inputs `[tokens, k]`, weights `[k, vocab]`
/// - targets: `[tokens]`, each below `vocab`
/// - output: `[1]`
pub fn cross_entropy(factors: &[Factor], targets: &Tensor<1, Int>) -> Loss {
    let [tokens] = targets.dims();
    let constants = constants(factors);
    let mut gradients: Vec<Gradient> = factors.iter().map(|_| Gradient::default()).collect();
    let mut nats = Vec::new();
    for chunk in chunks(tokens, &constants, CHUNK_LOGITS) {
        let target = targets.clone().narrow(0, chunk.start, chunk.len());
        let rows: Vec<Factor> = constants.iter().map(|factor| factor.narrow(&chunk)).collect();
        let Head { ln_p, p, .. } = Head::of(&rows, &target);
        nats.push(ln_p.neg());
        for ((factor, rows), gradient) in factors.iter().zip(&rows).zip(&mut gradients) {
            gradient.add_chunk(factor, rows, &p);
            gradient.subtract_one_hot(factor, rows, &target);
        }
    }
    let value = Tensor::cat(nats, 0).mean();
    differentiable(value, factors, gradients, 1.0 / tokens as f64)
}

/// What a certificate keeps of each token: everything else is computed from it offline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenScores {
    /// Log-probability of the target, in nats.
    pub ln_p: Vec<f32>,
    /// Number of logits at least the target's, minus one: ties count against the model.
    pub rank: Vec<u32>,
    /// Entropy of the predicted distribution, in nats.
    pub entropy: Vec<f32>,
}

/// Why tokens have no scores.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// See [`DeviceError`].
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The logits are NaN, infinite, or further apart than `f32` counts.
    #[error("the model's {what} of token {token} is {value}, expected a finite number")]
    NotFinite {
        /// Log-probability or entropy.
        what: &'static str,
        /// Its place among the targets.
        token: usize,
        /// The value, in nats.
        value: f32,
    },
}

/// Scores the targets without building a graph.
///
/// # Shapes
/// As in [`cross_entropy`].
///
/// # Errors
/// What the backend reports when the scores are read, or a score that is no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of logits, below 2^24, is exact in f32"
)]
pub fn score(factors: &[Factor], targets: &Tensor<1, Int>) -> Result<TokenScores, ScoreError> {
    let [tokens] = targets.dims();
    let constants = constants(factors);
    let mut scores = TokenScores::default();
    for chunk in chunks(tokens, &constants, CHUNK_LOGITS) {
        let target = targets.clone().narrow(0, chunk.start, chunk.len());
        let rows: Vec<Factor> = constants.iter().map(|factor| factor.narrow(&chunk)).collect();
        let Head { logits, target_logit, ln_p, lse, p } = Head::of(&rows, &target);
        let rank = logits.clone().greater_equal(target_logit.unsqueeze_dim(1)).float().sum_dim(1);
        let entropy = lse - (p * logits).sum_dim(1).squeeze_dim::<1>(1);
        scores.ln_p.extend(host(ln_p)?.iter::<f32>());
        scores.entropy.extend(host(entropy)?.iter::<f32>());
        // A target that is a number counts itself; one that is not is refused below.
        let rank = host(rank)?;
        scores.rank.extend(rank.iter::<f32>().map(|count| (count as u32).saturating_sub(1)));
    }
    for (what, values) in [("log-probability", &scores.ln_p), ("entropy", &scores.entropy)] {
        if let Some(token) = values.iter().position(|value| !value.is_finite()) {
            return Err(ScoreError::NotFinite { what, token, value: values[token] });
        }
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of two tokens, the first of which is harmless; the target of both is 1.
    fn scores_of(second: [f32; 3]) -> Result<TokenScores, ScoreError> {
        let device = burn::tensor::Device::default();
        let logits = Tensor::from_data([[0.0, 1.0, 2.0], second], &device);
        let targets = Tensor::from_data([1, 1], &device);
        score(&[Factor { input: logits, weight: None }], &targets)
    }

    #[test]
    fn ties_count_against_the_model_and_the_best_token_has_rank_0() {
        assert_eq!(scores_of([3.0, 3.0, 3.0]).unwrap().rank, [1, 2]);
        assert_eq!(scores_of([2.0, 3.0, 2.5]).unwrap().rank, [1, 0]);
    }

    #[test]
    fn scores_that_are_no_numbers_are_refused() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let far = [3e38, -3e38, 0.0]; // ln p is -6e38, below the least f32
        let beside = [[0.0, nan, 0.0], [nan, 0.0, 0.0], [0.0, 0.0, nan], [nan; 3]];
        let infinite = [[0.0, infinity, 0.0], [infinity, 0.0, 0.0], [0.0, -infinity, 0.0]];
        for logits in beside.into_iter().chain(infinite).chain([far]) {
            let error = scores_of(logits).unwrap_err();
            assert!(matches!(error, ScoreError::NotFinite { token: 1, .. }), "{logits:?}: {error}");
        }
        let message = scores_of(far).unwrap_err().to_string();
        let expected = "the model's log-probability of token 1 is -inf, expected a finite number";
        assert_eq!(message, expected);
    }
}
