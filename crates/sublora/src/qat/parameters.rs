//! How many parameters a configuration has, from its layers, without a weight.

use burn::tensor::Device;
use counter_rng::Key;
use gpt2_model::{Gpt2Config, Parameter, PlainGpt2};
use quantizers::BitWidth;
use serde::Serialize;

use super::config::QatConfig;
use crate::Error;

/// Parameters of a model and of what its method adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterCounts {
    /// Of the base; a head of its own, if it is quantised, counts with it.
    pub base: u64,
    /// Of these, the token embedding.
    pub token_embedding: u64,
    /// Of these, the position embedding.
    pub position_embedding: u64,
    /// Of these, the matrices of the blocks.
    pub matrices: u64,
    /// Of these, their biases.
    pub biases: u64,
    /// Of these, gains and biases of the norms.
    pub norms: u64,
    /// Of these, a head of its own.
    pub head: u64,
    /// Everything beside the base: factors of adapters, norms of widths, learned scales.
    pub added: u64,
    /// What is trained.
    pub trained: u64,
    /// By width, what of it the width uses, and scales of its weights, learned or not.
    pub widths: Vec<WidthParameters>,
}

/// What one width uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WidthParameters {
    /// The width.
    pub bits: BitWidth,
    /// Factors of adapters, of its own or shared.
    pub adapters: u64,
    /// Gains and biases of its own norms.
    pub norms: u64,
    /// Scales of its weights.
    pub scales: u64,
    /// Whether these are learned, and so parameters.
    pub scales_are_learned: bool,
}

impl QatConfig {
    /// The parameters of this configuration on a model of `shape`.
    ///
    /// # Errors
    /// A shape that is no GPT-2, or quantisers that do not suit it.
    pub fn parameter_counts(&self, shape: &Gpt2Config) -> Result<ParameterCounts, Error> {
        let base = PlainGpt2::zeros(shape, &Device::default())?;
        let model = self.method.as_dyn().build(base, self, Key::from_seed(0))?;
        let all = model.parameters();
        let count = |is: &dyn Fn(&str) -> bool| -> u64 {
            all.iter().filter(|it| is(&it.name)).map(Parameter::elements).sum()
        };
        let is_added = |name: &str| name.contains(".lora_") || name.contains(".norms.");
        let of_base = |name: &str, part: &str| !is_added(name) && name.contains(part);
        let learned = model.learns_scales();
        let mut widths = Vec::new();
        let norms = count(&|name| name.contains(".norms.")) / self.widths.len() as u64;
        for &bits in &self.widths {
            widths.push(WidthParameters {
                bits,
                adapters: model.own_parameters(self, bits) - norms,
                norms,
                scales: model.scales(bits)?,
                scales_are_learned: learned,
            });
        }
        let scales = if learned { widths.iter().map(|it| it.scales).sum() } else { 0 };
        Ok(ParameterCounts {
            base: count(&|name| !is_added(name)),
            token_embedding: count(&|name| of_base(name, "wte.")),
            position_embedding: count(&|name| of_base(name, "wpe.")),
            matrices: count(&|name| of_base(name, "h.") && name.ends_with("base.weight")),
            biases: count(&|name| of_base(name, "h.") && name.ends_with("base.bias")),
            norms: count(&|name| of_base(name, "ln_")),
            head: count(&|name| of_base(name, "lm_head.")),
            added: count(&|name| is_added(name)) + scales,
            trained: model.trained().iter().map(Parameter::elements).sum::<u64>() + scales,
            widths,
        })
    }
}
