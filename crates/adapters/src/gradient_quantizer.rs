//! A quantiser of the gradient inside a model: identity forward, quantised backward.
//!
//! # Definition
//! $y = x$ and $\partial L/\partial x = Q_b(\partial L/\partial y)$. Behind a linear layer, the quantised
//! gradient makes both that of its weight and that of its input. Two roundings, both on the symmetric
//! grid ([`quantizers::GradientQuantizer`]):
//! - `stochastic`: with the scale of each gradient; unbiased. There is nothing to calibrate.
//! - `nearest`: with a scale frozen by calibration, biased.
//!
//! At 32 bits, while calibrating and, with `nearest`, at a width that was not calibrated, the gradient
//! passes unchanged: here a missing scale costs speed, not truth.
//!
//! # Reference
//! Y. Fu et al., *CPT: Efficient Deep Neural Network Training via Cyclic Precision*, ICLR 2021,
//! arXiv:2101.09868.
//!
//! # Notes
//! The words of the stochastic rounding are those of the seed, the name of the layer and the number that
//! [`set_pass`](LayerGradient::set_pass) gave: a training run that is resumed sets it from its step and
//! repeats itself. Within a pass the same words serve every gradient that comes by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::Module;
use burn::tensor::Tensor;
use counter_rng::Key;
use quantizers::{
    AnyRange, BitWidth, GradientQuantizer, Granularity, Grid, MinMax, Params, Quantizer,
    QuantizerError, Symmetric,
};
use serde::{Deserialize, Serialize};

use crate::CalibrationError;
use crate::calibration::{self, Calibrated, Known, Mode, Records, Seen, entries};
use crate::gradient_hook::GradientHook;

/// How gradients are rounded. The default is CPT's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rounding", rename_all = "kebab-case", deny_unknown_fields)]
pub enum GradientRounding {
    /// Up or down with probabilities that keep the mean, by the scale of the gradient at hand.
    Stochastic {
        /// Of the generator.
        seed: u64,
    },
    /// To the nearest code, by a scale that calibration chose.
    Nearest {
        /// How it chooses.
        range: AnyRange,
    },
}

impl Default for GradientRounding {
    fn default() -> Self {
        Self::Stochastic { seed: 0 }
    }
}

impl GradientRounding {
    /// To the nearest code, by the largest magnitude seen.
    pub fn nearest() -> Self {
        Self::Nearest { range: MinMax {}.into() }
    }
}

/// Quantises the gradient that passes it. A clone shares width, pass and scales.
#[derive(Module, Debug)]
pub struct LayerGradient {
    #[module(skip)]
    rounding: GradientRounding,
    #[module(skip)]
    key: Key,
    #[module(skip)]
    pass: Arc<AtomicU64>,
    #[module(skip)]
    records: Records,
}

impl LayerGradient {
    /// At 32 bits. `name` makes the random words of this place.
    pub fn new(name: &str, rounding: GradientRounding) -> Self {
        let key = match rounding {
            GradientRounding::Stochastic { seed } => Key::from_seed(seed).derive(name),
            GradientRounding::Nearest { .. } => Key::from_seed(0),
        };
        Self { rounding, key, pass: Arc::default(), records: Records::new(name) }
    }

    /// From here on gradients are watched for `widths`, and pass.
    pub fn start_calibration(&self, widths: &[BitWidth]) {
        let seen = match &self.rounding {
            GradientRounding::Stochastic { .. } => Seen::Nothing,
            GradientRounding::Nearest { range } => {
                Seen::Batches(vec![(widths.to_vec(), range.as_dyn().observer())])
            }
        };
        self.records.start(widths, seen);
    }

    /// Freezes the scales of the widths that were named.
    ///
    /// # Errors
    /// If no calibration began, no gradient came by, one was not finite, or the grid has no codes of a
    /// width; nothing is then changed.
    pub fn finish_calibration(&self) -> Result<(), CalibrationError> {
        calibration::finish(&[self])
    }

    /// Goes to a width, calibrated or not.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] outside 2 to 16 bits and 32; the width then stays what it was.
    pub fn set_bits(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        if !bits.is_full() {
            Symmetric {}.codes(bits).map_err(|source| self.records.failed(source))?;
        }
        self.records.set_bits(bits);
        Ok(())
    }

    /// The width it is at.
    pub fn bits(&self) -> BitWidth {
        self.records.bits()
    }

    /// Whether scales come from the gradients at hand, so that there is nothing to calibrate.
    pub fn is_dynamic(&self) -> bool {
        matches!(self.rounding, GradientRounding::Stochastic { .. })
    }

    /// Whether gradients pass: at 32 bits, and not watched.
    pub fn is_idle(&self) -> bool {
        self.bits().is_full() && !self.records.is_calibrating()
    }

    /// The widths that were calibrated.
    pub fn calibrated(&self) -> Vec<BitWidth> {
        self.records.widths()
    }

    /// Names the random words of the backward passes that follow, for example by the step.
    pub fn set_pass(&self, pass: u64) {
        self.pass.store(pass, Ordering::Relaxed);
    }

    /// Everything calibrated, as [`FakeQuantizer::state`](crate::FakeQuantizer::state).
    pub fn state(&self) -> BTreeMap<String, Vec<f32>> {
        entries(&self.records.all())
    }

    /// The settings that a state belongs to.
    pub fn settings(&self) -> String {
        format!("{:?}", self.rounding)
    }

    /// As [`FakeQuantizer::restore`](crate::FakeQuantizer::restore).
    ///
    /// # Errors
    /// [`CalibrationError::State`] or [`CalibrationError::Quantizer`]; nothing is then changed.
    pub fn restore(&self, entries: &BTreeMap<String, Vec<f32>>) -> Result<(), CalibrationError> {
        calibration::restore([(self as &dyn Calibrated, entries)])
    }

    /// `x`; its gradient is quantised at the width of now, whenever the backward pass comes.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !x.is_tracked() {
            return x;
        }
        let (bits, params) = match self.records.mode() {
            Mode::Calibrating => {
                let records = self.records.clone();
                return GradientHook::new(move |gradient| records.observe(gradient)).watch(x);
            }
            Mode::At(bits, _) if bits.is_full() => return x,
            Mode::At(bits, params) => (bits, params),
        };
        let quantizer = match (&self.rounding, params.as_deref()) {
            (GradientRounding::Stochastic { .. }, _) => GradientQuantizer::Dynamic(self.key),
            (GradientRounding::Nearest { .. }, Some(&[params])) => {
                GradientQuantizer::Calibrated(params)
            }
            (GradientRounding::Nearest { .. }, _) => return x,
        };
        let pass = self.pass.load(Ordering::Relaxed);
        // A gradient that is not finite has no codes and stays, so that the optimiser sees it.
        GradientHook::new(move |gradient| drop(quantizer.quantize(gradient, bits, pass))).watch(x)
    }
}

impl Calibrated for LayerGradient {
    fn records(&self) -> &Records {
        &self.records
    }

    fn fitted(&self) -> Result<Known, CalibrationError> {
        self.records.fitted(|observer, bits| observer.fit(&Symmetric {}, bits))
    }

    /// One scale for a gradient of any size.
    fn check(&self, bits: BitWidth, params: &[Params]) -> Result<(), QuantizerError> {
        let granularity = Granularity::Tensor;
        Quantizer { bits, granularity, ..Quantizer::default() }.check([1, 1], params)
    }

    fn settings(&self) -> String {
        Self::settings(self)
    }

    fn state(&self) -> BTreeMap<String, Vec<f32>> {
        Self::state(self)
    }
}
