//! The configuration of a run, as it stands in a TOML file.
//!
//! Every table has defaults and refuses unknown keys, naming the ones it knows. A method is there if
//! its table is: `[lora]` puts adapters in, `[sublora]` trains in a subspace, and without either all
//! weights are trained.

pub(crate) mod number_or_all;
mod parse;
mod subspace;
mod validate;

use std::path::PathBuf;

use crate::schedule::LearningRate;
use adapters::LoraConfig;
use gpt2_model::{Activation, ConfigError, Gpt2Config};
use quantizers::AnyCodebook;
use serde::{Deserialize, Serialize};

pub(crate) use parse::{first_difference, overridden, read};
pub use subspace::SubspaceConfig;

/// A whole run: train, compress, certify.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Seeds everything random that enters the certificate, and the order of the batches.
    pub seed: u64,
    /// Shape of the model.
    pub model: ModelConfig,
    /// Weights that are frozen, or trained if nothing else is.
    pub base: BaseConfig,
    /// Low-rank adapters; none trains the base itself.
    pub lora: Option<LoraConfig>,
    /// The random subspace; none trains every chosen weight by itself, and cannot be certified.
    pub sublora: Option<SubspaceConfig>,
    /// Without adapters: name patterns of the base weights to train, `*` for any text.
    pub trainable: Vec<String>,
    /// The training loop.
    pub train: TrainConfig,
    /// Quantisation and coding.
    pub compress: CompressConfig,
    /// What is certified, and how surely.
    pub certify: CertifyConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 137,
            model: ModelConfig::default(),
            base: BaseConfig::Random {},
            lora: None,
            sublora: None,
            trainable: vec!["*".to_owned()],
            train: TrainConfig::default(),
            compress: CompressConfig::default(),
            certify: CertifyConfig::default(),
        }
    }
}

/// Shape of the model; the vocabulary is the corpus's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// A size by name: `tiny`, `small`, ...
    pub size: String,
    /// Instead of the size's: number of blocks.
    pub n_layer: Option<usize>,
    /// Instead of the size's: attention heads of a block.
    pub n_head: Option<usize>,
    /// Instead of the size's: width of the residual stream.
    pub n_embd: Option<usize>,
    /// Longest context, in tokens.
    pub n_positions: usize,
    /// Nonlinearity of the MLP.
    pub activation_function: Activation,
    /// Whether linear and norm layers have biases.
    pub bias: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        let published = Gpt2Config::default();
        Self {
            size: "small".to_owned(),
            n_layer: None,
            n_head: None,
            n_embd: None,
            n_positions: published.n_positions,
            activation_function: published.activation_function,
            bias: false,
        }
    }
}

impl ModelConfig {
    /// The shape for a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// An unknown size, or a shape that is no GPT-2.
    pub fn shape(&self, vocab_size: usize) -> Result<Gpt2Config, ConfigError> {
        let size = Gpt2Config::of_size(&self.size)?;
        let shape = Gpt2Config {
            vocab_size,
            n_positions: self.n_positions,
            n_layer: self.n_layer.unwrap_or(size.n_layer),
            n_head: self.n_head.unwrap_or(size.n_head),
            n_embd: self.n_embd.unwrap_or(size.n_embd),
            activation_function: self.activation_function,
            bias: self.bias,
            ..size
        };
        shape.validate()?;
        Ok(shape)
    }
}

/// Where the base weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum BaseConfig {
    /// Drawn from the run's seed: independent of any data.
    Random {},
    /// A Hugging Face GPT-2 folder. A certificate holds only if those weights never saw the text.
    Checkpoint {
        /// The folder.
        path: PathBuf,
    },
    /// Pretrained by this run on a share of the training documents, which the certified sample then
    /// leaves out: side information independent of it.
    PriorSplit {
        /// Share of the training documents, in (0, 1).
        fraction: f64,
        /// The pretraining loop, over all weights.
        #[serde(default)]
        train: Box<TrainConfig>,
    },
}

