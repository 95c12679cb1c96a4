//! A linear layer for training at widths that change from step to step.
//!
//! # Definition
//! $y = Q_x(x)\,Q_W(W) + \text{bias} + s\,Q_x(x)\,Q_A(A)^\top Q_B(B)^\top$ with one pair $A$, $B$ for all
//! widths and quantisers that know several; at 32 bits $y = xW + \text{bias}$. On their way back gradients
//! pass a quantiser of a width of its own, which stays while that of the layer cycles.
//!
//! # Reference
//! Y. Fu et al., *CPT: Efficient Deep Neural Network Training via Cyclic Precision*, ICLR 2021,
//! arXiv:2101.09868, code GATECH-EIC/CPT, for widths and gradients; Laurence-Wu/LLM-QAT-on-gpt2 for LoRA in
//! it.
//!
//! # Notes on the reference implementation
//! CPT quantises the gradient of a layer's output with stochastic rounding and has no adapters; the other
//! quantises those of $A$ and $B$: [`GradientPlace`] has both. It shares a quantiser between the factors;
//! here each has its own.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use counter_rng::Key;
use gpt2_model::{Factor, Gpt2, LinearLayer, PlainGpt2};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use crate::fake_quantized::by_rows;
use crate::{
    ByWidth, CalibrationError, FakeQuantConfig, FakeQuantizedLinear, LayerGradient, LowRank,
    Quantization, QuantizedLayer, Rank,
};

/// GPT-2 for cyclic precision training.
pub type CyclicGpt2 = Gpt2<CyclicLinear, LayerNorm>;

/// Which gradients are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientPlace {
    /// That of every layer's output, and so those of its input and of all its weights (CPT).
    #[default]
    Output,
    /// Those of the factors of the adapters.
    Factors,
}

/// Whether the weights of the model itself are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaseWeights {
    /// Adapters and norms are trained alone.
    #[default]
    Frozen,
    /// Everything is trained. Scales of weights then follow the weights.
    Trained,
}

/// What is trained, and through which quantisers.
///
/// ```toml
/// rank = 16
/// alpha = 32
/// base = "frozen"
///
/// [quantize]
/// head = true
/// weight = { range = { kind = "mse" } }
///
/// [factors]
/// granularity = "channel"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CyclicConfig {
    /// Of weights, inputs and gradients.
    pub quantize: FakeQuantConfig,
    /// Of the factors of the adapters; none leaves them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factors: Option<ByWidth>,
    /// Inner dimension $r$ of the pair; 0 for no adapter.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
    /// Whether the base moves.
    pub base: BaseWeights,
    /// Which gradients are quantised.
    pub gradient_at: GradientPlace,
}

impl Default for CyclicConfig {
    fn default() -> Self {
        Self {
            quantize: FakeQuantConfig::default(),
            factors: Some(Quantization::default().into()),
            rank: 16,
            alpha: 32.0,
            base: BaseWeights::default(),
            gradient_at: GradientPlace::default(),
        }
    }
}

impl CyclicConfig {
    /// Gives `model` quantisers, at 32 bits, and adapters. Norms are trained. Nothing is calibrated and
    /// nothing allocated.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] for a granularity that does not suit a tensor, named.
    pub fn apply(&self, model: PlainGpt2, key: Key) -> Result<CyclicGpt2, CalibrationError> {
        let model = self.quantize.with_head(model);
        let model = match self.base {
            BaseWeights::Frozen => model.no_grad(),
            BaseWeights::Trained => model,
        };
        let device = model.wte.weight.lazy_device();
        let layer = |name: &str, base: Linear| {
            let shape = base.weight.lazy_shape().dims();
            let Self { rank, alpha, .. } = *self;
            let lora = (rank > 0).then(|| {
                let (rank, key) = (Rank { rank, alpha }, key.derive(name));
                LowRank::new(name, shape, rank, self.factors.as_ref(), key, &device)
            });
            let mut lora = lora.transpose()?;
            let rounding = &self.quantize.gradient;
            if let (GradientPlace::Factors, Some(lora)) = (self.gradient_at, &mut lora) {
                let gradient = |part: &str| {
                    LayerGradient::new(&format!("{name}.{part}.gradient"), rounding.clone())
                };
                lora.gradients = ["lora_A", "lora_B"].map(gradient).into();
            }
            let quantized = self.quantize.layer(name, base)?;
            Ok(CyclicLinear { quantized, lora, gradient_at: self.gradient_at })
        };
        let trained = |_: &str, norm: LayerNorm| Ok::<_, CalibrationError>(norm.unfreeze());
        let mut model = model.map_layers(layer, trained)?;
        (model.wte, model.wpe) = self.quantize.embeddings(model.wte, model.wpe)?;
        Ok(model)
    }
}

/// A [`Linear`] seen through quantisers, with one adapter for all widths.
#[derive(Module, Debug)]
pub struct CyclicLinear {
    /// Frozen or trained.
    pub quantized: FakeQuantizedLinear,
    /// One pair for all widths.
    pub lora: Option<LowRank>,
    #[module(skip)]
    gradient_at: GradientPlace,
}

impl CyclicLinear {
    fn is_adapted(&self) -> Option<&LowRank> {
        self.lora.as_ref().filter(|_| self.quantized.active().is_some())
    }

    fn rows(&self, x: Tensor<2>) -> Tensor<2> {
        let quantized = &self.quantized;
        let x = quantized.input.forward(x);
        let weight = quantized.weight.forward(quantized.base.weight.val());
        let y = quantized.product(x.clone(), weight);
        quantized.gradient.forward(match self.is_adapted() {
            Some(lora) => y + lora.forward(x),
            None => y,
        })
    }
}

impl LinearLayer for CyclicLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        if self.quantized.is_plain() {
            return LinearLayer::forward(&self.quantized, x);
        }
        by_rows(x, |x| self.rows(x))
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        let quantized = &self.quantized;
        let Some(lora) = self.is_adapted() else { return quantized.factors(x) };
        if quantized.base.bias.is_some() || !quantized.gradient.is_idle() {
            return vec![Factor { input: self.rows(x), weight: None }];
        }
        let x = quantized.input.forward(x);
        let weight = quantized.weight.forward(quantized.base.weight.val());
        vec![Factor { input: x.clone(), weight: Some(weight) }, lora.factor(x)]
    }
}

impl QuantizedLayer for CyclicLinear {
    fn quantized(&self) -> &FakeQuantizedLinear {
        &self.quantized
    }

    fn quantized_mut(&mut self) -> &mut FakeQuantizedLinear {
        &mut self.quantized
    }

    fn gradients(&self) -> Vec<&LayerGradient> {
        match self.gradient_at {
            GradientPlace::Output => vec![&self.quantized.gradient],
            GradientPlace::Factors => {
                self.lora.iter().flat_map(|lora| lora.gradients.iter()).collect()
            }
        }
    }

    fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        self.lora.as_ref().map_or(Ok(()), |lora| lora.check_width(bits))
    }

    fn select_width(&self, bits: BitWidth) {
        if let Some(lora) = &self.lora {
            lora.select_width(bits);
        }
    }
}
