//! A linear layer whose weight and input are fake-quantised.
//!
//! # Definition
//! $y = Q_x(x)\,Q_W(W) + b$, each quantiser at a width of its own; at 32 bits both are the identity and
//! the layer is the plain one, bit for bit.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use gpt2_model::{Factor, Gpt2, LinearLayer, PlainGpt2};
use quantizers::{BitWidth, Granularity, Operand, Quantizer};
use serde::{Deserialize, Serialize};

use crate::{CalibrationError, FakeQuantizer};

/// A [`Linear`] seen through two quantisers.
#[derive(Module, Debug)]
pub struct FakeQuantizedLinear {
    /// Its weight is `[d_input, d_output]`.
    pub base: Linear,
    /// Of the weight.
    pub weight: FakeQuantizer,
    /// Of the input.
    pub input: FakeQuantizer,
}

/// GPT-2 with fake-quantised linear layers.
pub type FakeQuantizedGpt2 = Gpt2<FakeQuantizedLinear, LayerNorm>;

/// How weights and inputs are quantised, and whether the head is. Norms stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeQuantConfig {
    /// Of every weight; its width is not used.
    pub weight: Quantizer,
    /// Of every input; its width is not used.
    pub input: Quantizer,
    /// Whether the vocabulary head is quantised: a copy of the token embedding that is then no longer
    /// tied to it. The embeddings themselves stay as they are.
    pub head: bool,
}

/// Symmetric, min-max: a scale an output channel, and one a token.
impl Default for FakeQuantConfig {
    fn default() -> Self {
        let input = Quantizer {
            granularity: Granularity::Token,
            operand: Operand::Activation,
            ..Quantizer::default()
        };
        Self { weight: Quantizer::default(), input, head: false }
    }
}

impl FakeQuantConfig {
    /// Puts quantisers, at 32 bits, into every linear layer of `model`.
    pub fn apply(&self, model: PlainGpt2) -> FakeQuantizedGpt2 {
        let head = self.head.then(|| {
            let weight = burn::module::Param::from_tensor(model.tied_head().detach());
            self.layer("lm_head", Linear { weight, bias: None })
        });
        let mut model =
            model.map_layers(|name, base| self.layer(name, base), |_, norm: LayerNorm| norm);
        model.lm_head = head;
        model
    }

    fn layer(&self, name: &str, base: Linear) -> FakeQuantizedLinear {
        FakeQuantizedLinear {
            base,
            weight: FakeQuantizer::new(&format!("{name}.weight"), self.weight.clone()),
            input: FakeQuantizer::new(&format!("{name}.input"), self.input.clone()),
        }
    }
}

impl FakeQuantizedLinear {
    /// $x W + b$ on rows `[tokens, d_input]`.
    fn rows(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.forward(self.base.weight.val());
        let y = self.input.forward(x).matmul(weight);
        match &self.base.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    fn is_plain(&self) -> bool {
        [&self.weight, &self.input].iter().all(|it| it.bits().is_full() && !it.is_calibrating())
    }
}

impl LinearLayer for FakeQuantizedLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        if self.is_plain() {
            return LinearLayer::forward(&self.base, x);
        }
        let [batch, seq, d_input] = x.dims();
        let y = self.rows(x.reshape([batch * seq, d_input]));
        let [_, d_output] = y.dims();
        y.reshape([batch, seq, d_output])
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        if self.is_plain() {
            return self.base.factors(x);
        }
        if self.base.bias.is_some() {
            return vec![Factor { input: self.rows(x), weight: None }];
        }
        let weight = self.weight.forward(self.base.weight.val());
        vec![Factor { input: self.input.forward(x), weight: Some(weight) }]
    }
}

/// Calibrates and switches all quantisers of a model at once.
pub trait Precision {
    /// Weights, then inputs, of every layer.
    fn quantizers(&self) -> Vec<&FakeQuantizer>;

    /// As [`FakeQuantizer::start_calibration`], everywhere.
    fn start_calibration(&self, widths: &[BitWidth]) {
        self.quantizers().iter().for_each(|it| it.start_calibration(widths));
    }

    /// As [`FakeQuantizer::finish_calibration`], everywhere.
    ///
    /// # Errors
    /// The first that fails.
    fn finish_calibration(&self) -> Result<(), CalibrationError> {
        self.quantizers().into_iter().try_for_each(FakeQuantizer::finish_calibration)
    }

    /// Weights and inputs of every layer to `bits`; 32 is the plain model.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`] with the first quantiser that has no such width; no layer is
    /// then changed.
    fn set_precision(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        let before: Vec<BitWidth> = self.quantizers().iter().map(|it| it.bits()).collect();
        let set = self.quantizers().into_iter().try_for_each(|it| it.set_bits(bits));
        if set.is_err() {
            for (quantizer, bits) in self.quantizers().into_iter().zip(before) {
                quantizer.set_bits(bits)?;
            }
        }
        set
    }
}

impl Precision for FakeQuantizedGpt2 {
    fn quantizers(&self) -> Vec<&FakeQuantizer> {
        let blocks = self.h.iter().flat_map(|block| {
            [&block.attn.c_attn, &block.attn.c_proj, &block.mlp.c_fc, &block.mlp.c_proj]
        });
        let layers: Vec<&FakeQuantizedLinear> = blocks.chain(&self.lm_head).collect();
        let weights = layers.iter().map(|layer| &layer.weight);
        weights.chain(layers.iter().map(|layer| &layer.input)).collect()
    }
}
