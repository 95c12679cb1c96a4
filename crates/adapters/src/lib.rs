#![doc = include_str!("../README.md")]

mod calibration;
mod fake_quantized;
mod fake_quantizer;
mod gradient_hook;
mod gradient_quantizer;
mod learned_scales;
mod lora;
mod precision;
mod sites;
mod straight_through;

use burn::nn::LayerNorm;
use gpt2_model::Gpt2;

pub use calibration::CalibrationError;
pub use fake_quantized::{FakeQuantConfig, FakeQuantizedGpt2, FakeQuantizedLinear};
pub use fake_quantizer::{FakeQuantizer, Quantization, Role, Scales};
pub use gradient_quantizer::{GradientRounding, LayerGradient};
pub use learned_scales::LearnedScales;
pub use lora::{LoraFactors, LoraLinear};
pub use precision::{Calibration, Precision};
pub use sites::{LoraConfig, LoraError, Site};
pub use straight_through::straight_through;

/// GPT-2 with a frozen base and low-rank adapters at some of its sites.
pub type LoraGpt2 = Gpt2<LoraLinear, LayerNorm>;
