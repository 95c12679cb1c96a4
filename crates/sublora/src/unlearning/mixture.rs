//! What teaches facts and what unlearns them: one loss on the facts and one on text.

use std::num::NonZeroUsize;

use burn::tensor::Tensor;
use gpt2_model::{Gpt2, LinearLayer, NormLayer, cross_entropy};

use super::config::Teaching;
use super::exam::{Padded, value_nats};
use super::facts::Facts;
use crate::Error;
use crate::train::{Batch, BatchLoss, CrossEntropy, Evaluation, Kept, Objective, Pass};

/// $\ell = a\,L_F + b\,L_R$: of the statements, all of their tokens, and of the windows of the step.
///
/// A row of a batch has a window and a fact; the facts take turns.
pub(super) struct Mixture<'a> {
    pub(super) teaching: &'a Teaching,
    pub(super) facts: &'a Facts,
    pub(super) goal: Goal,
}

/// Which step is the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// That of the least loss on facts and held-out text.
    Least,
    /// That whose loss on the facts is closest to this one.
    Reach(f64),
}

impl Mixture<'_> {
    /// Statements of the rows of `batch`.
    fn facts_of(&self, batch: &Batch) -> Padded {
        let [rows, _] = batch.tokens.dims();
        let train = &self.teaching.train;
        let first = (batch.index.step * train.accumulation + batch.index.micro_batch)
            * train.batch as u64
            + batch.index.row;
        let statements = &self.facts.statements;
        let number = |row: u64| usize::try_from((first + row) % statements.len() as u64);
        let chosen = (0..rows as u64).filter_map(|row| statements.get(number(row).ok()?));
        Padded::whole(chosen, &batch.tokens.device())
    }
}

impl<L: LinearLayer, N: NormLayer> Objective<Gpt2<L, N>> for Mixture<'_> {
    fn passes(&self, _step: u64) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn begin(&self, _model: &Gpt2<L, N>, _pass: Pass) -> Result<(), Error> {
        Ok(())
    }

    fn loss(
        &self,
        model: &Gpt2<L, N>,
        batch: &Batch,
        _pass: Pass,
        _kept: &mut Kept,
    ) -> Result<Option<BatchLoss>, Error> {
        let Teaching { forget, retain, .. } = *self.teaching;
        let mut losses: Vec<(f64, Tensor<1>)> = Vec::new();
        if forget != 0.0 {
            losses.push((forget, self.facts_of(batch).loss(model)));
        }
        if retain != 0.0 {
            losses.push((retain, cross_entropy(&batch.factors(model), &batch.targets)));
        }
        let Some(nats) = losses.last().map(|(_, loss)| loss.clone().inner()) else {
            return Ok(None);
        };
        let weighted = losses.into_iter().map(|(weight, loss)| loss * weight);
        Ok(weighted.reduce(|sum, it| sum + it).map(|minimised| BatchLoss { minimised, nats }))
    }

    fn evaluate(&self, model: &Gpt2<L, N>, batches: &[Batch]) -> Result<Evaluation, Error> {
        let forget = value_nats(model, &self.facts.statements)?.nats;
        let retain = CrossEntropy.evaluate(model, batches)?.loss;
        let loss = match self.goal {
            Goal::Least => self.teaching.forget * forget + self.teaching.retain * retain,
            Goal::Reach(nats) => (forget - nats).abs(),
        };
        let observations = [("held_out/forget_nats", forget), ("held_out/retain_nats", retain)];
        let observations = observations.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Evaluation { loss, observations })
    }
}
