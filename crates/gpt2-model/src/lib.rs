#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod block;
mod checkpoint;
mod config;
mod distillation;
mod head;
mod hf_config;
mod loss;
mod model;
mod parameters;

use burn::module::{Module, ModuleDisplay};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

pub use activation::Activation;
pub use attention::Attention;
pub use block::{Block, Mlp};
pub use checkpoint::{CheckpointError, load, save, whole_folder};
pub use config::{ConfigError, Gpt2Config};
pub use distillation::{Distillation, Distilled, Matching, Teacher, logits};
pub use hf_config::{read_config, write_config};
pub use loss::{Loss, ScoreError, TokenScores, cross_entropy, score};
pub use model::Gpt2;
pub use parameters::{DeviceError, Parameter, WeightPath, assign, host, parameters, read};

/// The plain model: burn's own linear and norm layers.
pub type PlainGpt2 = Gpt2<Linear, LayerNorm>;

/// A layer that takes the place of a linear one.
///
/// Only ever a type parameter: [`Gpt2`] is compiled for the layers it holds.
pub trait LinearLayer: Module + ModuleDisplay {
    /// # Shapes
    /// - x: `[batch, seq, d_input]`
    /// - output: `[batch, seq, d_output]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3>;

    /// The same map left as a sum of products, so that a loss over a large `d_output` can be fused
    /// with it. Called for the vocabulary head only; a layer that is not a sum of products returns
    /// its output under no weight.
    ///
    /// # Shapes
    /// - x: `[tokens, d_input]`
    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        let y = self.forward(x.unsqueeze());
        vec![Factor { input: y.squeeze_dim(0), weight: None }]
    }
}

/// A layer that takes the place of a layer norm.
pub trait NormLayer: Module + ModuleDisplay {
    /// # Shapes
    /// - x: `[batch, seq, d_model]`
    /// - output: `[batch, seq, d_model]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3>;
}

/// One product of a [`LinearLayer`] left unmultiplied.
#[derive(Debug, Clone)]
pub struct Factor {
    /// `[tokens, k]`.
    pub input: Tensor<2>,
    /// `[k, d_output]`; none stands for the identity.
    pub weight: Option<Tensor<2>>,
}

impl LinearLayer for Linear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, seq, d_input] = x.dims();
        let [_, d_output] = self.weight.dims();
        let y = Linear::forward(self, x.reshape([batch * seq, d_input])); // one product, not `batch`
        y.reshape([batch, seq, d_output])
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        if self.bias.is_some() {
            return vec![Factor { input: Linear::forward(self, x), weight: None }];
        }
        vec![Factor { input: x, weight: Some(self.weight.val()) }]
    }
}

impl NormLayer for LayerNorm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        LayerNorm::forward(self, x)
    }
}
