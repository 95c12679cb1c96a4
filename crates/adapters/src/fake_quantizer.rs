//! A fake quantiser inside a model: calibrated per width, switched between widths, trained through.
//!
//! # Life cycle
//! It begins at 32 bits, where values pass as they are. [`start_calibration`](FakeQuantizer::start_calibration)
//! names widths; forward passes then only watch, and values still pass, so that later layers see clean
//! ones. [`finish_calibration`](FakeQuantizer::finish_calibration) freezes scales and zero points of
//! every width from the same values. [`set_bits`](FakeQuantizer::set_bits) switches; a width without
//! scales is an error, never a default, and no width is forgotten. A clone shares all of this.
//!
//! Scales are frozen by calibration, or come from the values at hand ([`Scales`]), or are learned:
//! [`learn_scales`](FakeQuantizer::learn_scales) makes parameters of those that calibration found.
//! Whatever is not finite passes as it is, so that the loss says so.
//!
//! The product of codes and scales is computed on the host, by the same kernels for every backend;
//! gradients pass through the mask of the grid.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use gpt2_model::{DeviceError, host};
use quantizers::{BitWidth, Derivatives, Granularity, Operand, Params, Quantizer};
use serde::{Deserialize, Serialize};

use crate::calibration::{Mode, Records, Seen};
use crate::{CalibrationError, LearnedScales, straight_through};

/// Where scales come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scales {
    /// Frozen by calibration. Those of activations with a scale a token or a group cannot be, as no two
    /// batches have the same tokens: they are dynamic.
    #[default]
    Calibrated,
    /// From the values at hand, at every width: for weights that are trained.
    Dynamic,
}

/// Fake quantisation of one tensor of a layer: its weight, or its input.
#[derive(Module, Debug)]
pub struct FakeQuantizer {
    /// Grid, range, granularity and operand; its width is not used.
    #[module(skip)]
    config: Quantizer,
    #[module(skip)]
    scales: Scales,
    #[module(skip)]
    records: Records,
    /// Scales that are trained, by width.
    learned: Vec<LearnedScales>,
}

impl FakeQuantizer {
    /// At 32 bits. `name` is what errors call it, for example `h.0.attn.c_attn.input`.
    pub fn new(name: &str, config: Quantizer, scales: Scales) -> Self {
        Self { config, scales, records: Records::new(name), learned: Vec::new() }
    }

    /// Whether scales come from the values at hand, so that there is nothing to calibrate.
    pub fn is_dynamic(&self) -> bool {
        let Quantizer { operand, granularity, .. } = &self.config;
        self.scales == Scales::Dynamic
            || *operand == Operand::Activation && *granularity != Granularity::Tensor
    }

    /// From here on forward passes are watched for `widths`; earlier scales of these are replaced when
    /// the calibration is finished, those of other widths stay.
    pub fn start_calibration(&self, widths: &[BitWidth]) {
        let seen = match self.config.operand {
            _ if self.is_dynamic() => Seen::Nothing,
            Operand::Activation => Seen::Batches(self.config.range.as_dyn().observer()),
            _ => Seen::Whole(None),
        };
        self.records.start(widths, seen);
    }

    /// Freezes scales and zero points of the widths that were named.
    ///
    /// # Errors
    /// If no calibration began, no value came by, one was not finite, or the grid has no codes of a
    /// width; nothing is then changed, and the calibration goes on.
    pub fn finish_calibration(&self) -> Result<(), CalibrationError> {
        self.records.finish(|observer, bits| observer.fit(self.config.grid.as_dyn(), bits))
    }

    /// Makes the scales of `widths` parameters of the module, from where calibration left them; with them
    /// the zero points of the affine grid and the offsets of LSQ+. They belong in the optimiser, and
    /// take no weight decay.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`]; nothing is then changed.
    pub fn learn_scales(
        &mut self,
        widths: &[BitWidth],
        device: &Device,
    ) -> Result<(), CalibrationError> {
        let widths = widths.iter().filter(|bits| !bits.is_full());
        let made = widths.map(|&bits| {
            let start = self.records.known(bits)?;
            let codes = self.config.grid.as_dyn().codes(bits);
            let codes = codes.map_err(|source| self.records.failed(source))?;
            Ok(LearnedScales::new(bits, &codes, &start, device))
        });
        let made = made.collect::<Result<Vec<_>, CalibrationError>>()?;
        self.learned.retain(|old| made.iter().all(|new| new.bits() != old.bits()));
        self.learned.extend(made);
        Ok(())
    }

    /// Whether `widths` were calibrated.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`] with the first that was not.
    pub fn check_calibrated(&self, widths: &[BitWidth]) -> Result<(), CalibrationError> {
        let mut widths = widths.iter().filter(|bits| !bits.is_full());
        widths.try_for_each(|&bits| self.records.known(bits).map(drop))
    }

