//! All quantisers of a model at once.

use std::collections::BTreeMap;

use burn::tensor::Device;
use quantizers::BitWidth;

use crate::calibration::{self, Calibrated};
use crate::{CalibrationError, FakeQuantizer, LayerGradient};

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

/// Calibrates and switches the quantisers of a model.
pub trait Precision {
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

    /// Weights and inputs of every layer each to their width; 32 is the plain model.
    ///
    /// # Errors
    /// As [`FakeQuantizer::set_bits`], for the first quantiser that has no such width; no layer is then
    /// changed.
    fn set_precision(&self, weights: BitWidth, inputs: BitWidth) -> Result<(), CalibrationError> {
        let roles = [(self.weights(), weights), (self.inputs(), inputs)];
        let all =
            || roles.iter().flat_map(|(of_role, bits)| of_role.iter().map(move |it| (it, *bits)));
        let before: Vec<BitWidth> = all().map(|(it, _)| it.bits()).collect();
        let set = all().try_for_each(|(it, bits)| it.set_bits(bits));
        if set.is_err() {
            all().zip(before).for_each(|((it, _), bits)| it.records().set_bits(bits));
        }
        set
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

/// Of weights, then of inputs.
fn quantizers<P: Precision + ?Sized>(model: &P) -> Vec<&dyn Calibrated> {
    let all = model.weights().into_iter().chain(model.inputs());
    all.map(|it| it as &dyn Calibrated).collect()
}

fn gradients<P: Precision + ?Sized>(model: &P) -> Vec<&dyn Calibrated> {
    model.gradients().into_iter().map(|it| it as &dyn Calibrated).collect()
}
