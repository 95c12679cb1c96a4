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
//! Scales are of the tensor that was calibrated: other weights call for another calibration.
//!
//! Whatever is not finite passes as it is, so that the loss says so; and where anything else keeps values
//! from being quantised, such as a trained scale that is not finite, all of them become NaN.
//!
//! The product of codes and scales is computed on the host, by the same kernels for every backend;
//! gradients pass through the mask of the grid.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use gpt2_model::{DeviceError, host};
use quantizers::{
    BitWidth, Codes, Derivatives, Granularity, Operand, Params, Quantizer, QuantizerError,
};
use serde::{Deserialize, Serialize};

use crate::cached::{Cached, ScalesAtHand};
use crate::calibration::{self, Calibrated, Known, Mode, Records, Seen, entries};
use crate::{ByWidth, CalibrationError, LearnedScales, Quantization, straight_through};

/// What is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A weight of this shape, `[d_input, d_output]`.
    Weight([usize; 2]),
    /// An input `[tokens, d_input]` with this many features.
    Input(usize),
}

impl Role {
    fn operand(self) -> Operand {
        match self {
            Self::Weight(_) => Operand::Weight,
            Self::Input(_) => Operand::Activation,
        }
    }

    /// Of a tensor, as far as it is known.
    fn shape(self) -> [usize; 2] {
        match self {
            Self::Weight(shape) => shape,
            Self::Input(features) => [1, features],
        }
    }
}

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
    #[module(skip)]
    how: ByWidth,
    #[module(skip)]
    role: Role,
    #[module(skip)]
    scales: Scales,
    #[module(skip)]
    records: Records,
    #[module(skip)]
    cached: Cached,
    /// Scales that are trained, by width, ascending.
    learned: Vec<LearnedScales>,
}

impl FakeQuantizer {
    /// At 32 bits. `name` is what errors call it, for example `h.0.attn.c_attn.input`.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] for a granularity that does not suit the tensor.
    pub fn new(
        name: &str,
        how: &ByWidth,
        role: Role,
        scales: Scales,
    ) -> Result<Self, CalibrationError> {
        let records = Records::new(name);
        for rule in how.rules() {
            let quantizer = rule.at(BitWidth::FULL, role.operand());
            quantizer.groups(role.shape()).map_err(|source| records.failed(source))?;
        }
        let (how, cached) = (how.clone(), Cached::default());
        Ok(Self { how, role, scales, records, cached, learned: Vec::new() })
    }

    /// Whether the scales of a width come from the values at hand, so that there is nothing to calibrate.
    pub fn is_dynamic(&self, bits: BitWidth) -> bool {
        let is_tensor = |it: &Quantization| it.granularity == Granularity::Tensor;
        let is_input = matches!(self.role, Role::Input(_));
        self.scales == Scales::Dynamic || is_input && !self.how.of(bits).is_some_and(is_tensor)
    }

    /// From here on forward passes are watched for `widths`; earlier scales of these are replaced when
    /// the calibration is finished, those of other widths stay.
    pub fn start_calibration(&self, widths: &[BitWidth]) {
        let awaited = |bits: &BitWidth| !bits.is_full() && !self.is_dynamic(*bits);
        let widths: Vec<BitWidth> = widths.iter().copied().filter(awaited).collect();
        let seen = match self.role {
            _ if widths.is_empty() => Seen::Nothing,
            Role::Weight(_) => Seen::Whole(None),
            Role::Input(_) => {
                let observers = self.how.rules().iter().map(|rule| {
                    let is_of = |bits: &BitWidth| self.how.of(*bits) == Some(rule);
                    let widths = widths.iter().copied().filter(is_of).collect();
                    (widths, rule.range.as_dyn().observer())
                });
                Seen::Batches(observers.collect())
            }
        };
        self.records.start(&widths, seen);
    }

    /// Freezes scales and zero points of the widths that were named.
    ///
    /// # Errors
    /// If no calibration began, no value came by, one was not finite or could not be read, or the grid has
    /// no codes of a width; nothing is then changed, and the calibration goes on.
    pub fn finish_calibration(&self) -> Result<(), CalibrationError> {
        calibration::finish(&[self])
    }

