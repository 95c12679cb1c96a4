//! One frozen GPT-2 that runs at many widths, with adapters and norms of its own for each.
//!
//! # Definition
//! At $b$ bits, $y_b = Q_{x,b}(x)\,Q_{W,b}(W) + \text{bias} + s_b\,x\,Q_{A,b}(A_b)^\top Q_{B,b}(B_b)^\top$:
//! the low-rank term reads the input as it is. At 32 bits the layer is the plain one, bit for bit. Every
//! norm has a gain and a bias for each width, all of them copies of the pretrained ones at first; as
//! $B_b = 0$, every width then computes what quantising the pretrained model does.
//!
//! # Reference
//! Switchable precision by way of adapters for each width: W. Mao et al., *Quantized LoRA fine-tuning of
//! GPT-2*, code yz-mao/Quantized-LoRA-Finetuning-of-GPT-2, and Laurence-Wu/LLM-QAT-on-gpt2. Norms for each
//! width: Q. Jin et al., *`AdaBits`*, CVPR 2020, arXiv:1912.09666; H. Yu et al., *Any-Precision Deep Neural
//! Networks*, AAAI 2021, arXiv:1911.07346.
//!
//! # Notes on the reference implementation
//! Switching never discards a calibration, the two factors of a pair have a quantiser each, and no scale
//! lies along the contraction. With rank 64 the adapters of 14 widths have more weights than GPT-2 small;
//! [`MergeableConfig`](crate::MergeableConfig) is the small design.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use counter_rng::Key;
use gpt2_model::{Factor, Gpt2, LinearLayer, PlainGpt2};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use crate::fake_quantized::by_rows;
use crate::{
    ByWidth, CalibrationError, FakeQuantConfig, FakeQuantizedLinear, LowRank, QuantizedLayer, Rank,
    SwitchableLayerNorm,
};

/// GPT-2 that switches between widths.
pub type SwitchableGpt2 = Gpt2<SwitchableLinear, SwitchableLayerNorm>;

/// Adapters of some widths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterRule {
    /// The widths this is for; none stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bits: Vec<BitWidth>,
    /// Inner dimension $r$ of every pair; 0 for no adapter.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
}

impl Default for AdapterRule {
    fn default() -> Self {
        Self { bits: Vec::new(), rank: 64, alpha: 64.0 }
    }
}

/// Which widths a GPT-2 switches between, and what each of them has.
///
/// ```toml
/// widths = [2, 3, 4, 6, 8]
/// adapters = [{ bits = [2], rank = 16, alpha = 16 }, { rank = 8, alpha = 8 }]
///
/// [quantize.weight]
/// range = { kind = "mse" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchableConfig {
    /// Widths below 32; 32 is always there.
    pub widths: Vec<BitWidth>,
    /// Of weights and inputs.
    pub quantize: FakeQuantConfig,
    /// Of the factors of the adapters; none leaves them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factors: Option<ByWidth>,
    /// The first rule that is for a width is its own.
    pub adapters: Vec<AdapterRule>,
}

impl Default for SwitchableConfig {
    fn default() -> Self {
        Self {
            widths: Vec::new(),
            quantize: FakeQuantConfig::default(),
            factors: None,
            adapters: vec![AdapterRule::default()],
        }
    }
}

impl SwitchableConfig {
    /// The adapter of a width; none if it has none.
    pub fn rank_at(&self, bits: BitWidth) -> Option<Rank> {
        let is_for = |rule: &&AdapterRule| rule.bits.is_empty() || rule.bits.contains(&bits);
        let rule = self.adapters.iter().find(is_for).filter(|rule| rule.rank > 0)?;
        Some(Rank { rank: rule.rank, alpha: rule.alpha })
    }

