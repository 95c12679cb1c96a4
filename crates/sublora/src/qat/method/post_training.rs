//! Post-training quantisation: scales are calibrated, nothing is trained. What the other methods are
//! measured against.

use adapters::{BaseWeights, CalibrationError};
use counter_rng::Key;
use gpt2_model::PlainGpt2;
use precision_schedule::{CostPolicy, OperandWidth};
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use super::{Plan, QatMethod, policy};
use crate::Error;
use crate::qat::config::QatConfig;
use crate::qat::model::{Built, QatModel};

/// Nothing is trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostTraining {}

impl QatMethod for PostTraining {
    fn check(&self, _config: &QatConfig) -> Result<(), Error> {
        Ok(())
    }

    fn build(
        &self,
        base: PlainGpt2,
        config: &QatConfig,
        _key: Key,
    ) -> Result<Box<dyn QatModel>, CalibrationError> {
        use burn::module::Module;
        let model = config.quantize.apply(base.no_grad())?;
        Ok(Box::new(Built::new(model, |_| false)))
    }

    fn plan(&self, _config: &QatConfig) -> Result<Option<Box<dyn Plan>>, Error> {
        Ok(None)
    }

    fn cost(&self, config: &QatConfig, bits: BitWidth) -> (CostPolicy, usize) {
        let none = [OperandWidth::FULL; 2];
        (policy(config, bits, BaseWeights::Frozen, BitWidth::FULL, none), 0)
    }
}
