//! What is done to a pretrained GPT-2 so that it runs at several widths.

mod cyclic;
mod mergeable;
mod post_training;
mod rules_or_none;
mod switchable;

use std::num::NonZeroUsize;

use adapters::{BaseWeights, CalibrationError};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2};
use precision_schedule::{Base, CostPolicy, OperandWidth, Operands};
use quantizers::BitWidth;

use super::config::QatConfig;
use super::distillation::Visit;
use super::model::QatModel;
use crate::Error;

/// A way to a model that runs at several widths.
pub trait QatMethod {
    /// Checks the settings of this method in a whole configuration.
    ///
    /// # Errors
    /// The first that makes no sense.
    fn check(&self, config: &QatConfig) -> Result<(), Error>;

    /// Gives `base` what the method trains; adapters are drawn from `key`.
    ///
    /// # Errors
    /// A granularity that does not suit a tensor, named.
    fn build(
        &self,
        base: PlainGpt2,
        config: &QatConfig,
        key: Key,
    ) -> Result<Box<dyn QatModel>, CalibrationError>;

    /// What every step does; none if nothing is trained.
    ///
    /// # Errors
    /// A schedule that does not fit the run.
    fn plan(&self, config: &QatConfig) -> Result<Option<Box<dyn Plan>>, Error>;

    /// Which multiplications have which widths, and the rank of the adapters, where the model is at `bits`.
    fn cost(&self, config: &QatConfig, bits: BitWidth) -> (CostPolicy, usize);

    /// What training costs beyond that.
    fn training_cost(&self, _config: &QatConfig, _model: &Gpt2Config) -> TrainingCost {
        TrainingCost::default()
    }
}

/// What the steps of a training do.
pub trait Plan: Send + Sync {
    /// The passes of a step, counted from 0, at least one; teachers come first.
    fn visits(&self, step: u64) -> Vec<Visit>;

    /// Width of gradients.
    fn gradients(&self) -> BitWidth {
        BitWidth::FULL
    }

    /// Passes of a step.
    fn passes(&self, step: u64) -> NonZeroUsize {
        NonZeroUsize::new(self.visits(step).len()).unwrap_or(NonZeroUsize::MIN)
    }
}

registry::methods! {
    /// Every method.
    pub enum AnyQatMethod: dyn QatMethod {
        /// The pretrained model, calibrated and quantised; nothing is trained.
        post_training::PostTraining = "post-training",
        /// Adapters and norms of its own for each width, over a frozen base.
        switchable::Switchable = "switchable",
        /// One adapter for all widths inside the quantiser, with trained scales and norms for each.
        mergeable::Mergeable = "mergeable",
        /// One adapter for all widths, or the base itself, at a width that a schedule moves (CPT, Fu et al. 2021).
        cyclic::Cyclic = "cyclic",
    }
}

/// What a training costs beside its forward passes and what follows from the widths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrainingCost {
    /// Whether the matrices that are quantised have dense gradients although their base is frozen.
    pub dense_gradients: bool,
    /// BitOPs of every pass over a shard of a micro-batch, whatever its tokens.
    pub per_pass: f64,
}

/// The width of an operand: that of the weights, or one that it is kept at.
fn operand(bits: BitWidth, kept: BitWidth) -> OperandWidth {
    if bits == kept {
        return OperandWidth::SCHEDULED;
    }
    OperandWidth::fixed(kept.get().into()).unwrap_or(OperandWidth::FULL)
}

/// The widths of the multiplications where weights are at `bits`, gradients at `gradient`, and factors and
/// inputs of adapters at `adapters`.
fn policy(
    config: &QatConfig,
    bits: BitWidth,
    base: BaseWeights,
    gradient: BitWidth,
    adapters: [OperandWidth; 2],
) -> CostPolicy {
    let gradient = OperandWidth::fixed(gradient.get().into()).unwrap_or(OperandWidth::FULL);
    let activation = operand(bits, config.inputs_at(bits));
    let linear = Operands { weight: OperandWidth::SCHEDULED, activation, gradient };
    let base = match base {
        BaseWeights::Frozen => Base::Frozen,
        BaseWeights::Trained => Base::Trained,
    };
    let [weight, activation] = adapters;
    CostPolicy {
        base,
        linear,
        adapters: Operands { weight, activation, gradient },
        attention: Operands::FULL,
        head: if config.quantize.head { linear } else { Operands::FULL },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::qat::AnyDistillation;

    /// Like a lock file: an outdated table is rewritten, and the test fails so that it gets committed.
    #[test]
    fn every_method_is_in_the_docs() {
        let mut text = "# Training at several precisions\n\nEvery `method` of `sublora qat` and every \
                        `distillation` by its `kind`, with the first lines of its documentation. Written \
                        by `cargo test` from the registries.\n"
            .to_owned();
        let mut section = |title: &str, rows: Vec<(&str, &str)>| {
            let rows: Vec<String> =
                rows.iter().map(|(name, about)| format!("| `{name}` | {about} |\n")).collect();
            let head = format!("\n## {title}\n\n| `kind` | what it is |\n|---|---|\n");
            text = [text.as_str(), &head, &rows.concat()].concat();
        };
        let methods = AnyQatMethod::all();
        section("Methods", methods.iter().map(|it| (it.name(), it.about())).collect());
        let distillations = AnyDistillation::all();
        section("Distillations", distillations.iter().map(|it| (it.name(), it.about())).collect());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/trainings.md");
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            std::fs::write(&path, text).unwrap();
            panic!("docs/trainings.md was out of date and has been written; commit it");
        }
    }
}
