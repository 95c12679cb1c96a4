//! What passes cost, in BitOPs.

use gpt2_model::Gpt2Config;
use precision_schedule::{AttentionKernel, Base, CostPolicy, Gpt2Shape, Meter, OperationKind};
use quantizers::BitWidth;

use super::config::QatConfig;
use super::method::Plan;
use crate::Error;

/// BitOPs of one forward pass over `seq` tokens at a width.
pub(super) fn forward(
    config: &QatConfig,
    model: &Gpt2Config,
    seq: usize,
    bits: BitWidth,
) -> Result<u128, Error> {
    let (shape, policy) = at(config, model, seq, bits);
    let operations = shape.operations().map_err(|error| Error::config(&error))?;
    let meter: Meter = operations.iter().map(|it| it.forward(&policy)).sum();
    Ok(meter.step(bits.get().into()))
}

/// BitOPs of a forward and a backward pass over `seq` tokens at a width.
fn step(config: &QatConfig, model: &Gpt2Config, seq: usize, bits: BitWidth) -> Result<u128, Error> {
    let (shape, policy) = at(config, model, seq, bits);
    let dense = config.method.as_dyn().training_cost(config, model).dense_gradients;
    let of_matrices =
        CostPolicy { base: if dense { Base::Trained } else { policy.base }, ..policy };
    let operations = shape.operations().map_err(|error| Error::config(&error))?;
    let meter: Meter = operations
        .iter()
        .map(|it| {
            let is_head = it.kind == OperationKind::Head && config.quantize.head;
            let is_matrix = it.kind == OperationKind::Linear || is_head;
            it.forward(&policy) + it.backward(if is_matrix { &of_matrices } else { &policy })
        })
        .sum();
    Ok(meter.step(bits.get().into()))
}

/// BitOPs of a whole training.
pub(super) fn training(
    config: &QatConfig,
    model: &Gpt2Config,
    plan: &dyn Plan,
) -> Result<f64, Error> {
    let seq = config.train.seq;
    let windows = config.train.batch as f64 * config.train.accumulation as f64;
    // Every width is priced once.
    let mut learning = std::collections::BTreeMap::<BitWidth, u64>::new();
    let mut teaching = learning.clone();
    for number in 0..config.train.steps {
        for visit in plan.visits(number) {
            let passes = if visit.learns() { &mut learning } else { &mut teaching };
            *passes.entry(visit.bits).or_default() += 1;
        }
    }
    let shards = config.train.accumulation as f64 * config.train.shards as f64;
    let per_pass = config.method.as_dyn().training_cost(config, model).per_pass;
    let mut total = 0.0;
    let mut fixed = 0.0;
    for (bits, passes) in learning {
        fixed += per_pass * passes as f64 * shards;
        total += step(config, model, seq, bits)? as f64 * passes as f64;
    }
    for (bits, passes) in teaching {
        total += forward(config, model, seq, bits)? as f64 * passes as f64;
    }
    Ok(total * windows + fixed)
}

fn at(
    config: &QatConfig,
    model: &Gpt2Config,
    seq: usize,
    bits: BitWidth,
) -> (Gpt2Shape, CostPolicy) {
    let (policy, rank) = config.method.as_dyn().cost(config, bits);
    let shape = Gpt2Shape {
        n_layer: model.n_layer as u64,
        n_head: model.n_head as u64,
        n_embd: model.n_embd as u64,
        vocab_size: model.vocab_size as u64,
        seq: seq as u64,
        attention: AttentionKernel::Dense,
        block_lora_rank: rank as u64,
        head_lora_rank: if config.quantize.head { rank as u64 } else { 0 },
    };
    (shape, policy)
}