    /// Makes the scales of `widths` parameters of the module, from where calibration left them; with them
    /// the zero points of the affine grid and the offsets of LSQ+. They belong in the optimiser, and
    /// take no weight decay. A later calibration of such a width takes their place.
    ///
    /// Their parameters are numbered by width, ascending: a model into which trained ones are loaded must
    /// have learned the same widths.
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
            let codes = self.codes(bits)?;
            Ok(LearnedScales::new(bits, &codes, &start, device))
        });
        let made = made.collect::<Result<Vec<_>, CalibrationError>>()?;
        self.learned.retain(|old| made.iter().all(|new| new.bits() != old.bits()));
        self.learned.extend(made);
        self.learned.sort_by_key(LearnedScales::bits);
        self.learned.dedup_by_key(|it| it.bits());
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

    /// The scales that are trained, by width, ascending.
    pub fn learned(&self) -> &[LearnedScales] {
        &self.learned
    }

    fn at(&self, bits: BitWidth) -> Result<Quantizer, CalibrationError> {
        let rule = self.how.of(bits);
        let rule = rule.ok_or_else(|| CalibrationError::NoRule { name: self.records.name(), bits });
        Ok(rule?.at(bits, self.role.operand()))
    }

    fn codes(&self, bits: BitWidth) -> Result<Codes, CalibrationError> {
        let codes = self.at(bits)?.grid.as_dyn().codes(bits);
        codes.map_err(|source| self.records.failed(source))
    }

    /// The bits in which the tensor is held at a width, and its values: a code for each, and for each group
    /// an `f32` scale and, of a grid that has one, an `f32` zero point or offset.
    ///
    /// # Errors
    /// As [`scale_count`](Self::scale_count).
    pub fn storage(&self, bits: BitWidth) -> Result<(u64, u64), CalibrationError> {
        let [rows, cols] = self.role.shape();
        let values = rows as u64 * cols as u64;
        if bits.is_full() {
            return Ok((32 * values, values));
        }
        let numbers = if self.codes(bits)?.shift.is_some() { 2 } else { 1 };
        let scales = 32 * numbers * self.scale_count(bits)? as u64;
        Ok((u64::from(bits.get()) * values + scales, values))
    }

    /// Scales of a width, whether calibrated, dynamic or learned: one a group.
    ///
    /// # Errors
    /// [`CalibrationError::NoRule`], or [`CalibrationError::Quantizer`] for a granularity that does not
    /// suit the tensor.
    pub fn scale_count(&self, bits: BitWidth) -> Result<usize, CalibrationError> {
        let groups = self.at(bits)?.groups(self.role.shape());
        Ok(groups.map_err(|source| self.records.failed(source))?.count())
    }

    /// Goes to a width that was calibrated, or to 32.
    ///
    /// # Errors
    /// As [`check_bits`](Self::check_bits); the width then stays what it was.
    pub fn set_bits(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        self.check_bits(bits)?;
        self.records.set_bits(bits);
        Ok(())
    }

    /// Whether it can go to a width.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`], [`CalibrationError::NoRule`], or
    /// [`CalibrationError::Quantizer`] for a width of which the grid has no codes.
    pub fn check_bits(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        if !bits.is_full() {
            self.codes(bits)?;
            if !self.is_dynamic(bits) {
                self.check_calibrated(&[bits])?;
            }
        }
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
        match self.quantized(bits, params.as_ref(), &x) {
            Ok(quantized) => quantized,
            Err(Unquantized::Value) => x,
            Err(Unquantized::Other) => x * f32::NAN,
        }
    }

    fn quantized(
        &self,
        bits: BitWidth,
        params: Option<&calibration::Scales>,
        x: &Tensor<2>,
    ) -> Result<Tensor<2>, Unquantized> {
        let quantizer = self.at(bits).map_err(|_| Unquantized::Other)?; // since checked
        let learned = self.trained(bits, params);
        let make = || match learned {
            Some(learned) => learned.forward(&quantizer, x),
            None => quantized(&quantizer, params.map(AsRef::as_ref), x),
        };
        let scales = match learned {
            Some(learned) => learned.constant().map(|it| ScalesAtHand::Learned(Box::new(it))),
            None => Some(params.cloned().map_or(ScalesAtHand::Dynamic, ScalesAtHand::Calibrated)),
        };
        match scales {
            Some(scales) if !x.is_tracked() && matches!(self.role, Role::Weight(_)) => {
                self.cached.get_or_make(x, bits, scales, make)
            }
            _ => make(),
        }
    }

    /// The trained scales of a width, if no calibration has come after them.
    fn trained(
        &self,
        bits: BitWidth,
        known: Option<&calibration::Scales>,
    ) -> Option<&LearnedScales> {
        self.learned
            .iter()
            .find(|it| it.bits() == bits && known.is_some_and(|known| it.is_of(known)))
    }

    /// Shows a calibration the values of `x`.
    fn watch(&self, x: &Tensor<2>) {
        if !self.records.is_watching() {
            return;
        }
        let values = match on_host(x) {
            Ok(values) => values,
            Err(source) => {
                let name = self.records.name();
                return self.records.fail(CalibrationError::Device { name, source });
            }
        };
        let Some(widths) = self.records.awaited() else { return self.records.observe(&values) };
        let fit = |bits: BitWidth| {
            let params = self.at(bits)?.fit(&values, x.dims());
            Ok((bits, params.map_err(|source| self.records.failed(source))?))
        };
        match widths.into_iter().map(fit).collect() {
            Ok(fitted) => self.records.observe_whole(fitted),
            Err(error) => self.records.fail(error),
        }
    }

    /// Everything calibrated, by `BITS.scale`, `BITS.zero_point` and `BITS.offset`, each `[groups]`:
    /// to be stored under the path of this quantiser, bit for bit. Of a width whose scales are trained,
    /// what they count as now.
    pub fn state(&self) -> BTreeMap<String, Vec<f32>> {
        let mut known = self.records.all();
        for (&bits, params) in &mut known {
            let now = self
                .trained(bits, Some(params))
                .and_then(|learned| learned.params(&self.codes(bits).ok()?));
            if let Some(now) = now {
                *params = now.into();
            }
        }
        entries(&known)
    }

    /// The settings that a state belongs to.
    pub fn settings(&self) -> String {
        format!("{:?} of {:?}", self.how, self.role)
    }

    /// Takes over what [`state`](Self::state) gave, in place of everything calibrated; the width goes
    /// to 32.
    ///
    /// # Errors
    /// [`CalibrationError::State`] for an entry that is no width, or has no partner of its length, and
    /// [`CalibrationError::Quantizer`] for scales that this tensor cannot have; nothing is then changed.
    pub fn restore(&self, entries: &BTreeMap<String, Vec<f32>>) -> Result<(), CalibrationError> {
        calibration::restore([(self as &dyn Calibrated, entries)])
    }
}

