#![doc = include_str!("../README.md")]

mod by_width;
mod cached;
mod calibration;
mod cyclic;
mod fake_quantized;
mod fake_quantizer;
mod gradient_hook;
mod gradient_quantizer;
mod learned_scales;
mod lora;
mod low_rank;
mod mergeable;
mod precision;
mod sites;
mod straight_through;
mod switchable;
mod switchable_norm;

use burn::nn::LayerNorm;
use gpt2_model::Gpt2;

pub use by_width::{ByWidth, Quantization};
pub use calibration::CalibrationError;
pub use cyclic::{BaseWeights, CyclicConfig, CyclicGpt2, CyclicLinear, GradientPlace};
pub use fake_quantized::{FakeQuantConfig, FakeQuantizedGpt2, FakeQuantizedLinear};
pub use fake_quantizer::{FakeQuantizer, Role, Scales};
pub use gradient_quantizer::{GradientRounding, LayerGradient};
pub use learned_scales::LearnedScales;
pub use lora::{LoraFactors, LoraLinear};
pub use low_rank::{LowRank, Rank};
pub use mergeable::{MergeableConfig, MergeableGpt2, MergeableLinear, MergedGpt2, merge};
pub use precision::{Calibration, Precision, QuantizedLayer, QuantizedNorm};
pub use sites::{LoraConfig, LoraError, Site};
pub use straight_through::straight_through;
pub use switchable::{
    AdapterRule, SwitchableConfig, SwitchableGpt2, SwitchableLinear, WidthAdapter,
};
pub use switchable_norm::SwitchableLayerNorm;

/// GPT-2 with a frozen base and low-rank adapters at some of its sites.
pub type LoraGpt2 = Gpt2<LoraLinear, LayerNorm>;
