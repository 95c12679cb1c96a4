//! All quantisers of a model at once.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::Device;
use gpt2_model::{Block, Gpt2, LinearLayer, NormLayer};
use quantizers::BitWidth;

use crate::calibration::{self, Calibrated};
use crate::{CalibrationError, FakeQuantizedLinear, FakeQuantizer, LayerGradient};

/// Everything that calibration found in a model, to be stored beside its weights: in a safetensors file,
/// the tensors as `F32` and the settings as metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// By `LAYER.ROLE.BITS.scale`, `.zero_point` and `.offset`, for example
    /// `h.0.attn.c_attn.weight.4.scale`; each `[groups]`.
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// By `LAYER.ROLE`: what the numbers belong to.
    pub settings: BTreeMap<String, String>,
}

/// A layer with a fake-quantised linear map in it, which may have more for some widths.
pub trait QuantizedLayer: LinearLayer {
    /// The map.
    fn quantized(&self) -> &FakeQuantizedLinear;

    /// The map.
    fn quantized_mut(&mut self) -> &mut FakeQuantizedLinear;

    /// Where gradients are quantised.
    fn gradients(&self) -> Vec<&LayerGradient> {
        vec![&self.quantized().gradient]
    }

    /// Whether what it has beside the map can go to a width.
    ///
    /// # Errors
    /// [`CalibrationError::NoSuchWidth`], or as [`FakeQuantizer::set_bits`].
    fn check_width(&self, _bits: BitWidth) -> Result<(), CalibrationError> {
        Ok(())
    }

    /// Takes what it has beside the map to a width that was checked.
    fn select_width(&self, _bits: BitWidth) {}

    /// Turns adapters on or off.
    fn enable_adapters(&self, _enabled: bool) {}

    /// The layer with what it can merge merged, for passes below 32 bits without a graph: the same values,
    /// sooner.
    #[must_use]
    fn merged(self) -> Self {
        self
    }
}

/// A norm layer that may be another at some widths.
pub trait QuantizedNorm: NormLayer {
    /// Whether it can go to a width.
    ///
    /// # Errors
    /// [`CalibrationError::NoSuchWidth`].
    fn check_width(&self, _bits: BitWidth) -> Result<(), CalibrationError> {
        Ok(())
    }

    /// Goes to a width that was checked.
    fn select_width(&self, _bits: BitWidth) {}
}

/// The same at all widths.
impl QuantizedNorm for LayerNorm {}

/// Calibrates and switches the quantisers of a model.
pub trait Precision {
    /// Whether what the model has beside quantisers can go to a width.
    ///
    /// # Errors
    /// The first that cannot.
    fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError>;

    /// Takes what the model has beside quantisers to a width that was checked.
    fn select_width(&self, bits: BitWidth);

    /// Turns all adapters on or off. While a layer is calibrated its adapters are off by themselves.
    fn enable_adapters(&self, enabled: bool);

    /// Of the weight of every layer.
    fn weights(&self) -> Vec<&FakeQuantizer>;

    /// Of the input of every layer.
    fn inputs(&self) -> Vec<&FakeQuantizer>;

    /// Of the gradient of every layer's output.
    fn gradients(&self) -> Vec<&LayerGradient>;

    /// Of weights and inputs.
    fn quantizers_mut(&mut self) -> Vec<&mut FakeQuantizer>;

    /// As [`FakeQuantizer::start_calibration`], everywhere.
    fn start_calibration(&self, weights: &[BitWidth], inputs: &[BitWidth]) {
        self.weights().iter().for_each(|it| it.start_calibration(weights));
        self.inputs().iter().for_each(|it| it.start_calibration(inputs));
    }

    /// As [`FakeQuantizer::finish_calibration`], everywhere.
    ///
    /// # Errors
    /// The first that fails; no quantiser is then changed.
    fn finish_calibration(&self) -> Result<(), CalibrationError> {
        calibration::finish(&quantizers(self))
    }

    /// As [`FakeQuantizer::learn_scales`] for `widths`, wherever scales of them were calibrated.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`] for a width that no quantiser has; nothing is then changed.
    fn learn_scales(
        &mut self,
        widths: &[BitWidth],
        device: &Device,
    ) -> Result<(), CalibrationError> {
        for bits in widths {
            let has = |it: &&FakeQuantizer| it.check_calibrated(&[*bits]).is_ok();
            let all = [self.weights(), self.inputs()].concat();
            if let Some(first) = all.first().filter(|_| !all.iter().any(has)) {
                first.check_calibrated(&[*bits])?;
            }
        }
        for quantizer in self.quantizers_mut() {
            let calibrated = quantizer.calibrated();
            let widths: Vec<BitWidth> =
                widths.iter().copied().filter(|bits| calibrated.contains(bits)).collect();
            quantizer.learn_scales(&widths, device)?;
        }
        Ok(())
    }

    /// Weights and inputs of every layer each to their width, adapters and norms to that of the weights;
    /// 32 is the plain model.
    ///
    /// # Errors
    /// As [`FakeQuantizer::set_bits`] or [`check_width`](Self::check_width), for the first that cannot;
    /// no layer is then changed.
    fn set_precision(&self, weights: BitWidth, inputs: BitWidth) -> Result<(), CalibrationError> {
        let roles = [(self.weights(), weights), (self.inputs(), inputs)];
        let mut all = roles.iter().flat_map(|(of_role, bits)| of_role.iter().map(|it| (it, *bits)));
        self.check_width(weights)?;
        all.clone().try_for_each(|(it, bits)| it.check_bits(bits))?;
        all.try_for_each(|(it, bits)| it.set_bits(bits))?;
        self.select_width(weights);
        Ok(())
    }