/// The training loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Windows of a micro-batch.
    pub batch: usize,
    /// Tokens of a window; at most the model's context.
    pub seq: usize,
    /// Micro-batches of a step.
    pub accumulation: u64,
    /// Equal parts of a micro-batch that are computed side by side, for a CPU with idle cores.
    pub shards: u64,
    /// Linear warm-up, then a cosine.
    pub learning_rate: LearningRate,
    /// Decoupled, on every trained number.
    pub weight_decay: f64,
    /// Largest Euclidean norm of a step's gradient; that of gates is limited by itself.
    pub clip: f64,
    /// Learning rate of the gates of a learned allocation, as a multiple of the others'. They do not
    /// decay.
    pub gate_rate: f64,
    /// Steps between two held-out evaluations; the checkpoint is written with them.
    pub eval_every: u64,
    /// Micro-batches of an evaluation.
    pub eval_batches: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 8,
            seq: 1_024,
            accumulation: 1,
            shards: 1,
            learning_rate: LearningRate::default(),
            weight_decay: 0.01,
            clip: 1.0,
            gate_rate: 5.0,
            eval_every: 200,
            eval_batches: 10,
        }
    }
}

/// Quantisation and coding of the coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompressConfig {
    /// Largest number of levels.
    pub levels: u8,
    /// Where the levels go.
    pub codebook: AnyCodebook,
    /// Steps of quantisation-aware training, with learned levels; 0 for none.
    pub qat_steps: u64,
    /// Their constant learning rate.
    pub qat_learning_rate: f64,
    /// Learning rate of the gates of a learned allocation in these steps, as a multiple of the others';
    /// 0 leaves them where training ended. They are what is stored of them, so that a step may move a
    /// whole coordinate to the other side: large rates do harm (docs/REPRODUCING.md).
    pub qat_gate_rate: f64,
}

impl Default for CompressConfig {
    fn default() -> Self {
        let codebook = quantizers::KMeans::default().into();
        Self { levels: 11, codebook, qat_steps: 0, qat_learning_rate: 5e-5, qat_gate_rate: 0.1 }
    }
}

/// Which units a certificate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// New documents.
    Document,
    /// New next tokens on the training contexts.
    Token,
    /// Both, each with its share of the failure probability.
    #[default]
    Both,
}

/// What is scored of a document drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scored {
    /// All of it.
    #[default]
    Whole,
    /// The block around one uniform position of it, whose mean loss has that of the document for its
    /// expectation. Of long documents, far more can be drawn for the same work.
    Block,
}

/// What is certified, and how surely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertifyConfig {
    /// Which units.
    pub unit: Units,
    /// Documents drawn for the document level; none, `"all"` in a file, scores all.
    #[serde(with = "number_or_all")]
    pub documents: Option<u64>,
    /// What is scored of a document drawn.
    pub scored: Scored,
    /// Positions drawn for the token level, each scored with the block it lies in; none, `"all"` in a
    /// file, scores all.
    #[serde(with = "number_or_all")]
    pub positions: Option<u64>,
    /// Tokens by which the window slides over a document longer than the context; 0 for half of it.
    pub stride: usize,
    /// Largest probability that any number of the certificate is wrong, shared by all of them.
    pub failure_probability: f64,
    /// Number of configurations and seeds this run was chosen from. Their choice is paid for in bits.
    pub configurations: u64,
    /// Ranks $k$ whose top-$k$ error is certified.
    pub top_k: Vec<u32>,
    /// Of the subsample.
    pub seed: u64,
    /// Windows scored at a time.
    pub batch: usize,
    /// Batches that are computed side by side, for a CPU with idle cores.
    pub shards: usize,
}

impl Default for CertifyConfig {
    fn default() -> Self {
        Self {
            unit: Units::Both,
            documents: Some(10_000),
            scored: Scored::Whole,
            positions: Some(10_000),
            stride: 0,
            failure_probability: 0.05,
            configurations: 1,
            top_k: vec![1, 10],
            seed: 0,
            batch: 8,
            shards: 1,
        }
    }
}

impl CertifyConfig {
    /// Tokens by which the window slides over a document longer than `context`.
    pub(crate) fn stride_of(&self, context: usize) -> usize {
        if self.stride == 0 { context.div_ceil(2) } else { self.stride }
    }
}

#[cfg(test)]
mod tests;
