//! All quantisers of a model at once.

use burn::tensor::Device;
use quantizers::BitWidth;

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
}