    /// The scales that are trained, by width.
    pub fn learned(&self) -> &[LearnedScales] {
        &self.learned
    }

    fn at(&self, bits: BitWidth) -> Quantizer {
        Quantizer { bits, ..self.config.clone() }
    }

    /// Goes to a width that was calibrated, or to 32.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`]; the width then stays what it was.
    pub fn set_bits(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        if !self.is_dynamic() {
            self.check_calibrated(&[bits])?;
        }
        self.records.set_bits(bits);
        Ok(())
    }

    /// The width it is at.
    pub fn bits(&self) -> BitWidth {
        self.records.bits()
    }

    /// Whether forward passes are being watched.
    pub fn is_calibrating(&self) -> bool {
        self.records.is_calibrating()
    }

    /// The widths that were calibrated.
    pub fn calibrated(&self) -> Vec<BitWidth> {
        self.records.widths()
    }

    /// # Shapes
    /// - x, output: `[rows, cols]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (bits, params) = match self.records.mode() {
            Mode::Calibrating => {
                self.watch(&x);
                return x;
            }
            Mode::At(bits, _) if bits.is_full() => return x,
            Mode::At(bits, params) => (bits, params),
        };
        let quantizer = self.at(bits);
        let quantized = match self.learned.iter().find(|it| it.bits() == bits) {
            Some(learned) => learned.forward(&quantizer, &x),
            None => quantized(&quantizer, params.as_deref(), &x),
        };
        quantized.unwrap_or(x)
    }

    /// Shows a calibration the values of `x`; what cannot be read is not seen.
    fn watch(&self, x: &Tensor<2>) {
        let whole = self.config.operand != Operand::Activation;
        if self.is_dynamic() || whole && !self.records.awaits_tensor() {
            return;
        }
        let Ok(values) = on_host(x) else { return };
        if whole {
            self.records.observe_whole(|bits| self.at(bits).fit(&values, x.dims()));
        } else {
            self.records.observe(&values);
        }
    }

    /// Everything calibrated, by `BITS.scale`, `BITS.zero_point` and `BITS.offset`, each `[groups]`:
    /// to be stored under the path of this quantiser, bit for bit. What is learned is stored with the
    /// other parameters of the module.
    pub fn state(&self) -> BTreeMap<String, Vec<f32>> {
        self.records.state()
    }

    /// Takes over what [`state`](Self::state) gave, in place of everything calibrated; the width goes
    /// to 32.
    ///
    /// # Errors
    /// [`CalibrationError::State`] for an entry that is no width, or has no partner of its length;
    /// nothing is then changed.
    pub fn restore(&self, entries: &BTreeMap<String, Vec<f32>>) -> Result<(), CalibrationError> {
        self.records.install(self.records.parse(entries)?);
        Ok(())
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }
}

/// The values of `x`, row by row.
pub(crate) fn on_host(x: &Tensor<2>) -> Result<Vec<f32>, DeviceError> {
    let data = host(x.clone().inner())?;
    data.try_to_vec().map_err(|error| DeviceError(error.to_string()))
}

/// With given parameters, or with those of the values at hand; none for values that have no codes.
fn quantized(quantizer: &Quantizer, params: Option<&[Params]>, x: &Tensor<2>) -> Option<Tensor<2>> {
    let shape = x.dims();
    let values = on_host(x).ok()?;
    let params = match params {
        Some(params) => Cow::Borrowed(params),
        None => Cow::Owned(quantizer.fit(&values, shape).ok()?),
    };
    if x.is_tracked() {
        let [value, mask, _] = derived(quantizer, &params, &values, x)?;
        return Some(straight_through(value, &[(x.clone(), mask)]));
    }
    let mut out = vec![0.0; values.len()];
    quantizer.fake_quantize_into(&values, shape, &params, &mut out).ok()?;
    Some(Tensor::from_data(TensorData::new(out, shape), &x.device()))
}

/// Value, mask and derivative by the scale, each of the shape and on the device of `x`, which has these
/// `values`; none for values that have no codes.
pub(crate) fn derived(
    quantizer: &Quantizer,
    params: &[Params],
    values: &[f32],
    x: &Tensor<2>,
) -> Option<[Tensor<2>; 3]> {
    let shape = x.dims();
    let [mut value, mut mask, mut scale] = [0; 3].map(|_| vec![0.0; values.len()]);
    let out = Derivatives { values: &mut value, mask: &mut mask, scale: &mut scale };
    let rule = quantizer.grid.as_dyn().codes(quantizer.bits).ok()?.rule;
    quantizer.derivatives_into(values, shape, params, rule, out).ok()?;
    let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &x.device());
    Some([value, mask, scale].map(tensor))
}