    /// Freezes `model` and gives it quantisers, at 32 bits, and for each width adapters and norms. Nothing
    /// is calibrated and nothing allocated.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] for a granularity that does not suit a tensor, named.
    pub fn apply(&self, model: PlainGpt2, key: Key) -> Result<SwitchableGpt2, CalibrationError> {
        let widths = ascending(&self.widths);
        let device = model.wte.weight.lazy_device();
        let model = self.quantize.with_head(model).no_grad();
        let layer = |name: &str, base: Linear| self.layer(name, base, &widths, key, &device);
        let mut model = model.map_layers(layer, |name, norm: LayerNorm| {
            Ok(SwitchableLayerNorm::new(name, norm, &widths))
        })?;
        (model.wte, model.wpe) = self.quantize.embeddings(model.wte, model.wpe)?;
        Ok(model)
    }

    fn layer(
        &self,
        name: &str,
        base: Linear,
        widths: &[BitWidth],
        key: Key,
        device: &Device,
    ) -> Result<SwitchableLinear, CalibrationError> {
        let shape = base.weight.lazy_shape().dims();
        let adapter = |&bits: &BitWidth| {
            let factors = self.rank_at(bits).map(|rank| {
                let (name, key) =
                    (format!("{name}.{bits}"), key.derive(name).index(bits.get().into()));
                LowRank::new(&name, shape, rank, self.factors.as_ref(), key, device)
            });
            Ok(WidthAdapter { bits, factors: factors.transpose()? })
        };
        let adapters = widths.iter().map(adapter).collect::<Result<_, CalibrationError>>()?;
        let quantized = self.quantize.layer(name, base)?;
        let name = name.to_owned();
        Ok(SwitchableLinear { quantized, adapters, name, enabled: Arc::new(true.into()) })
    }
}

/// Below 32, each once, in order.
pub(crate) fn ascending(widths: &[BitWidth]) -> Vec<BitWidth> {
    let mut widths: Vec<_> = widths.iter().copied().filter(|bits| !bits.is_full()).collect();
    widths.sort_unstable();
    widths.dedup();
    widths
}

/// What a layer has for one width.
#[derive(Module, Debug)]
pub struct WidthAdapter {
    #[module(skip)]
    bits: BitWidth,
    /// None at rank 0.
    pub factors: Option<LowRank>,
}

/// A frozen [`Linear`] seen through quantisers, with an adapter for each width.
#[derive(Module, Debug)]
pub struct SwitchableLinear {
    /// Frozen.
    pub quantized: FakeQuantizedLinear,
    /// By width, ascending.
    pub adapters: Vec<WidthAdapter>,
    #[module(skip)]
    name: String,
    #[module(skip)]
    enabled: Arc<AtomicBool>,
}

impl SwitchableLinear {
    /// The adapter of the width it is at, unless there is none or adapters are off.
    fn adapter(&self) -> Option<&LowRank> {
        let bits = self.quantized.active().filter(|_| self.enabled.load(Ordering::Relaxed))?;
        self.adapters.iter().find(|it| it.bits == bits)?.factors.as_ref()
    }
}

impl LinearLayer for SwitchableLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = LinearLayer::forward(&self.quantized, x.clone());
        match self.adapter() {
            Some(adapter) => y + by_rows(x, |x| adapter.forward(x)),
            None => y,
        }
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        let mut factors = self.quantized.factors(x.clone());
        factors.extend(self.adapter().map(|adapter| adapter.factor(x)));
        factors
    }
}

impl QuantizedLayer for SwitchableLinear {
    fn quantized(&self) -> &FakeQuantizedLinear {
        &self.quantized
    }

    fn quantized_mut(&mut self) -> &mut FakeQuantizedLinear {
        &mut self.quantized
    }

    fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        if bits.is_full() {
            return Ok(());
        }
        match self.adapters.iter().find(|it| it.bits == bits) {
            Some(WidthAdapter { factors: Some(factors), .. }) => factors.check_width(bits),
            Some(_) => Ok(()),
            None => {
                let known = self.adapters.iter().map(|it| it.bits.get()).collect();
                Err(CalibrationError::NoSuchWidth { name: self.name.clone(), bits, known })
            }
        }
    }

    fn select_width(&self, bits: BitWidth) {
        let adapter = self.adapters.iter().find(|it| it.bits == bits);
        if let Some(factors) = adapter.and_then(|it| it.factors.as_ref()) {
            factors.select_width(bits);
        }
    }

    fn enable_adapters(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }
}
