//! The configuration of a run, as it stands in a TOML file.
//!
//! Every table has defaults and refuses unknown keys, naming the ones it knows. A method is there if
//! its table is: `[lora]` puts adapters in, `[sublora]` trains in a subspace, and without either all
//! weights are trained.

use std::path::PathBuf;

use adapters::LoraConfig;
use gpt2_model::{Activation, ConfigError, Gpt2Config};
use quantizers::AnyCodebook;
use serde::{Deserialize, Serialize};
use subspace_projectors::AnyProjector;

use crate::Error;
use crate::schedule::LearningRate;

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
            base: BaseConfig::Random,
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
    Random,
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

/// The random subspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubspaceConfig {
    /// Number $d$ of trained coordinates.
    pub intrinsic_dim: usize,
    /// From the coordinates to the trained weights.
    pub projector: AnyProjector,
}

impl Default for SubspaceConfig {
    fn default() -> Self {
        let projector = subspace_projectors::Rectkronqr::default().into();
        Self { intrinsic_dim: 10_000, projector }
    }
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
    /// Largest Euclidean norm of a step's gradient.
    pub clip: f64,
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
}

impl Default for CompressConfig {
    fn default() -> Self {
        let codebook = quantizers::KMeans::default().into();
        Self { levels: 11, codebook, qat_steps: 0, qat_learning_rate: 5e-5 }
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

impl RunConfig {
    /// Reads a configuration and what overrides it, each `table.key=value` with a TOML value (a bare
    /// word is a string).
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let mut table: toml::Table = text.parse().map_err(|error| Error::config(&error))?;
        for assignment in overrides {
            let (path, value) = assignment
                .split_once('=')
                .ok_or_else(|| Error::Config(format!("`{assignment}` is no `key=value`")))?;
            let value = format!("value = {value}")
                .parse::<toml::Table>()
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(value.to_owned()));
            set(&mut table, path, value)?;
        }
        let config: Self = table.try_into().map_err(|error| Error::config(&error))?;
        config.validate()?;
        Ok(config)
    }

    /// # Errors
    /// The first value that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(lora) = &self.lora {
            lora.validate()?;
        }
        if let BaseConfig::PriorSplit { fraction, train } = &self.base {
            if !(*fraction > 0.0 && *fraction < 1.0) {
                return Err(Error::value("base.fraction", fraction, "a number between 0 and 1"));
            }
            train.validate("base.train")?;
        }
        self.train.validate("train")?;
        if self.train.shards > 1 && self.lora.as_ref().is_some_and(|it| it.dropout > 0.0) {
            // The device has one stream of random numbers, and shards run in no fixed order.
            let expected = "1 where `lora.dropout` is above 0, or the run cannot be repeated";
            return Err(Error::value("train.shards", &self.train.shards, expected));
        }
        if !(1..=255).contains(&self.compress.levels) {
            return Err(Error::value("compress.levels", &self.compress.levels, "1 to 255"));
        }
        if self.certify.configurations == 0 {
            return Err(Error::value("certify.configurations", &0, "at least 1"));
        }
        for (key, value) in [("batch", self.certify.batch), ("shards", self.certify.shards)] {
            if value == 0 {
                return Err(Error::value(&format!("certify.{key}"), &0, "at least 1"));
            }
        }
        if self.certify.scored == Scored::Block && self.certify.documents.is_none() {
            let expected = "a number where `certify.scored` is \"block\"";
            return Err(Error::value("certify.documents", &"\"all\"", expected));
        }
        let delta = self.certify.failure_probability;
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::value("certify.failure_probability", &delta, "between 0 and 1"));
        }
        Ok(())
    }
}

impl TrainConfig {
    fn validate(&self, table: &str) -> Result<(), Error> {
        let positive = [
            ("batch", self.batch as u64),
            ("seq", self.seq as u64),
            ("accumulation", self.accumulation),
            ("shards", self.shards),
            ("eval_every", self.eval_every),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::value(&format!("{table}.{key}"), &0, "at least 1"));
        }
        if !(self.batch as u64).is_multiple_of(self.shards) {
            let expected = format!("a divisor of `batch` {}", self.batch);
            return Err(Error::value(&format!("{table}.shards"), &self.shards, &expected));
        }
        self.learning_rate.check()?;
        for (key, value) in [("clip", self.clip), ("weight_decay", self.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::value(&format!("{table}.{key}"), &value, "0 or more"));
            }
        }
        Ok(())
    }
}

/// TOML has no null: a sample size that is none is written `"all"`.
mod number_or_all {
    use serde::de::{Error as _, Unexpected};
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrWord {
        Number(i64),
        Word(String),
    }

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(size: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => to.serialize_u64(*size),
            None => to.serialize_str("all"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let expected = &"a number above 0, or \"all\"";
        match NumberOrWord::deserialize(from).map_err(|_| {
            D::Error::custom(format!("a sample size is no number, expected {expected}"))
        })? {
            NumberOrWord::Word(word) if word == "all" => Ok(None),
            NumberOrWord::Word(word) => {
                Err(D::Error::invalid_value(Unexpected::Str(&word), expected))
            }
            NumberOrWord::Number(size) => match u64::try_from(size) {
                Ok(size) if size > 0 => Ok(Some(size)),
                _ => Err(D::Error::invalid_value(Unexpected::Signed(size), expected)),
            },
        }
    }
}

fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), Error> {
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = keys.pop().filter(|key| !key.is_empty());
    let last = last.ok_or_else(|| Error::Config(format!("`{path}` names no key")))?;
    let mut here = table;
    for key in keys {
        let next = here.entry(key).or_insert_with(|| toml::Table::new().into());
        here = next
            .as_table_mut()
            .ok_or_else(|| Error::Config(format!("`{key}` in `{path}` is no table")))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
