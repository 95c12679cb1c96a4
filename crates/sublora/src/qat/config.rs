//! The configuration of a run of quantisation-aware training, as it stands in a TOML file.

use adapters::{ByWidth, FakeQuantConfig};
use precision_schedule::{RangeTest, Widths};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::AnyQatMethod;
use super::method::PostTraining;
use crate::config::{BaseConfig, ModelConfig, TrainConfig, read};
use crate::{Error, EvaluateConfig};

/// A run: a pretrained GPT-2, what makes it run at several widths, how that is trained, and how it is
/// evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QatConfig {
    /// Seeds adapters and the order of the batches; and the base, if that is drawn.
    pub seed: u64,
    /// Shape of the model, unless a checkpoint has one.
    pub model: ModelConfig,
    /// The pretrained weights.
    pub base: BaseConfig,
    /// Widths that are calibrated and evaluated, below 32; 32 always is.
    pub widths: Vec<BitWidth>,
    /// Width of the inputs of every layer; none is that of its weight. At 32 bits inputs are left as
    /// they are.
    pub input_bits: Option<BitWidth>,
    /// Which tensors are quantised, and how.
    pub quantize: FakeQuantConfig,
    /// Where scales come from.
    pub calibration: CalibrationConfig,
    /// What is trained, if anything.
    pub method: AnyQatMethod,
    /// The training loop.
    pub train: TrainConfig,
    /// What [`QatRun::range_test`](super::QatRun::range_test) probes.
    pub range_test: RangeTest,
    /// The evaluation after it.
    pub evaluate: EvaluateConfig,
}

impl Default for QatConfig {
    fn default() -> Self {
        let widths = [4, 8].into_iter().filter_map(|bits| BitWidth::new(bits).ok()).collect();
        Self {
            seed: 137,
            model: ModelConfig::default(),
            base: BaseConfig::Random {},
            widths,
            input_bits: None,
            quantize: FakeQuantConfig::default(),
            calibration: CalibrationConfig::default(),
            method: PostTraining {}.into(),
            train: TrainConfig::default(),
            range_test: RangeTest::default(),
            evaluate: EvaluateConfig::default(),
        }
    }
}

/// Calibration of scales that are not dynamic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Batches that pass: those of the first steps of the training.
    pub batches: u64,
    /// What reaches a layer while it is calibrated.
    pub upstream: Upstream,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self { batches: 4, upstream: Upstream::default() }
    }
}

/// What reaches a layer while it is calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// The activations of the unquantised model: all widths and layers in one pass.
    #[default]
    FullPrecision,
    /// What the layers before it make at the width that is calibrated: a pass for each layer and width.
    OwnWidth,
}

impl QatConfig {
    /// Reads a configuration and what overrides it, as [`RunConfig::parse`](crate::RunConfig::parse).
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let config: Self = read(text, overrides)?;
        config.validate()?;
        Ok(config)
    }

    /// What can be said without a corpus.
    ///
    /// # Errors
    /// The first key that makes no sense.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Config(reason));
        let widths: Vec<u8> = self.widths.iter().map(|bits| bits.get()).collect();
        if !widths.is_sorted_by(|a, b| a < b) || widths.last().is_none_or(|&bits| bits == 32) {
            return refuse(format!("`widths` is {widths:?}, expected rising widths below 32"));
        }
        if self.calibration.batches == 0 {
            return refuse("`calibration.batches` is 0, expected at least 1".to_owned());
        }
        if self.calibration.upstream == Upstream::OwnWidth && self.input_bits.is_some() {
            let reason =
                "`calibration.upstream` is own-width, and `input_bits` has one width for all";
            return refuse(reason.to_owned());
        }
        self.evaluate.validate()?;
        Self::check_rules("weight", &self.quantize.weight, &self.widths)?;
        Self::check_rules("input", &self.quantize.input, &self.input_widths())?;
        self.train.validate("train")?;
        self.method.as_dyn().check(self)
    }

    /// Of the inputs, where weights are at `bits`.
    pub(crate) fn inputs_at(&self, bits: BitWidth) -> BitWidth {
        self.input_bits.filter(|_| !bits.is_full()).unwrap_or(bits)
    }

    /// Errs unless every one of `widths` has a rule, and its grid has codes of it.
    fn check_rules(role: &str, by: &ByWidth, widths: &[BitWidth]) -> Result<(), Error> {
        for &bits in widths.iter().filter(|bits| !bits.is_full()) {
            let Some(rule) = by.of(bits) else {
                let expected = "a rule for every width, or one without `bits` for all others";
                return Err(Error::value(
                    &format!("quantize.{role}"),
                    &format!("none at {bits} bits"),
                    expected,
                ));
            };
            if let Err(error) = rule.grid.as_dyn().codes(bits) {
                return Err(Error::Config(format!("`quantize.{role}`: {error}")));
            }
        }
        Ok(())
    }

    /// Errs unless `widths`, the value of `key`, are some of the widths of the run, or 32.
    pub(crate) fn check_widths(&self, key: &str, widths: &Widths) -> Result<(), Error> {
        let is_known = |bits: u32| {
            bits == 32 || self.widths.iter().any(|width| u32::from(width.get()) == bits)
        };
        match widths.as_slice().iter().find(|&&bits| !is_known(bits)) {
            None => Ok(()),
            Some(bits) => {
                let known: Vec<u8> = self.widths.iter().map(|it| it.get()).collect();
                Err(Error::value(key, bits, &format!("one of `widths` {known:?}, or 32")))
            }
        }
    }

    /// Everything the scales are needed for: the widths, and those of inputs.
    pub(crate) fn input_widths(&self) -> Vec<BitWidth> {
        self.input_bits.map_or_else(|| self.widths.clone(), |bits| vec![bits])
    }
}
