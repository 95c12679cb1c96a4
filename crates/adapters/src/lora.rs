//! Low-rank adaptation, $y = xW + b + s\,(x A^\top) B^\top$.
//!
//! # Definition
//! $W$ is frozen; $A$ is `[rank, d_input]`, $B$ is `[width, rank]` and starts at zero, so that the
//! adapted layer begins as the base; $s = \alpha / r$. A layer may hold several pairs, each writing
//! its own columns of the output: a fused query-key-value projection is adapted part by part.
//!
//! # Reference
//! E. Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022, arXiv:2106.09685.
//!
//! # Notes on the reference implementation
//! The pairs of one layer share one product each way: $x$ meets all $A$ at once and the result meets
//! a block matrix of all $B$. Nothing is ever merged into $W$.

#![expect(non_snake_case, reason = "`lora_A` and `lora_B` are the names in every checkpoint")]

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::Tensor;
use gpt2_model::{Factor, LinearLayer};

/// One adapted part of a layer's output.
#[derive(Module, Debug)]
pub struct LoraFactors {
    /// `[rank, d_input]`.
    pub lora_A: Param<Tensor<2>>,
    /// `[width, rank]`.
    pub lora_B: Param<Tensor<2>>,
    /// First output column that the pair writes.
    #[module(skip)]
    pub start: usize,
}

/// A frozen [`Linear`] with low-rank terms on parts of its output.
#[derive(Module, Debug)]
pub struct LoraLinear {
    /// Frozen; its weight is `[d_input, d_output]`.
    pub base: Linear,
    /// On the query third of a fused projection.
    pub q: Option<LoraFactors>,
    /// On its key third.
    pub k: Option<LoraFactors>,
    /// On its value third.
    pub v: Option<LoraFactors>,
    /// On the whole output; excludes the other three.
    pub full: Option<LoraFactors>,
    /// On the input of the low-rank terms; active on an autodiff device only.
    pub dropout: Dropout,
    /// $s = \alpha / r$.
    #[module(skip)]
    pub scale: f64,
}

impl LoraLinear {
    /// Freezes `base`; without parts the layer computes what `base` did.
    pub fn new(base: Linear, scale: f64, dropout: f64) -> Self {
        let dropout = DropoutConfig::new(dropout).init();
        Self { base: base.no_grad(), q: None, k: None, v: None, full: None, dropout, scale }
    }

    fn parts(&self) -> impl Iterator<Item = &LoraFactors> {
        [&self.q, &self.k, &self.v, &self.full].into_iter().flatten()
    }

    /// $s\,x A^\top$ for all pairs side by side, `[tokens, pairs * rank]`.
    fn down(&self, x: Tensor<2>) -> Tensor<2> {
        let a = self.parts().map(|part| part.lora_A.val()).collect();
        self.dropout.forward(x).matmul(Tensor::cat(a, 0).transpose()) * self.scale
    }

    /// The block matrix of all $B^\top$, `[pairs * rank, d_output]`.
    fn up(&self) -> Tensor<2> {
        let [_d_input, d_output] = self.base.weight.dims();
        let device = self.base.weight.device();
        let rows = self.parts().map(|part| {
            let b = part.lora_B.val(); // [width, rank]
            let [width, rank] = b.dims();
            let zeros = |columns| Tensor::<2>::zeros([columns, rank], &device);
            let blank = d_output - width - part.start;
            if width == d_output {
                b
            } else {
                Tensor::cat(vec![zeros(part.start), b, zeros(blank)], 0)
            }
        });
        Tensor::cat(rows.collect(), 1).transpose()
    }
}

impl LinearLayer for LoraLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = LinearLayer::forward(&self.base, x.clone());
        if self.parts().next().is_none() {
            return y;
        }
        let [batch, seq, d_input] = x.dims();
        let [_, d_output] = self.base.weight.dims();
        let delta = self.down(x.reshape([batch * seq, d_input])).matmul(self.up());
        y + delta.reshape([batch, seq, d_output])
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        let mut factors = self.base.factors(x.clone());
        if self.parts().next().is_some() {
            factors.push(Factor { input: self.down(x), weight: Some(self.up()) });
        }
        factors
    }
}
