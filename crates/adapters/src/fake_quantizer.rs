//! A fake quantiser inside a model: calibrated per width, switched between widths, trained through.
//!
//! # Life cycle
//! It begins at 32 bits, where values pass as they are. [`start_calibration`](FakeQuantizer::start_calibration)
//! names widths; forward passes then only watch, and values still pass, so that later layers see clean
//! ones. [`finish_calibration`](FakeQuantizer::finish_calibration) freezes scales and zero points of
//! every width from the same values. [`set_bits`](FakeQuantizer::set_bits) switches; a width without
//! scales is an error, never a default, and no width is forgotten. A clone shares all of this.
//!
//! Activations with a scale a token or a group have theirs computed from the values at hand, at every
//! width, without calibration. Whatever is not finite passes as it is, so that the loss says so.
//!
//! The product of codes and scales is computed on the host, by the same kernels for every backend;
//! gradients pass through the mask of the grid.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use gpt2_model::host;
use quantizers::{BitWidth, Granularity, Observer, Operand, Params, Quantizer, QuantizerError};
use thiserror::Error;

use crate::straight_through;

/// A fake quantiser that is not ready for what was asked of it.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A width that was never calibrated.
    #[error("`{name}` has no scales for {bits} bits, but for {known:?}; calibrate it first")]
    Uncalibrated {
        /// The quantiser.
        name: String,
        /// The width asked for.
        bits: BitWidth,
        /// The widths it has.
        known: Vec<u8>,
    },
    /// A calibration was finished that never began.
    #[error("`{0}` is not being calibrated")]
    NotStarted(String),
    /// No value came by, or one that has no code.
    #[error("`{name}`: {source}")]
    Quantizer {
        /// The quantiser.
        name: String,
        /// What is wrong.
        source: QuantizerError,
    },
    /// A stored state that is not one of this quantiser.
    #[error("`{name}` has no such state: `{key}`")]
    State {
        /// The quantiser.
        name: String,
        /// The entry.
        key: String,
    },
}

/// Fake quantisation of one tensor of a layer: its weight, or its input.
#[derive(Module, Debug)]
pub struct FakeQuantizer {
    /// Grid, range, granularity and operand; its width is not used.
    #[module(skip)]
    config: Quantizer,
    #[module(skip)]
    shared: Shared,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

/// What calibration has made so far.
struct State {
    name: String,
    bits: BitWidth,
    records: BTreeMap<BitWidth, Vec<Params>>,
    calibration: Option<Calibration>,
}

struct Calibration {
    widths: Vec<BitWidth>,
    seen: Seen,
}

/// A weight is there as a whole; inputs come batch by batch.
enum Seen {
    Weight(Option<(Vec<f32>, [usize; 2])>),
    Inputs(Box<dyn Observer>),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "{} at {} bits of {:?}", state.name, state.bits, state.known())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self) -> Vec<u8> {
        self.records.keys().map(|bits| bits.get()).collect()
    }

    fn failed(&self, source: QuantizerError) -> CalibrationError {
        CalibrationError::Quantizer { name: self.name.clone(), source }
    }
}

impl FakeQuantizer {
    /// At 32 bits. `name` is what errors call it, for example `h.0.attn.c_attn.input`.
    pub fn new(name: &str, config: Quantizer) -> Self {
        let state = State {
            name: name.to_owned(),
            bits: BitWidth::FULL,
            records: BTreeMap::new(),
            calibration: None,
        };
        Self { config, shared: Shared(Arc::new(Mutex::new(state))) }
    }

    /// Whether scales come from the values at hand, so that there is nothing to calibrate.
    pub fn is_dynamic(&self) -> bool {
        self.config.operand == Operand::Activation && self.config.granularity != Granularity::Tensor
    }

    /// From here on forward passes are watched for `widths`; earlier scales of these are dropped when
    /// the calibration is finished, those of other widths stay.
    pub fn start_calibration(&self, widths: &[BitWidth]) {
        let seen = match self.config.operand {
            Operand::Activation => Seen::Inputs(self.config.range.as_dyn().observer()),
            _ => Seen::Weight(None),
        };
        let widths = widths.iter().copied().filter(|bits| !bits.is_full()).collect();
        self.shared.lock().calibration = Some(Calibration { widths, seen });
    }

    /// Freezes scales and zero points of the widths that were named.
    ///
    /// # Errors
    /// If no calibration began, no value came by, one was not finite, or the grid has no codes of a
    /// width; nothing is then changed, and the calibration goes on.
    pub fn finish_calibration(&self) -> Result<(), CalibrationError> {
        let mut state = self.shared.lock();
        let Some(calibration) = &state.calibration else {
            return Err(CalibrationError::NotStarted(state.name.clone()));
        };
        let fitted: Result<Vec<_>, _> = calibration
            .widths
            .iter()
            .filter(|_| !self.is_dynamic())
            .map(|&bits| Ok((bits, self.fit(&calibration.seen, bits)?)))
            .collect();
        let fitted = fitted.map_err(|source| state.failed(source))?;
        state.records.extend(fitted);
        state.calibration = None;
        Ok(())
    }

    fn fit(&self, seen: &Seen, bits: BitWidth) -> Result<Vec<Params>, QuantizerError> {
        match seen {
            Seen::Weight(None) => Err(QuantizerError::NothingSeen),
            Seen::Weight(Some((values, shape))) => self.at(bits).fit(values, *shape),
            Seen::Inputs(observer) => Ok(vec![observer.fit(self.config.grid.as_dyn(), bits)?]),
        }
    }

