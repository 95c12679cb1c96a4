//! The vocabulary head in chunks of tokens, with what losses fused with it share.
//!
//! # Definition
//! The logits $z = \sum_k x_k W_k$ of a chunk are computed outside any graph, and whatever a loss has as its
//! gradient $g$ with respect to them is multiplied out at once,
//! $$ \nabla_{x_k} = g\,W_k^\top, \qquad \nabla_{W_k} = x_k^\top g, $$
//! so that `[tokens, vocab]` is never in the graph. Only the gradients that somebody asks for are computed.

use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::{Factor, Loss};

/// Logits held at a time: 32 MiB of `f32`, of the order of a cache.
pub(crate) const CHUNK_LOGITS: usize = 1 << 23;

/// One chunk's distribution over the vocabulary, outside any graph.
pub(crate) struct Head {
    /// `[tokens, vocab]`.
    pub(crate) logits: Tensor<2>,
    /// `[tokens]`.
    pub(crate) target_logit: Tensor<1>,
    /// `[tokens]`.
    pub(crate) ln_p: Tensor<1>,
    /// Log-sum-exp of the logits, `[tokens]`.
    pub(crate) lse: Tensor<1>,
    /// `[tokens, vocab]`.
    pub(crate) p: Tensor<2>,
}

impl Head {
    /// Of a chunk's constant factors.
    pub(crate) fn of(rows: &[Factor], target: &Tensor<1, Int>) -> Self {
        let logits = product(rows);
        let target_logit = logits.clone().gather(1, target.clone().unsqueeze_dim(1)).squeeze_dim(1);
        let max = logits.clone().max_dim(1).squeeze_dim::<1>(1);
        let p = softmax(logits.clone(), 1);
        let p_max = p.clone().max_dim(1).squeeze_dim::<1>(1);
        let lse = max - p_max.log();
        let ln_p: Tensor<1> = Tensor::clone(&target_logit) - lse.clone();
        Self { logits, target_logit, ln_p, lse, p }
    }
}

/// The logits of a chunk, `[tokens, vocab]`.
///
/// # Panics
/// Without any factor.
pub(crate) fn product(rows: &[Factor]) -> Tensor<2> {
    let sum = rows.iter().map(Factor::product).reduce(|sum, term| sum + term);
    sum.expect("a head has at least one factor")
}

/// The factors outside their graph.
pub(crate) fn constants(factors: &[Factor]) -> Vec<Factor> {
    factors.iter().map(Factor::constant).collect()
}

impl Factor {
    fn constant(&self) -> Self {
        Self {
            input: self.input.clone().inner(),
            weight: self.weight.as_ref().map(|weight| weight.clone().inner()),
        }
    }

    /// The factor of a chunk of its tokens.
    pub(crate) fn narrow(&self, rows: &Range<usize>) -> Self {
        let input = self.input.clone().narrow(0, rows.start, rows.len());
        Self { input, weight: self.weight.clone() }
    }

    fn product(&self) -> Tensor<2> {
        match &self.weight {
            Some(weight) => self.input.clone().matmul(weight.clone()),
            None => self.input.clone(),
        }
    }
}

/// Gradients of the summed loss with respect to one factor.
#[derive(Default)]
pub(crate) struct Gradient {
    /// Chunks of `[tokens, k]`.
    input: Vec<Tensor<2>>,
    /// `[k, vocab]`.
    weight: Option<Tensor<2>>,
}

impl Gradient {
    /// Takes in the gradient `g` of a chunk's logits, `[tokens, vocab]`. `factor` says what is tracked,
    /// `rows` holds the chunk's constants.
    pub(crate) fn add_chunk(&mut self, factor: &Factor, rows: &Factor, g: &Tensor<2>) {
        if factor.input.is_tracked() {
            self.input.push(match &rows.weight {
                Some(weight) => g.clone().matmul(weight.clone().transpose()),
                None => g.clone(),
            });
        }
        if factor.weight.as_ref().is_some_and(Tensor::is_tracked) {
            let term = rows.input.clone().transpose().matmul(g.clone()); // [k, vocab]
            self.weight = Some(match self.weight.take() {
                Some(sum) => sum + term,
                None => term,
            });
        }
    }

    /// Subtracts the one-hot matrix of `target`, `[tokens]`, from the logits' gradient of the chunk that
    /// was added last. It picks rows or columns, so that no `[tokens, vocab]` is copied.
    pub(crate) fn subtract_one_hot(
        &mut self,
        factor: &Factor,
        rows: &Factor,
        target: &Tensor<1, Int>,
    ) {
        if factor.input.is_tracked()
            && let Some(gradient) = self.input.pop()
        {
            self.input.push(if let Some(weight) = &rows.weight {
                gradient - weight.clone().transpose().select(0, target.clone())
            } else {
                let ones = Tensor::full([target.dims()[0], 1], -1.0, &gradient.device());
                gradient.scatter(1, target.clone().unsqueeze_dim(1), ones, IndexingUpdateOp::Add)
            });
        }
        if let Some(sum) = self.weight.take() {
            let x = rows.input.clone().transpose(); // [k, tokens]
            self.weight =
                Some(sum.select_assign(1, target.clone(), x.neg(), IndexingUpdateOp::Add));
        }
    }

    /// Inner products of the tracked parts of `factor` with their gradients.
    fn terms(self, factor: &Factor) -> Vec<Loss> {
        let mut terms = Vec::new();
        if !self.input.is_empty() {
            let gradient = Tensor::from_inner(Tensor::cat(self.input, 0));
            terms.push((factor.input.clone() * gradient).sum());
        }
        if let (Some(gradient), Some(weight)) = (self.weight, &factor.weight) {
            terms.push((weight.clone() * Tensor::from_inner(gradient)).sum());
        }
        terms
    }
}

/// `value` as a function of the factors whose summed loss has `gradients`, of which `scale` is taken: the
/// inner product of each factor with its constant gradient has the gradient as its derivative; its value is
/// taken away again.
pub(crate) fn differentiable(
    value: Tensor<1>,
    factors: &[Factor],
    gradients: Vec<Gradient>,
    scale: f64,
) -> Loss {
    let terms = factors.iter().zip(gradients).flat_map(|(factor, gradient)| gradient.terms(factor));
    match terms.reduce(|sum, term| sum + term) {
        None => value,
        Some(surrogate) => {
            let surrogate = surrogate * scale;
            let offset = value - surrogate.clone().inner();
            surrogate + Tensor::from_inner(offset)
        }
    }
}

/// Runs of tokens whose logits, `limit` at most where one token has no more, are held at a time.
pub(crate) fn chunks(
    tokens: usize,
    factors: &[Factor],
    limit: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let vocab = factors.first().map_or(1, |factor| match &factor.weight {
        Some(weight) => weight.dims()[1],
        None => factor.input.dims()[1],
    });
    let size = (limit / vocab).max(1);
    (0..tokens).step_by(size).map(move |start| start..(start + size).min(tokens))
}
