//! The gradients of one step: its passes, micro-batches and shards.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use corpus::{WindowIndex, WindowSampler};

use super::Trainer;
use super::objective::{Batch, BatchLoss, Kept, Objective, Pass, device_of, scalar};
use crate::Error;
use crate::side_by_side::side_by_side;

/// What a step is taken along.
pub(super) struct Slope {
    /// What is minimised.
    pub(super) loss: f64,
    /// Mean cross-entropy, in nats.
    pub(super) nats: f64,
    /// Of `loss`.
    pub(super) grads: GradientsParams,
}

impl Trainer<'_> {
    /// The loss of `step` and its gradients.
    pub(super) fn slope<M: Module>(
        &self,
        model: &M,
        objective: &dyn Objective<M>,
        windows: &WindowSampler<'_>,
        step: u64,
    ) -> Result<Slope, Error> {
        let device = device_of(model)?;
        device.seed(step); // of dropout, so that a resumed run draws the same masks
        let shards = self.config.shards;
        let parts = (self.config.accumulation * shards) as f64;
        let rows = self.config.batch / usize::try_from(shards).unwrap_or(usize::MAX).max(1);
        let new = |_| (0..shards).map(|_| Kept::default()).collect();
        let mut kept: Vec<Vec<Kept>> = (0..self.config.accumulation).map(new).collect();
        let mut accumulator = GradientsAccumulator::new();
        let (mut loss, mut nats, mut losses) = (0.0, 0.0, 0_u64);
        for number in 0..objective.passes(step).get() {
            let pass = Pass { step, number };
            objective.begin(model, pass)?;
            for (micro_batch, kept) in (0..).zip(&mut kept) {
                // Side by side, then added up in order: the sum does not depend on who was first.
                let shard = |shard: usize, (model, mut kept): (M, Kept)| -> Result<_, Error> {
                    let index = WindowIndex { step, micro_batch, row: (shard * rows) as u64 };
                    let batch = Batch::of(windows, index, rows, &device);
                    let Some(found) = objective.loss(&model, &batch, pass, &mut kept)? else {
                        return Ok((None, kept));
                    };
                    let BatchLoss { minimised, nats } = found;
                    let values = (scalar(minimised.clone())?, scalar(nats)?);
                    let grads = minimised.is_tracked().then(|| {
                        GradientsParams::from_grads((minimised / parts).backward(), &model)
                    });
                    Ok((Some((values, grads)), kept))
                };
                let states = std::mem::take(kept).into_iter();
                let states = states.map(|kept| (with_own_graph(model.clone()), kept)).collect();
                for result in side_by_side(states, shard) {
                    let (found, left) = result?;
                    kept.push(left);
                    let Some((values, grads)) = found else { continue };
                    (loss, nats, losses) = (loss + values.0, nats + values.1, losses + 1);
                    if let Some(grads) = grads {
                        accumulator.accumulate(model, grads);
                    }
                }
            }
        }
        Ok(Slope { loss: loss / parts, nats: nats / losses as f64, grads: accumulator.grads() })
    }
}

/// The same weights as leaves of another graph. Where two threads share leaves, burn keeps one graph
/// for both, and a backward pass of one frees nodes that the other is about to use.
fn with_own_graph<M: Module>(model: M) -> M {
    struct Leaves;
    impl ModuleMapper for Leaves {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let trained = value.is_require_grad();
            Param::from_mapped_value(id, value.detach(), mapper).set_require_grad(trained)
        }
    }
    model.map(&mut Leaves)
}
