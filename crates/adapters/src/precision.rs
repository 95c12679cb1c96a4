//! All quantisers of a model at once.

use std::collections::BTreeMap;

use burn::tensor::Device;
use quantizers::BitWidth;

use crate::calibration::Records;
use crate::{CalibrationError, FakeQuantizer, LayerGradient};

/// Calibrates and switches the quantisers of a model.
pub trait Precision {
    /// Weights, then inputs, of every layer.
    fn quantizers(&self) -> Vec<&FakeQuantizer>;

    /// Of the gradient of every layer's output.
    fn gradients(&self) -> Vec<&LayerGradient>;

    /// As [`FakeQuantizer::learn_scales`], wherever scales are calibrated.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`]; no scale is then a parameter that was none.
    fn learn_scales(
        &mut self,
        widths: &[BitWidth],
        device: &Device,
    ) -> Result<(), CalibrationError>;

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

    /// The gradients of all outputs to `bits`, rounded by the words of backward pass `pass`.
    fn set_gradients(&self, bits: BitWidth, pass: u64) {
        for gradient in self.gradients() {
            gradient.set_bits(bits);
            gradient.set_pass(pass);
        }
    }

    /// As [`LayerGradient::start_calibration`], everywhere.
    fn start_gradient_calibration(&self, widths: &[BitWidth]) {
        self.gradients().iter().for_each(|it| it.start_calibration(widths));
    }

    /// As [`LayerGradient::finish_calibration`], everywhere.
    ///
    /// # Errors
    /// The first that fails.
    fn finish_gradient_calibration(&self) -> Result<(), CalibrationError> {
        self.gradients().into_iter().try_for_each(LayerGradient::finish_calibration)
    }

    /// Everything calibrated, by `LAYER.ROLE.BITS.scale`, `.zero_point` and `.offset`, for example
    /// `h.0.attn.c_attn.weight.4.scale`; each `[groups]`, to be stored bit for bit.
    fn calibration(&self) -> BTreeMap<String, Vec<f32>> {
        let of_all = records(self).into_iter().flat_map(|records| {
            let name = records.name();
            records.state().into_iter().map(move |(key, value)| (format!("{name}.{key}"), value))
        });
        of_all.collect()
    }

    /// Takes over what [`calibration`](Self::calibration) gave, in place of everything calibrated; all
    /// widths go to 32.
    ///
    /// # Errors
    /// [`CalibrationError::State`] or [`CalibrationError::NoSuchQuantizer`] for an entry that belongs to
    /// none; nothing is then changed.
    fn restore_calibration(
        &self,
        entries: &BTreeMap<String, Vec<f32>>,
    ) -> Result<(), CalibrationError> {
        let records = records(self);
        let mut parts: BTreeMap<_, _> =
            records.iter().map(|it| (it.name(), BTreeMap::new())).collect();
        for (key, value) in entries {
            // LAYER.ROLE, then BITS.FIELD.
            let (before, field) = key.rsplit_once('.').unwrap_or((key, ""));
            let (name, bits) = before.rsplit_once('.').unwrap_or((before, ""));
            let part = parts.get_mut(name);
            let part = part.ok_or_else(|| CalibrationError::NoSuchQuantizer(key.clone()))?;
            part.insert(format!("{bits}.{field}"), value.clone());
        }
        let known = records.iter().map(|it| it.parse(&parts[&it.name()]));
        let known = known.collect::<Result<Vec<_>, _>>()?;
        records.into_iter().zip(known).for_each(|(records, known)| records.install(known));
        Ok(())
    }
}

fn records<P: Precision + ?Sized>(model: &P) -> Vec<&Records> {
    let quantizers = model.quantizers().into_iter().map(FakeQuantizer::records);
    quantizers.chain(model.gradients().into_iter().map(LayerGradient::records)).collect()
}
