#![doc = include_str!("../README.md")]

mod lora;
mod sites;

use burn::nn::LayerNorm;
use gpt2_model::Gpt2;

pub use lora::{LoraFactors, LoraLinear};
pub use sites::{LoraConfig, LoraError, Site};

/// GPT-2 with a frozen base and low-rank adapters at some of its sites.
pub type LoraGpt2 = Gpt2<LoraLinear, LayerNorm>;
