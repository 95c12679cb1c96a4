//! Causal multi-head self-attention.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::LinearLayer;

/// $\operatorname{softmax}(QK^\top/\sqrt{d_{head}} + \text{mask})\,V$ per head, between a fused
/// query-key-value projection and an output projection.
#[derive(Module, Debug)]
pub struct Attention<L: Module> {
    /// `[d_model, 3 d_model]`: queries, keys and values side by side.
    pub c_attn: L,
    /// `[d_model, d_model]`.
    pub c_proj: L,
    /// Number of heads.
    #[module(skip)]
    pub n_head: usize,
}

impl<L: LinearLayer> Attention<L> {
    /// # Shapes
    /// - x: `[batch, seq, d_model]`
    /// - mask: `[1, 1, seq, seq]`, minus infinity above the diagonal; read by the differentiable path only
    /// - output: `[batch, seq, d_model]`
    pub fn forward(&self, x: Tensor<3>, mask: &Tensor<4>) -> Tensor<3> {
        let [batch, seq, d_model] = x.dims();
        let d_head = d_model / self.n_head;
        let heads = self
            .c_attn
            .forward(x) // [batch, seq, 3 d_model]
            .reshape([batch, seq, 3, self.n_head, d_head])
            .permute([2, 0, 3, 1, 4]); // [3, batch, n_head, seq, d_head]
        let [q, k, v] = [0, 1, 2].map(|part| heads.clone().narrow(0, part, 1).squeeze_dim::<4>(0));
        let y = if q.is_tracked() {
            let scores = (q * (d_head as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)) + mask.clone();
            softmax(scores, 3).matmul(v)
        } else {
            let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
            attention(q, k, v, None, None, options)
        }; // [batch, n_head, seq, d_head]
        self.c_proj.forward(y.swap_dims(1, 2).reshape([batch, seq, d_model]))
    }
}

/// Zero on and below the diagonal, minus infinity above: `[1, 1, seq, seq]`.
pub(crate) fn causal_mask(seq: usize, device: &Device) -> Tensor<4> {
    let full = Tensor::<2>::full([seq, seq], f32::NEG_INFINITY, device);
    full.triu(1).unsqueeze()
}
