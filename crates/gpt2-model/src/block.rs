//! One pre-norm transformer block.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::{Activation, Attention, LinearLayer, NormLayer};

/// The position-wise network of a block: up, nonlinearity, down.
#[derive(Module, Debug)]
pub struct Mlp<L: Module> {
    /// `[d_model, 4 d_model]`.
    pub c_fc: L,
    /// `[4 d_model, d_model]`.
    pub c_proj: L,
    /// Between the two.
    #[module(skip)]
    pub activation: Activation,
}

impl<L: LinearLayer> Mlp<L> {
    /// # Shapes
    /// - x, output: `[batch, seq, d_model]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(self.activation.forward(self.c_fc.forward(x)))
    }
}

/// $x + \mathrm{attn}(\mathrm{ln_1}(x))$, then $x + \mathrm{mlp}(\mathrm{ln_2}(x))$.
#[derive(Module, Debug)]
pub struct Block<L: Module, N: Module> {
    /// Before attention.
    pub ln_1: N,
    /// Self-attention.
    pub attn: Attention<L>,
    /// Before the MLP.
    pub ln_2: N,
    /// Position-wise network.
    pub mlp: Mlp<L>,
}

impl<L: LinearLayer, N: NormLayer> Block<L, N> {
    /// # Shapes
    /// - x, output: `[batch, seq, d_model]`
    /// - mask: `[1, 1, seq, seq]`
    pub fn forward(&self, x: Tensor<3>, mask: &Tensor<4>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.ln_1.forward(x), mask);
        x.clone() + self.mlp.forward(self.ln_2.forward(x))
    }
}
