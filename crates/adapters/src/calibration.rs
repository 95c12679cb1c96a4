//! What calibration knows of one quantiser: the scales of every width, and while it lasts, the values
//! seen. Clones share it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gpt2_model::DeviceError;
use quantizers::{BitWidth, Observer, Params, QuantizerError};
use thiserror::Error;

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
    /// A width that no rule of the configuration is for.
    #[error("`{name}` has no rule for {bits} bits; add one, or one without `bits` for all others")]
    NoRule {
        /// The quantiser.
        name: String,
        /// The width asked for.
        bits: BitWidth,
    },
    /// A width that a layer has no adapter or norm for.
    #[error("`{name}` has nothing for {bits} bits, but for {known:?} and 32")]
    NoSuchWidth {
        /// The layer.
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
    /// Values that could not be read.
    #[error("`{name}`: {source}")]
    Device {
        /// The quantiser.
        name: String,
        /// What the device says.
        source: DeviceError,
    },
    /// A stored state of other settings.
    #[error("`{name}` was calibrated as {stored}, and is {expected} here")]
    OtherSettings {
        /// The quantiser.
        name: String,
        /// The settings of the state.
        stored: String,
        /// Those of the quantiser.
        expected: String,
    },
    /// A stored entry of a quantiser that is not in the model.
    #[error("no quantiser of this model has the state `{0}`")]
    NoSuchQuantizer(String),
    /// A stored state that is not one of this quantiser.
    #[error("`{name}` has no such state: `{key}`")]
    State {
        /// The quantiser.
        name: String,
        /// The entry.
        key: String,
    },
}

/// The scales of a width, one set a group.
pub(crate) type Scales = Arc<[Params]>;

/// Those of every width.
pub(crate) type Known = BTreeMap<BitWidth, Scales>;

#[derive(Clone)]
pub(crate) struct Records(Arc<Mutex<State>>);

struct State {
    name: String,
    bits: BitWidth,
    known: Known,
    calibration: Option<Calibration>,
}

struct Calibration {
    widths: Vec<BitWidth>,
    seen: Seen,
    /// The first thing that could not be seen.
    failed: Option<CalibrationError>,
}

/// What a calibration has seen.
pub(crate) enum Seen {
    /// Values that come batch by batch, each shown to all observers; with the widths that one is for.
    Batches(Vec<(Vec<BitWidth>, Box<dyn Observer>)>),
    /// A tensor that is there as a whole, fitted when it first comes by.
    Whole(Option<Vec<(BitWidth, Vec<Params>)>>),
    /// Nothing has to be seen.
    Nothing,
}

/// What a forward pass is to do.
pub(crate) enum Mode {
    /// Show its values, and let them pass.
    Calibrating,
    /// Quantise to this width, with these scales if there are any.
    At(BitWidth, Option<Scales>),
}

/// What is calibrated, whatever it quantises.
pub(crate) trait Calibrated {
    fn records(&self) -> &Records;

    /// The scales of every width that was named, beside those known before.
    fn fitted(&self) -> Result<Known, CalibrationError>;

    /// Whether `params` can be its scales at a width.
    fn check(&self, bits: BitWidth, params: &[Params]) -> Result<(), QuantizerError>;

    /// What a state belongs to.
    fn settings(&self) -> String;

    /// Everything calibrated, as [`entries`] writes it.
    fn state(&self) -> BTreeMap<String, Vec<f32>>;
}

/// Freezes what every one of `all` has seen, or changes none.
pub(crate) fn finish(all: &[&dyn Calibrated]) -> Result<(), CalibrationError> {
    let fitted = all.iter().map(|it| it.fitted()).collect::<Result<Vec<_>, _>>()?;
    all.iter().zip(fitted).for_each(|(it, known)| it.records().finish(known));
    Ok(())
}

/// Gives each the scales that its [`entries`] wrote, or changes none.
pub(crate) fn restore<'a>(
    all: impl IntoIterator<Item = (&'a dyn Calibrated, &'a BTreeMap<String, Vec<f32>>)>,
) -> Result<(), CalibrationError> {
    let parsed = all.into_iter().map(|(it, entries)| {
        let known = it.records().parse(entries)?;
        for (&bits, params) in &known {
            it.check(bits, params).map_err(|source| it.records().failed(source))?;
        }
        Ok((it.records(), known))
    });
    for (records, known) in parsed.collect::<Result<Vec<_>, CalibrationError>>()? {
        records.install(known);
    }
    Ok(())
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "{} at {} bits of {:?}", state.name, state.bits, state.widths())
    }
}

impl State {
    fn widths(&self) -> Vec<u8> {
        self.known.keys().map(|bits| bits.get()).collect()
    }
}

