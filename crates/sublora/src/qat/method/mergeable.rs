//! One adapter for all widths inside the quantiser, trained scales and norms for each.

use adapters::{BaseWeights, CalibrationError, MergeableConfig, Rank, Scales};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use precision_schedule::{CostPolicy, OperandWidth};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::switchable::Joint;
use super::{Plan, QatMethod, TrainingCost, policy};
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
    /// Learning rate of the scales as a multiple of the others'. Their steps are relative to their size,
    /// and they do not decay.
    pub scale_rate: f64,
    /// Who learns from whom.
    pub distillation: AnyDistillation,
}

impl Default for Mergeable {
    fn default() -> Self {
        let MergeableConfig { rank, alpha, .. } = MergeableConfig::default();
        Self { rank, alpha, scale_rate: 1.0, distillation: Cascade::default().into() }
    }
}

impl QatMethod for Mergeable {
    fn check(&self, config: &QatConfig) -> Result<(), Error> {
        Rank { rank: self.rank, alpha: self.alpha }.validate()?;
        if !(self.scale_rate.is_finite() && self.scale_rate > 0.0) {
            return Err(Error::value("method.scale_rate", &self.scale_rate, "a positive number"));
        }
        if config.quantize.weight_scales == Scales::Dynamic {
            let reason =
                "`quantize.weight_scales` is dynamic, expected calibrated: they are learned";
            return Err(Error::Config(reason.to_owned()));
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
    fn cost(&self, config: &QatConfig, bits: BitWidth) -> (CostPolicy, usize) {
        let none = [OperandWidth::FULL; 2];
        (policy(config, bits, BaseWeights::Frozen, BitWidth::FULL, none), 0)
    }

    /// Factors and scales learn from the gradient of the whole matrix. Every pass forms $A^\top B^\top$ in
    /// $d_{in}\,r\,d_{out}$ multiply-accumulates, and takes its gradient back in twice as many.
    fn training_cost(&self, config: &QatConfig, model: &Gpt2Config) -> TrainingCost {
        let [m, layers, rank] = [model.n_embd, model.n_layer, self.rank].map(|it| it as f64);
        let head = if config.quantize.head { m * model.vocab_size as f64 } else { 0.0 };
        TrainingCost {
            dense_gradients: true,
            per_pass: 3.0 * (12.0 * layers * m * m + head) * rank * 32.0 * 32.0,
        }
    }
}
