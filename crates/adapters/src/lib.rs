#![doc = include_str!("../README.md")]

mod fake_quantized;
mod fake_quantizer;
mod lora;
mod sites;
mod straight_through;

use burn::nn::LayerNorm;
use gpt2_model::Gpt2;

pub use fake_quantized::{FakeQuantConfig, FakeQuantizedGpt2, FakeQuantizedLinear, Precision};
pub use fake_quantizer::{CalibrationError, FakeQuantizer};
pub use lora::{LoraFactors, LoraLinear};
pub use sites::{LoraConfig, LoraError, Site};
pub use straight_through::straight_through;

/// GPT-2 with a frozen base and low-rank adapters at some of its sites.
pub type LoraGpt2 = Gpt2<LoraLinear, LayerNorm>;