impl Calibrated for FakeQuantizer {
    fn records(&self) -> &Records {
        &self.records
    }

    fn fitted(&self) -> Result<Known, CalibrationError> {
        self.records.fitted(|observer, bits| {
            let rule = self.how.of(bits).ok_or(QuantizerError::Width(bits.get()))?;
            observer.fit(rule.grid.as_dyn(), bits)
        })
    }

    fn check(&self, bits: BitWidth, params: &[Params]) -> Result<(), QuantizerError> {
        match self.how.of(bits) {
            Some(rule) => rule.at(bits, self.role.operand()).check(self.role.shape(), params),
            None => Err(QuantizerError::Width(bits.get())),
        }
    }

    fn settings(&self) -> String {
        Self::settings(self)
    }

    fn state(&self) -> BTreeMap<String, Vec<f32>> {
        Self::state(self)
    }
}

/// Why values were not quantised.
pub(crate) enum Unquantized {
    /// One of them is not finite.
    Value,
    /// Anything else.
    Other,
}

impl From<QuantizerError> for Unquantized {
    fn from(error: QuantizerError) -> Self {
        match error {
            QuantizerError::NotFinite { .. } => Self::Value,
            _ => Self::Other,
        }
    }
}

impl From<DeviceError> for Unquantized {
    fn from(_: DeviceError) -> Self {
        Self::Other
    }
}

/// The values of `x`, row by row.
pub(crate) fn on_host(x: &Tensor<2>) -> Result<Vec<f32>, DeviceError> {
    let data = host(x.clone().inner())?;
    data.try_to_vec().map_err(|error| DeviceError(error.to_string()))
}

/// With given parameters, or with those of the values at hand.
fn quantized(
    quantizer: &Quantizer,
    params: Option<&[Params]>,
    x: &Tensor<2>,
) -> Result<Tensor<2>, Unquantized> {
    let shape = x.dims();
    let values = on_host(x)?;
    let params = match params {
        Some(params) => Cow::Borrowed(params),
        None => Cow::Owned(quantizer.fit(&values, shape)?),
    };
    if x.is_tracked() {
        let [value, mask, _] = derived(quantizer, &params, &values, x)?;
        return Ok(straight_through(value, &[(x.clone(), mask)]));
    }
    without_graph(quantizer, &params, &values, x)
}

/// `x`, which has these `values` and no gradient, with given parameters.
pub(crate) fn without_graph(
    quantizer: &Quantizer,
    params: &[Params],
    values: &[f32],
    x: &Tensor<2>,
) -> Result<Tensor<2>, Unquantized> {
    let (shape, mut out) = (x.dims(), vec![0.0; values.len()]);
    quantizer.fake_quantize_into(values, shape, params, &mut out)?;
    Ok(Tensor::from_data(TensorData::new(out, shape), &x.device()))
}

/// Value, mask and derivative by the scale, each of the shape and on the device of `x`, which has these
/// `values`.
pub(crate) fn derived(
    quantizer: &Quantizer,
    params: &[Params],
    values: &[f32],
    x: &Tensor<2>,
) -> Result<[Tensor<2>; 3], QuantizerError> {
    let shape = x.dims();
    let [mut value, mut mask, mut scale] = [0; 3].map(|_| vec![0.0; values.len()]);
    let out = Derivatives { values: &mut value, mask: &mut mask, scale: &mut scale };
    let rule = quantizer.grid.as_dyn().codes(quantizer.bits)?.rule;
    quantizer.derivatives_into(values, shape, params, rule, out)?;
    let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &x.device());
    Ok([value, mask, scale].map(tensor))
}