impl Records {
    /// At 32 bits.
    pub(crate) fn new(name: &str) -> Self {
        let (name, bits) = (name.to_owned(), BitWidth::FULL);
        let (known, calibration) = (Known::new(), None);
        Self(Arc::new(Mutex::new(State { name, bits, known, calibration })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> String {
        self.lock().name.clone()
    }

    pub(crate) fn failed(&self, source: QuantizerError) -> CalibrationError {
        CalibrationError::Quantizer { name: self.name(), source }
    }

    pub(crate) fn start(&self, widths: &[BitWidth], seen: Seen) {
        let widths = widths.iter().copied().filter(|bits| !bits.is_full()).collect();
        self.lock().calibration = Some(Calibration { widths, seen, failed: None });
    }

    /// Shows the calibration a batch.
    pub(crate) fn observe(&self, values: &[f32]) {
        let seen = match &mut self.lock().calibration {
            Some(Calibration { seen: Seen::Batches(observers), .. }) => {
                observers.iter_mut().try_for_each(|(_, observer)| observer.observe(values))
            }
            _ => Ok(()),
        };
        if let Err(source) = seen {
            self.fail(self.failed(source));
        }
    }

    /// Makes the calibration fail when it is finished, unless it does already.
    pub(crate) fn fail(&self, error: CalibrationError) {
        if let Some(calibration) = &mut self.lock().calibration {
            calibration.failed.get_or_insert(error);
        }
    }

    /// Whether there is anything left to see.
    pub(crate) fn is_watching(&self) -> bool {
        let state = self.lock();
        let seen = state.calibration.as_ref().map(|it| &it.seen);
        matches!(seen, Some(Seen::Batches(_) | Seen::Whole(None)))
    }

    /// The widths that a tensor which is there as a whole has yet to be fitted for.
    pub(crate) fn awaited(&self) -> Option<Vec<BitWidth>> {
        match &self.lock().calibration {
            Some(Calibration { widths, seen: Seen::Whole(None), failed: None }) => {
                Some(widths.clone())
            }
            _ => None,
        }
    }

    /// The scales of a whole tensor.
    pub(crate) fn observe_whole(&self, fitted: Vec<(BitWidth, Vec<Params>)>) {
        if let Some(Calibration { seen: Seen::Whole(whole), .. }) = &mut self.lock().calibration {
            *whole = Some(fitted);
        }
    }

    /// The scales of every width that was named, beside those known before; `fit` makes them from
    /// batches.
    pub(crate) fn fitted(
        &self,
        fit: impl Fn(&dyn Observer, BitWidth) -> Result<Params, QuantizerError>,
    ) -> Result<Known, CalibrationError> {
        let state = self.lock();
        let Some(Calibration { seen, failed, .. }) = &state.calibration else {
            return Err(CalibrationError::NotStarted(state.name.clone()));
        };
        if let Some(error) = failed {
            return Err(error.clone());
        }
        let fitted = match seen {
            Seen::Nothing => Ok(Vec::new()),
            Seen::Whole(fitted) => fitted.clone().ok_or(QuantizerError::NothingSeen),
            Seen::Batches(observers) => {
                let pairs = observers.iter().flat_map(|(widths, observer)| {
                    widths.iter().map(move |&bits| (bits, observer.as_ref()))
                });
                pairs.map(|(bits, observer)| Ok((bits, vec![fit(observer, bits)?]))).collect()
            }
        };
        let name = || state.name.clone();
        let fitted =
            fitted.map_err(|source| CalibrationError::Quantizer { name: name(), source })?;
        let mut known = state.known.clone();
        known.extend(fitted.into_iter().map(|(bits, params)| (bits, params.into())));
        Ok(known)
    }

    /// Ends the calibration; the width stays.
    pub(crate) fn finish(&self, known: Known) {
        let mut state = self.lock();
        (state.known, state.calibration) = (known, None);
    }

    pub(crate) fn set_bits(&self, bits: BitWidth) {
        self.lock().bits = bits;
    }

    /// The scales of a width.
    pub(crate) fn known(&self, bits: BitWidth) -> Result<Scales, CalibrationError> {
        let state = self.lock();
        state.known.get(&bits).cloned().ok_or_else(|| CalibrationError::Uncalibrated {
            name: state.name.clone(),
            bits,
            known: state.widths(),
        })
    }

    pub(crate) fn bits(&self) -> BitWidth {
        self.lock().bits
    }

    pub(crate) fn is_calibrating(&self) -> bool {
        self.lock().calibration.is_some()
    }

    pub(crate) fn widths(&self) -> Vec<BitWidth> {
        self.lock().known.keys().copied().collect()
    }

    pub(crate) fn mode(&self) -> Mode {
        let state = self.lock();
        match state.calibration {
            Some(_) => Mode::Calibrating,
            None => Mode::At(state.bits, state.known.get(&state.bits).cloned()),
        }
    }

    /// Every scale known.
    pub(crate) fn all(&self) -> Known {
        self.lock().known.clone()
    }

    /// The scales that [`entries`] wrote.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer of an i32")]
    pub(crate) fn parse(
        &self,
        entries: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Known, CalibrationError> {
        let wrong = |key: &str| CalibrationError::State { name: self.name(), key: key.to_owned() };
        let mut known = Known::new();
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
            // Codes have at most 16 bits.
            let is_code = |zero: &f32| zero.fract() == 0.0 && zero.abs() <= 65_536.0;
            if !zero_point.iter().all(is_code) {
                return Err(wrong(&format!("{bits}.zero_point")));
            }
            let params =
                scale.iter().zip(zero_point).zip(offset).map(|((&scale, &zero), &offset)| Params {
                    scale,
                    zero_point: zero as i32,
                    offset,
                });
            known.insert(width, params.collect());
        }
        Ok(known)
    }

    /// In place of everything calibrated, at 32 bits.
    pub(crate) fn install(&self, known: Known) {
        let mut state = self.lock();
        (state.known, state.bits, state.calibration) = (known, BitWidth::FULL, None);
    }
}

/// Every scale by `BITS.scale`, `BITS.zero_point` and `BITS.offset`, each `[groups]`.
pub(crate) fn entries(known: &Known) -> BTreeMap<String, Vec<f32>> {
    let mut entries = BTreeMap::new();
    for (bits, params) in known {
        let mut put = |key: &str, value: fn(&Params) -> f32| {
            entries.insert(format!("{bits}.{key}"), params.iter().map(value).collect());
        };
        put("scale", |it| it.scale);
        put("zero_point", |it| it.zero_point as f32);
        put("offset", |it| it.offset);
    }
    entries
}
