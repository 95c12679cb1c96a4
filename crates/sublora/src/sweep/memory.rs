//! How much memory a task takes, estimated before it begins.
//!
//! # Definition
//! With $W$ weights, $L$ blocks of width $E$ and $H$ heads, a vocabulary of $V$, and $s$ shards, in
//! numbers of four bytes:
//!
//! - A training step on $T$ = `batch` x `seq` tokens keeps, for its backward pass, $10 E$ a block and
//!   token ($17 E$ where all weights are trained: the inputs of their products), $4 H \cdot$`seq` for
//!   attention, and works on another $20 E$ a token. Weights are there once; trained by themselves,
//!   another $s + 3$ times: the gradients of each shard and their sum, and two moments.
//! - Logits are held four times over, $T V$ of them but at most $2^{23}$ a shard.
//! - Scoring $T$ = `batch` x context tokens on each of its shards keeps nothing: the $20 E$, $4 H
//!   \cdot$ context, and the logits.
//! - Reading and hashing a base takes $2.5 W$. A checkpoint in which all weights are trained takes $13 W$:
//!   weights, moments, their copies, and the file.
//!
//! The estimate is the largest of these, and 80 MiB for the program. The counts were fitted to peaks
//! measured on the CPU, with those of the operations in mind; docs/REPRODUCING.md has both. A GPU's
//! backend may hold more than it uses.

use gpt2_model::Gpt2Config;

use crate::config::{BaseConfig, CertifyConfig, RunConfig, TrainConfig};

/// The program, and the pages of a corpus that it has read.
const PROGRAM: u64 = 80 << 20;
/// Bytes of a number.
const FLOAT: u64 = 4;
/// Logits of a chunk.
const CHUNK: u64 = 1 << 23;

/// Estimated peak memory of a task that does all of `config` with a model of this `shape`, in bytes.
/// Of a prior split that is training on a base that is there: its pretraining is a task of its own.
pub(super) fn estimate(config: &RunConfig, shape: &Gpt2Config) -> u64 {
    let weights = shape.parameter_count();
    let all_weights = config.sublora.is_none() && config.lora.is_none();
    let load = match config.base {
        BaseConfig::Random {} => weights,
        _ => times(5, weights) / 2,
    };
    let checkpoint = if all_weights { times(13, weights) } else { 0 };
    let step = step(&config.train, shape, all_weights);
    let is_certified = config.sublora.is_some();
    let scoring = if is_certified { scoring(&config.certify, shape) } else { 0 };
    let parts = [load, checkpoint, step, scoring];
    let largest = parts.into_iter().max().unwrap_or(0);
    times(FLOAT, largest).saturating_add(PROGRAM)
}

/// Numbers of a training step.
fn step(train: &TrainConfig, shape: &Gpt2Config, all_weights: bool) -> u64 {
    let (weights, width) = (shape.parameter_count(), shape.n_embd as u64);
    let copies = if all_weights { 4 + train.shards } else { 1 };
    let tokens = times(train.batch as u64, train.seq as u64);
    let attention = times(4 * shape.n_head as u64, train.seq as u64);
    let block = times(if all_weights { 17 } else { 10 }, width).saturating_add(attention);
    let of_token = times(shape.n_layer as u64, block).saturating_add(times(20, width));
    times(copies, weights).saturating_add(times(tokens, of_token)).saturating_add(logits(
        tokens,
        train.shards,
        shape,
    ))
}

/// Numbers of a forward pass that keeps nothing.
fn scoring(certify: &CertifyConfig, shape: &Gpt2Config) -> u64 {
    let (context, shards) = (shape.n_positions as u64, certify.shards as u64);
    let tokens = times(times(certify.batch as u64, context), shards);
    let attention = times(4 * shape.n_head as u64, context);
    let of_token = times(20, shape.n_embd as u64).saturating_add(attention);
    shape
        .parameter_count()
        .saturating_add(times(tokens, of_token))
        .saturating_add(logits(tokens, shards, shape))
}

fn logits(tokens: u64, shards: u64, shape: &Gpt2Config) -> u64 {
    times(4, times(tokens, shape.vocab_size as u64).min(times(CHUNK, shards)))
}

fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a vocabulary of 257.
    fn mebibytes(text: &str) -> u64 {
        let config = RunConfig::parse(text, &[]).unwrap();
        estimate(&config, &config.model.shape(257).unwrap()) >> 20
    }

    #[test]
    fn by_hand() {
        let text = "
            model = { size = \"mini\", n_positions = 128 }
            train = { batch = 32, seq = 128, shards = 2 }
            certify = { batch = 1 }
        ";
        // W = 128 (4 (12 128 + 2) + 257 + 128 + 1) = 836,864; T = 4,096; T V = 1,052,672.
        // A block of a token keeps 10 128 + 4 4 128 = 3,328, four of them and 20 128: 15,872.
        // 836,864 + 4,096 15,872 + 4 1,052,672 = 70,059,264 numbers, 267 MiB.
        assert_eq!(mebibytes(&format!("{text}\nlora = {{}}\nsublora = {{}}")), 80 + 267);
        // All weights: (17 - 10) 128 4,096 4 = 14,680,064 more, and 6 W in place of one:
        // 88,923,648 numbers, 339 MiB; the 13 W of a checkpoint are less.
        assert_eq!(mebibytes(text), 80 + 339);
        let wide = "
            model = { size = \"small\", n_positions = 64 }
            train = { batch = 1, seq = 64 }
            certify = { batch = 1 }
        ";
        // W = 768 (12 (12 768 + 2) + 257 + 64 + 1) = 85,200,384, of which a checkpoint takes 13:
        // 1,107,604,992 numbers, 4,225 MiB.
        assert_eq!(mebibytes(wide), 80 + 4_225);
        // In a subspace of the adapters on a base that is there: 2.5 W are 812 MiB.
        let base = "base = { kind = \"prior-split\", fraction = 0.5 }\nlora = {}\nsublora = {}";
        assert_eq!(mebibytes(&format!("{wide}\n{base}")), 80 + 812);
    }

    #[test]
    fn no_setting_overflows() {
        let text = "
            model = { size = \"vlarge\" }
            train = { batch = 4611686018427387904, seq = 4611686018427387904 }
        ";
        assert_eq!(mebibytes(text), u64::MAX >> 20);
    }
}
