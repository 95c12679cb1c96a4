//! One adapter for all widths, inside the quantiser, so that it can be merged.
//!
//! # Definition
//! At $b$ bits, $y_b = Q_{x,b}(x)\,Q_b(W + s\,A^\top B^\top) + \text{bias}$ with one pair $A$, $B$ for all
//! widths, trained scales for each ([`LearnedScales`](crate::LearnedScales)) and norms for each
//! ([`SwitchableLayerNorm`]). [`merge`](MergeableLinear::merge) puts $W + s\,A^\top B^\top$ in the place of
//! $W$ and drops the factors: every width below 32 computes the same as before, bit for bit. At 32 bits the
//! layer is the pretrained one until it is merged, and the merged one from then on.
//!
//! A pass forms $s\,A^\top B^\top$ once for every matrix, $d_{in}\,r\,d_{out}$ multiply-accumulates however
//! many tokens there are, and quantises the sum.
//!
//! # Reference
//! Adapters inside the rounding: Y. Bondarenko et al., *Low-Rank Quantization-Aware Training for LLMs*,
//! 2024, arXiv:2406.06385; the scales: S. K. Esser et al., *LSQ*, ICLR 2020, arXiv:1902.08153.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use counter_rng::Key;
use gpt2_model::{Factor, Gpt2, LinearLayer, PlainGpt2};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use crate::fake_quantized::by_rows;
use crate::switchable::ascending;
use crate::{
    CalibrationError, FakeQuantConfig, FakeQuantizedLinear, LowRank, QuantizedLayer, Rank,
    SwitchableLayerNorm,
};

/// GPT-2 with one adapter for all widths.
pub type MergeableGpt2 = Gpt2<MergeableLinear, SwitchableLayerNorm>;

/// [`MergeableGpt2`] after its adapters were merged.
pub type MergedGpt2 = Gpt2<FakeQuantizedLinear, SwitchableLayerNorm>;

/// Which widths share an adapter. The scales of weights are to be learned after calibration, with
/// [`Precision::learn_scales`](crate::Precision::learn_scales).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeableConfig {
    /// Widths below 32; 32 is always there.
    pub widths: Vec<BitWidth>,
    /// Of weights and inputs.
    pub quantize: FakeQuantConfig,
    /// Inner dimension $r$ of the pair.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
}

impl Default for MergeableConfig {
    fn default() -> Self {
        Self { widths: Vec::new(), quantize: FakeQuantConfig::default(), rank: 16, alpha: 16.0 }
    }
}

impl MergeableConfig {
    /// Freezes `model` and gives it quantisers, at 32 bits, adapters, and norms for each width. Nothing is
    /// calibrated and nothing allocated.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] for a granularity that does not suit a tensor, named.
    pub fn apply(&self, model: PlainGpt2, key: Key) -> Result<MergeableGpt2, CalibrationError> {
        let widths = ascending(&self.widths);
        let device = model.wte.weight.lazy_device();
        let model = self.quantize.with_head(model).no_grad();
        let layer = |name: &str, base: Linear| {
            let shape = base.weight.lazy_shape().dims();
            let rank = Rank { rank: self.rank, alpha: self.alpha };
            let lora = LowRank::new(name, shape, rank, None, key.derive(name), &device)?;
            Ok(MergeableLinear { quantized: self.quantize.layer(name, base)?, lora: Some(lora) })
        };
        let mut model = model.map_layers(layer, |name, norm: LayerNorm| {
            Ok::<_, CalibrationError>(SwitchableLayerNorm::new(name, norm, &widths))
        })?;
        (model.wte, model.wpe) = self.quantize.embeddings(model.wte, model.wpe)?;
        Ok(model)
    }
}

/// A frozen [`Linear`] and an adapter, quantised as one matrix.
#[derive(Module, Debug)]
pub struct MergeableLinear {
    /// Frozen.
    pub quantized: FakeQuantizedLinear,
    /// One pair for all widths; none once it is merged.
    pub lora: Option<LowRank>,
}

impl MergeableLinear {
    /// $W + s\,A^\top B^\top$.
    fn sum(&self) -> Tensor<2> {
        let weight = self.quantized.base.weight.val();
        match &self.lora {
            Some(lora) => weight + lora.product(),
            None => weight,
        }
    }

    /// Replaces the weight by its sum with the adapter.
    pub fn merge(self) -> FakeQuantizedLinear {
        let weight = Param::from_tensor(self.sum().detach()).set_require_grad(false);
        let FakeQuantizedLinear { base, weight: quantizer, input, gradient } = self.quantized;
        let base = Linear { weight, bias: base.bias };
        FakeQuantizedLinear { base, weight: quantizer, input, gradient }
    }

    /// The quantised input, and the quantised sum of weight and adapter.
    fn operands(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        (self.quantized.input.forward(x), self.quantized.weight.forward(self.sum()))
    }
}

impl LinearLayer for MergeableLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let quantized = &self.quantized;
        if quantized.active().is_none() {
            return LinearLayer::forward(quantized, x);
        }
        by_rows(x, |x| {
            let (x, weight) = self.operands(x);
            quantized.gradient.forward(quantized.product(x, weight))
        })
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        let quantized = &self.quantized;
        if quantized.active().is_none() {
            return quantized.factors(x);
        }
        let (x, weight) = self.operands(x);
        if quantized.base.bias.is_some() || !quantized.gradient.is_idle() {
            let y = quantized.gradient.forward(quantized.product(x, weight));
            return vec![Factor { input: y, weight: None }];
        }
        vec![Factor { input: x, weight: Some(weight) }]
    }
}

impl QuantizedLayer for MergeableLinear {
    fn quantized(&self) -> &FakeQuantizedLinear {
        &self.quantized
    }

    fn quantized_mut(&mut self) -> &mut FakeQuantizedLinear {
        &mut self.quantized
    }

    fn merged(self) -> Self {
        Self { quantized: self.merge(), lora: None }
    }
}

/// Merges every layer.
pub fn merge(model: MergeableGpt2) -> MergedGpt2 {
    let merged = model.map_layers(|_, layer| Ok(layer.merge()), |_, norm| Ok(norm));
    let Ok::<_, std::convert::Infallible>(merged) = merged;
    merged
}