    fn at(&self, bits: BitWidth) -> Quantizer {
        Quantizer { bits, ..self.config.clone() }
    }

    /// Goes to a width that was calibrated, or to 32.
    ///
    /// # Errors
    /// [`CalibrationError::Uncalibrated`]; the width then stays what it was.
    pub fn set_bits(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        let mut state = self.shared.lock();
        if !bits.is_full() && !self.is_dynamic() && !state.records.contains_key(&bits) {
            let (name, known) = (state.name.clone(), state.known());
            return Err(CalibrationError::Uncalibrated { name, bits, known });
        }
        state.bits = bits;
        Ok(())
    }

    /// The width it is at.
    pub fn bits(&self) -> BitWidth {
        self.shared.lock().bits
    }

    /// Whether forward passes are being watched.
    pub fn is_calibrating(&self) -> bool {
        self.shared.lock().calibration.is_some()
    }

    /// The widths that were calibrated.
    pub fn calibrated(&self) -> Vec<BitWidth> {
        self.shared.lock().records.keys().copied().collect()
    }

    /// # Shapes
    /// - x, output: `[rows, cols]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut state = self.shared.lock();
        if let Some(calibration) = &mut state.calibration {
            watch(&mut calibration.seen, &x);
            return x;
        }
        if state.bits.is_full() {
            return x;
        }
        let quantizer = self.at(state.bits);
        let params = state.records.get(&state.bits).cloned();
        drop(state);
        quantized(&quantizer, params, &x).unwrap_or(x)
    }

    /// Everything calibrated, by `BITS.scale`, `BITS.zero_point` and `BITS.offset`, each `[groups]`:
    /// to be stored under the path of this quantiser, bit for bit.
    pub fn state(&self) -> BTreeMap<String, Vec<f32>> {
        let state = self.shared.lock();
        let mut entries = BTreeMap::new();
        for (bits, params) in &state.records {
            let mut put = |key: &str, value: fn(&Params) -> f32| {
                entries.insert(format!("{bits}.{key}"), params.iter().map(value).collect());
            };
            put("scale", |it| it.scale);
            put("zero_point", |it| it.zero_point as f32);
            put("offset", |it| it.offset);
        }
        entries
    }

    /// Takes over what [`state`](Self::state) gave, in place of everything calibrated; the width goes
    /// to 32.
    ///
    /// # Errors
    /// [`CalibrationError::State`] for an entry that is no width, or has no partner of its length;
    /// nothing is then changed.
    #[expect(clippy::cast_possible_truncation, reason = "zero points are codes, of 16 bits")]
    pub fn restore(&self, entries: &BTreeMap<String, Vec<f32>>) -> Result<(), CalibrationError> {
        let mut state = self.shared.lock();
        let wrong =
            |key: &str| CalibrationError::State { name: state.name.clone(), key: key.to_owned() };
        let mut records = BTreeMap::new();
        for key in entries.keys() {
            let (bits, field) = key.split_once('.').ok_or_else(|| wrong(key))?;
            let width = bits.parse().ok().and_then(|bits| BitWidth::new(bits).ok());
            let width = width.ok_or_else(|| wrong(key))?;
            if !["scale", "zero_point", "offset"].contains(&field) {
                return Err(wrong(key));
            }
            let part = |field: &str| {
                let key = format!("{bits}.{field}");
                entries.get(&key).ok_or_else(|| wrong(&key))
            };
            let (scale, zero_point, offset) =
                (part("scale")?, part("zero_point")?, part("offset")?);
            if scale.len() != zero_point.len() || scale.len() != offset.len() {
                return Err(wrong(key));
            }
            let params =
                scale.iter().zip(zero_point).zip(offset).map(|((&scale, &zero), &offset)| Params {
                    scale,
                    zero_point: zero as i32,
                    offset,
                });
            records.insert(width, params.collect());
        }
        (state.records, state.bits, state.calibration) = (records, BitWidth::FULL, None);
        Ok(())
    }
}

/// With given parameters, or with those of the values at hand; none for values that have no codes.
fn quantized(
    quantizer: &Quantizer,
    params: Option<Vec<Params>>,
    x: &Tensor<2>,
) -> Option<Tensor<2>> {
    let shape = x.dims();
    let values = host(x.clone().inner()).ok()?.try_to_vec::<f32>().ok()?;
    let params = match params {
        Some(params) => params,
        None => quantizer.fit(&values, shape).ok()?,
    };
    let mut out = vec![0.0; values.len()];
    quantizer.fake_quantize_into(&values, shape, &params, &mut out).ok()?;
    let tensor =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, shape), &x.device());
    if !x.is_tracked() {
        return Some(tensor(out));
    }
    let codes = quantizer.grid.as_dyn().codes(quantizer.bits).ok()?;
    let groups = quantizer.groups(shape).ok()?;
    let passes = |(index, &value): (usize, &f32)| {
        f32::from(u8::from(codes.passes(value, &params[groups.group(index)])))
    };
    let mask = values.iter().enumerate().map(passes).collect();
    Some(straight_through(tensor(out), &[(x.clone(), tensor(mask))]))
}

/// Shows a calibration the values of `x`; what cannot be read is not seen.
fn watch(seen: &mut Seen, x: &Tensor<2>) {
    let Ok(values) = host(x.clone().inner()) else { return };
    let Ok(values) = values.try_to_vec::<f32>() else { return };
    match seen {
        Seen::Weight(weight) => *weight = Some((values, x.dims())),
        // A value that is not finite spoils its batch; the range then has seen nothing of it.
        Seen::Inputs(observer) => drop(observer.observe(&values)),
    }
}
