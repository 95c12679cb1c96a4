//! Switchable precision: adapters and norms for each width, trained together.

use adapters::{AdapterRule, BaseWeights, ByWidth, CalibrationError, Rank, SwitchableConfig};
use counter_rng::Key;
use gpt2_model::PlainGpt2;
use precision_schedule::{CostPolicy, OperandWidth};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Plan, QatMethod, policy};
use crate::Error;
use crate::qat::config::QatConfig;
use crate::qat::distillation::{AnyDistillation, Cascade, Visit};
use crate::qat::model::{Built, QatModel};

/// Of the widths of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switchable {
    /// The first rule that is for a width is its own.
    pub adapters: Vec<AdapterRule>,
    /// Quantisation of the factors of the adapters; none, `[]` in a file, leaves them as they are.
    #[serde(with = "super::rules_or_none")]
    pub factors: Option<ByWidth>,
    /// Who learns from whom.
    pub distillation: AnyDistillation,
}

impl Default for Switchable {
    fn default() -> Self {
        let SwitchableConfig { adapters, factors, .. } = SwitchableConfig::default();
        Self { adapters, factors, distillation: Cascade::default().into() }
    }
}

impl Switchable {
    fn layers(&self, config: &QatConfig) -> SwitchableConfig {
        SwitchableConfig {
            widths: config.widths.clone(),
            quantize: config.quantize.clone(),
            factors: self.factors.clone(),
            adapters: self.adapters.clone(),
        }
    }
}

impl QatMethod for Switchable {
    fn check(&self, _config: &QatConfig) -> Result<(), Error> {
        for AdapterRule { rank, alpha, .. } in &self.adapters {
            Rank { rank: (*rank).max(1), alpha: *alpha }.validate()?;
        }
        self.distillation.as_dyn().check()
    }

    fn build(
        &self,
        base: PlainGpt2,
        config: &QatConfig,
        key: Key,
    ) -> Result<Box<dyn QatModel>, CalibrationError> {
        let model = self.layers(config).apply(base, key)?;
        Ok(Box::new(Built::new(model, |name| name.contains(".lora_") || name.contains(".norms."))))
    }

    fn plan(&self, config: &QatConfig) -> Result<Option<Box<dyn Plan>>, Error> {
        Ok(Some(Box::new(Joint::new(config, &self.distillation))))
    }

    fn cost(&self, config: &QatConfig, bits: BitWidth) -> (CostPolicy, usize) {
        let rank = if bits.is_full() { None } else { self.layers(config).rank_at(bits) };
        let weight = self.factors.as_ref().map_or(OperandWidth::FULL, |_| OperandWidth::SCHEDULED);
        let adapters = [weight, OperandWidth::FULL];
        let policy = policy(config, bits, BaseWeights::Frozen, BitWidth::FULL, adapters);
        (policy, rank.map_or(0, |it| it.rank))
    }
}

/// All widths together, as a distillation says.
pub(super) struct Joint {
    widths: Vec<BitWidth>,
    distillation: AnyDistillation,
    key: Key,
}

impl Joint {
    pub(super) fn new(config: &QatConfig, distillation: &AnyDistillation) -> Self {
        let key = Key::from_seed(config.seed).derive("distillation");
        Self { widths: config.widths.clone(), distillation: distillation.clone(), key }
    }
}

impl Plan for Joint {
    fn visits(&self, step: u64) -> Vec<Visit> {
        self.distillation.as_dyn().visits(&self.widths, self.key.index(step))
    }
}
