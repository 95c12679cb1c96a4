//! The passes of a step: each at its width, taught by earlier ones.

use std::num::NonZeroUsize;

use adapters::{CalibrationError, Precision, QuantizedLayer, QuantizedNorm};
use gpt2_model::{Distillation, Distilled, Gpt2, Teacher, logits};
use quantizers::BitWidth;

use super::config::QatConfig;
use super::distillation::{Lesson, Visit};
use super::method::Plan;
use crate::Error;
use crate::train::{Batch, BatchLoss, CrossEntropy, Evaluation, Kept, Objective, Pass};

/// What a [`Plan`] minimises.
pub(super) struct Learner<'a> {
    pub(super) plan: &'a dyn Plan,
    pub(super) config: &'a QatConfig,
}

impl Learner<'_> {
    /// Whether a later visit learns from visit `number`.
    fn teaches(visits: &[Visit], number: usize) -> bool {
        visits.iter().flat_map(|it| &it.lessons).any(|it| it.teacher == number)
    }
}

/// Weights and inputs of `model` to their widths.
pub(super) fn go_to<P: Precision>(
    model: &P,
    config: &QatConfig,
    bits: BitWidth,
) -> Result<(), CalibrationError> {
    model.set_precision(bits, config.inputs_at(bits))
}

impl<L: QuantizedLayer, N: QuantizedNorm> Objective<Gpt2<L, N>> for Learner<'_> {
    fn passes(&self, step: u64) -> NonZeroUsize {
        self.plan.passes(step)
    }

    fn begin(&self, model: &Gpt2<L, N>, pass: Pass) -> Result<(), Error> {
        let visits = self.plan.visits(pass.step);
        go_to(model, self.config, visits[pass.number].bits)?;
        // Every pass of a run has random words of its own.
        let number = pass.step.saturating_mul(visits.len() as u64) + pass.number as u64;
        Ok(model.set_gradients(self.plan.gradients(), number)?)
    }

    fn loss(
        &self,
        model: &Gpt2<L, N>,
        batch: &Batch,
        pass: Pass,
        kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error> {
        let visits = self.plan.visits(pass.step);
        let visit = &visits[pass.number];
        let factors = batch.factors(model);
        if !visit.learns() {
            kept.push(logits(&factors));
            return Ok(None);
        }
        // Teachers left their logits in the order of their visits.
        let place = |teacher| (0..teacher).filter(|&it| Self::teaches(&visits, it)).count();
        let teacher = |lesson: &Lesson| Teacher {
            logits: kept.logits()[place(lesson.teacher)].clone(),
            weight: lesson.weight,
            matching: lesson.matching,
        };
        let distillation = Distillation {
            cross_entropy: visit.cross_entropy,
            teachers: visit.lessons.iter().map(teacher).collect(),
            keep_logits: Self::teaches(&visits, pass.number),
        };
        let Distilled { loss, nats, logits } = distillation.loss(&factors, &batch.targets);
        if let Some(logits) = logits {
            kept.push(logits);
        }
        let learning = visits.iter().filter(|it| it.learns()).count();
        Ok(Some(BatchLoss { minimised: loss / learning as f64, nats }))
    }

    /// The mean over all widths of the run, and each.
    fn evaluate(&self, model: &Gpt2<L, N>, batches: &[Batch]) -> Result<Evaluation, Error> {
        let mut observations = Vec::new();
        for &bits in &self.config.widths {
            go_to(model, self.config, bits)?;
            let nats = CrossEntropy.evaluate(model, batches)?.loss;
            observations.push((format!("held_out/bits_per_token_at_{bits}"), nats));
        }
        let loss = observations.iter().map(|it| it.1).sum::<f64>() / observations.len() as f64;
        for (_, value) in &mut observations {
            *value /= std::f64::consts::LN_2;
        }
        Ok(Evaluation { loss, observations })
    }
}