    /// The gradients of all outputs to `bits`, rounded by the words of backward pass `pass`.
    ///
    /// # Errors
    /// As [`LayerGradient::set_bits`]; nothing is then changed.
    fn set_gradients(&self, bits: BitWidth, pass: u64) -> Result<(), CalibrationError> {
        for gradient in self.gradients() {
            gradient.set_bits(bits)?; // all or none has such a width
            gradient.set_pass(pass);
        }
        Ok(())
    }

    /// As [`LayerGradient::start_calibration`], everywhere.
    fn start_gradient_calibration(&self, widths: &[BitWidth]) {
        self.gradients().iter().for_each(|it| it.start_calibration(widths));
    }

    /// As [`LayerGradient::finish_calibration`], everywhere.
    ///
    /// # Errors
    /// The first that fails; nothing is then changed.
    fn finish_gradient_calibration(&self) -> Result<(), CalibrationError> {
        calibration::finish(&gradients(self))
    }

    /// Everything calibrated, bit for bit.
    fn calibration(&self) -> Calibration {
        let mut calibration = Calibration::default();
        for it in [quantizers(self), gradients(self)].concat() {
            let name = it.records().name();
            let tensors =
                it.state().into_iter().map(|(key, value)| (format!("{name}.{key}"), value));
            calibration.tensors.extend(tensors);
            calibration.settings.insert(name, it.settings());
        }
        calibration
    }

    /// Takes over what [`calibration`](Self::calibration) gave, in place of everything calibrated; all
    /// widths go to 32.
    ///
    /// # Errors
    /// [`CalibrationError::NoSuchQuantizer`] for an entry that belongs to none,
    /// [`CalibrationError::OtherSettings`], or as [`FakeQuantizer::restore`]; nothing is then changed.
    fn restore_calibration(&self, stored: &Calibration) -> Result<(), CalibrationError> {
        let all = [quantizers(self), gradients(self)].concat();
        let mut parts: BTreeMap<String, BTreeMap<String, Vec<f32>>> =
            all.iter().map(|it| (it.records().name(), BTreeMap::new())).collect();
        for (key, value) in &stored.tensors {
            // LAYER.ROLE, then BITS.FIELD.
            let (before, field) = key.rsplit_once('.').unwrap_or((key, ""));
            let (name, bits) = before.rsplit_once('.').unwrap_or((before, ""));
            let part = parts.get_mut(name);
            let part = part.ok_or_else(|| CalibrationError::NoSuchQuantizer(key.clone()))?;
            part.insert(format!("{bits}.{field}"), value.clone());
        }
        for it in &all {
            let (name, expected) = (it.records().name(), it.settings());
            let stored = stored.settings.get(&name);
            if stored != Some(&expected) {
                let stored = stored.cloned().unwrap_or_default();
                return Err(CalibrationError::OtherSettings { name, stored, expected });
            }
        }
        calibration::restore(all.iter().map(|it| (*it, &parts[&it.records().name()])))
    }
}

impl<L: QuantizedLayer, N: QuantizedNorm> Precision for Gpt2<L, N> {
    fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        layers(self).into_iter().try_for_each(|it| it.check_width(bits))?;
        norms(self).into_iter().try_for_each(|it| it.check_width(bits))
    }

    fn select_width(&self, bits: BitWidth) {
        for layer in layers(self) {
            layer.select_width(bits);
        }
        for norm in norms(self) {
            norm.select_width(bits);
        }
    }

    fn enable_adapters(&self, enabled: bool) {
        for layer in layers(self) {
            layer.enable_adapters(enabled);
        }
    }

    fn weights(&self) -> Vec<&FakeQuantizer> {
        layers(self).into_iter().map(|it| &it.quantized().weight).collect()
    }

    fn inputs(&self) -> Vec<&FakeQuantizer> {
        layers(self).into_iter().map(|it| &it.quantized().input).collect()
    }

    fn gradients(&self) -> Vec<&LayerGradient> {
        layers(self).into_iter().flat_map(L::gradients).collect()
    }

    fn quantizers_mut(&mut self) -> Vec<&mut FakeQuantizer> {
        let blocks = self.h.iter_mut().flat_map(|block| {
            let Block { attn, mlp, .. } = block;
            [&mut attn.c_attn, &mut attn.c_proj, &mut mlp.c_fc, &mut mlp.c_proj]
        });
        let layers = blocks.chain(&mut self.lm_head).map(L::quantized_mut);
        layers.flat_map(|it| [&mut it.weight, &mut it.input]).collect()
    }
}

fn layers<L: Module, N: Module>(model: &Gpt2<L, N>) -> Vec<&L> {
    let blocks = model.h.iter().flat_map(|block| {
        [&block.attn.c_attn, &block.attn.c_proj, &block.mlp.c_fc, &block.mlp.c_proj]
    });
    blocks.chain(&model.lm_head).collect()
}

fn norms<L: Module, N: Module>(model: &Gpt2<L, N>) -> Vec<&N> {
    model.h.iter().flat_map(|block| [&block.ln_1, &block.ln_2]).chain([&model.ln_f]).collect()
}

/// Of weights, then of inputs.
fn quantizers<P: Precision + ?Sized>(model: &P) -> Vec<&dyn Calibrated> {
    let all = model.weights().into_iter().chain(model.inputs());
    all.map(|it| it as &dyn Calibrated).collect()
}

fn gradients<P: Precision + ?Sized>(model: &P) -> Vec<&dyn Calibrated> {
    model.gradients().into_iter().map(|it| it as &dyn Calibrated).collect()
}
