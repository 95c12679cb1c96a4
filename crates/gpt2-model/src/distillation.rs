//! The vocabulary loss with teachers, fused with the head.
//!
//! # Definition
//! With logits $y$ of $N$ tokens over $V$ words, and those of teachers $y_j$, which are constants,
//! $$ L = c\,\mathrm{CE}(y) + \sum_j w_j\, d_j(y, y_j), $$
//! where $d$ is the mean square or the divergence of softened distributions,
//! $$ \mathrm{MSE} = \frac1{NV} \sum (y - y_j)^2, \qquad
//!    \mathrm{KL}_T = \frac{T^2}{N} \sum \operatorname{softmax}(y_j / T)
//!                    \ln \frac{\operatorname{softmax}(y_j / T)}{\operatorname{softmax}(y / T)}. $$
//! The gradient with respect to the logits is closed as that of the cross-entropy is, with
//! $$ \nabla_y \mathrm{MSE} = \frac{2 (y - y_j)}{NV}, \qquad
//!    \nabla_y \mathrm{KL}_T = \frac TN \bigl( \operatorname{softmax}(y / T) - \operatorname{softmax}(y_j / T) \bigr), $$
//! so that the logits of a chunk of tokens at a time are enough: `[tokens, vocab]` is held of the teachers
//! only, and of the model itself if it is to become one.
//!
//! # Reference
//! MSE: Y. Fu et al., *InstantNet*, DAC 2021, arXiv:2104.10853, cascade distillation, on logits with a
//! weight of 1. KL: G. Hinton et al., *Distilling the Knowledge in a Neural Network*, arXiv:1503.02531; the
//! factor $T^2$ keeps its gradients of the size of the cross-entropy's at every temperature.

use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::head::{CHUNK_LOGITS, Gradient, Head, chunks, constants, differentiable, product};
use crate::{Factor, Loss};

/// What is minimised, and from whom the model learns. By default the cross-entropy, from nobody.
#[derive(Debug, Clone)]
pub struct Distillation {
    /// Weight of the cross-entropy of the targets.
    pub cross_entropy: f64,
    /// Those to come close to.
    pub teachers: Vec<Teacher>,
    /// Whether to return the logits, for a model that becomes a teacher.
    pub keep_logits: bool,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { cross_entropy: 1.0, teachers: Vec::new(), keep_logits: false }
    }
}

/// What a teacher adds to a loss.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// `[tokens, vocab]`. No gradient reaches them.
    pub logits: Tensor<2>,
    /// $w$.
    pub weight: f64,
    /// $d$.
    pub matching: Matching,
}

/// How far logits are from those of a teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Matching {
    /// Mean square, over tokens and vocabulary.
    Mse,
    /// $T^2$ times the divergence from the teacher's softened distribution, in nats, mean over tokens.
    Kl {
        /// $T$, above 0.
        temperature: f64,
    },
}

/// A loss with teachers.
#[derive(Debug)]
pub struct Distilled {
    /// To be differentiated, `[1]`.
    pub loss: Loss,
    /// Mean cross-entropy of the targets in nats, whatever its weight, outside any graph. `[1]`
    pub nats: Tensor<1>,
    /// `[tokens, vocab]`, outside any graph, if they were to be kept.
    pub logits: Option<Tensor<2>>,
}

impl Distillation {
    /// The loss of the targets, differentiable in every tracked input and weight.
    ///
    /// # Shapes
    /// - factors: inputs `[tokens, k]`, weights `[k, vocab]`
    /// - targets: `[tokens]`, each below `vocab`
    pub fn loss(&self, factors: &[Factor], targets: &Tensor<1, Int>) -> Distilled {
        self.in_chunks(factors, targets, CHUNK_LOGITS)
    }

    fn in_chunks(&self, factors: &[Factor], targets: &Tensor<1, Int>, limit: usize) -> Distilled {
        let [tokens] = targets.dims();
        let constants = constants(factors);
        let mut gradients: Vec<Gradient> = factors.iter().map(|_| Gradient::default()).collect();
        let (mut losses, mut nats, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in chunks(tokens, &constants, limit) {
            let target = targets.clone().narrow(0, chunk.start, chunk.len());
            let rows: Vec<Factor> = constants.iter().map(|factor| factor.narrow(&chunk)).collect();
            let head = Head::of(&rows, &target);
            let mut loss = head.ln_p.clone().neg() * self.cross_entropy; // [tokens]
            let hot = Tensor::full([chunk.len(), 1], -self.cross_entropy, &loss.device());
            let mut g = (head.p * self.cross_entropy).scatter(
                1,
                target.unsqueeze_dim(1),
                hot,
                IndexingUpdateOp::Add,
            ); // [tokens, vocab]
            for Teacher { logits, weight, matching } in &self.teachers {
                let taught = logits.clone().inner().narrow(0, chunk.start, chunk.len());
                let (value, gradient) = matching.of(&head.logits, taught);
                (loss, g) = (loss + value * *weight, g + gradient * *weight);
            }
            for ((factor, rows), gradient) in factors.iter().zip(&rows).zip(&mut gradients) {
                gradient.add_chunk(factor, rows, &g);
            }
            losses.push(loss);
            nats.push(head.ln_p.neg());
            if self.keep_logits {
                logits.push(head.logits);
            }
        }
        let value = Tensor::cat(losses, 0).mean();
        Distilled {
            loss: differentiable(value, factors, gradients, 1.0 / tokens as f64),
            nats: Tensor::cat(nats, 0).mean(),
            logits: self.keep_logits.then(|| Tensor::cat(logits, 0)),
        }
    }
}

impl Matching {
    /// The distance of every token and its gradient with respect to `logits`.
    ///
    /// # Shapes
    /// - logits, taught: `[tokens, vocab]`
    /// - output: `[tokens]`, `[tokens, vocab]`
    fn of(self, logits: &Tensor<2>, taught: Tensor<2>) -> (Tensor<1>, Tensor<2>) {
        match self {
            Self::Mse => {
                let [_tokens, vocab] = logits.dims();
                let difference = logits.clone() - taught;
                let value = difference.clone().square().mean_dim(1).squeeze_dim(1);
                (value, difference * (2.0 / vocab as f64))
            }
            Self::Kl { temperature } => {
                let ln_p = log_softmax(logits.clone() / temperature, 1);
                let ln_q = log_softmax(taught / temperature, 1);
                let q = ln_q.clone().exp();
                let divergence = (q.clone() * (ln_q - ln_p.clone())).sum_dim(1).squeeze_dim(1);
                (divergence * temperature.powi(2), (ln_p.exp() - q) * temperature)
            }
        }
    }
}

/// The logits of a head, outside any graph: those of a teacher.
///
/// # Shapes
/// - factors: inputs `[tokens, k]`, weights `[k, vocab]`
/// - output: `[tokens, vocab]`
///
/// # Panics
/// Without any factor.
pub fn logits(factors: &[Factor]) -> Tensor<2> {
    let tokens = factors.first().map_or(0, |factor| factor.input.dims()[0]);
    let constants = constants(factors);
    // In the chunks of a loss, so that a model that teaches itself is at no distance at all.
    let chunk = |chunk| {
        let rows: Vec<Factor> = constants.iter().map(|factor| factor.narrow(&chunk)).collect();
        product(&rows)
    };
    Tensor::cat(chunks(tokens, &constants, CHUNK_LOGITS).map(chunk).collect(), 0)
}

#[cfg(test)]
mod tests;
