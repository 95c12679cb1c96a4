//! One adapter for all widths inside the quantiser, trained scales and norms for each.

use adapters::{BaseWeights, CalibrationError, MergeableConfig, Rank};
use counter_rng::Key;
use gpt2_model::PlainGpt2;
use precision_schedule::{CostPolicy, OperandWidth};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::switchable::Joint;
use super::{Plan, QatMethod, policy};
use crate::Error;
use crate::qat::config::QatConfig;
use crate::qat::distillation::{AnyDistillation, Cascade};
use crate::qat::model::{Built, QatModel};

/// Of the widths of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mergeable {
    /// Inner dimension $r$ of the pair.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
    /// Learning rate of the scales as a multiple of the others': a step of Adam is of the size of its
    /// rate, and scales are some hundredths. They do not decay.
    pub scale_rate: f64,
    /// Who learns from whom.
    pub distillation: AnyDistillation,
}

impl Default for Mergeable {
    fn default() -> Self {
        let MergeableConfig { rank, alpha, .. } = MergeableConfig::default();
        Self { rank, alpha, scale_rate: 0.05, distillation: Cascade::default().into() }
    }
}

impl QatMethod for Mergeable {
    fn check(&self, _config: &QatConfig) -> Result<(), Error> {
        Rank { rank: self.rank, alpha: self.alpha }.validate()?;
        if !(self.scale_rate.is_finite() && self.scale_rate > 0.0) {
            return Err(Error::value("method.scale_rate", &self.scale_rate, "a positive number"));
        }
        self.distillation.as_dyn().check()
    }

    fn build(
        &self,
        base: PlainGpt2,
        config: &QatConfig,
        key: Key,
    ) -> Result<Box<dyn QatModel>, CalibrationError> {
        let Self { rank, alpha, .. } = *self;
        let (widths, quantize) = (config.widths.clone(), config.quantize.clone());
        let model = MergeableConfig { widths, quantize, rank, alpha }.apply(base, key)?;
        let parts = [".lora_", ".norms.", ".learned."];
        let trained = move |name: &str| parts.iter().any(|part| name.contains(part));
        Ok(Box::new(Built::new(model, trained).learning_scales(self.scale_rate)))
    }

    fn plan(&self, config: &QatConfig) -> Result<Option<Box<dyn Plan>>, Error> {
        Ok(Some(Box::new(Joint::new(config, &self.distillation))))
    }

    /// Of the merged model: it has no adapter.
    fn cost(&self, config: &QatConfig, _bits: BitWidth) -> (CostPolicy, usize) {
        let none = (OperandWidth::FULL, OperandWidth::FULL);
        (policy(config, BaseWeights::Frozen, BitWidth::FULL, none), 0)
    }
}
