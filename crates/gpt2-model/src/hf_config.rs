//! `config.json` of a Hugging Face checkpoint, in and out.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::io;
use crate::{Activation, CheckpointError, Gpt2Config};

/// `config.json`: the fields that decide what is computed. The rest (dropout, token ids, task
/// settings) is not ours and is ignored.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a foreign file")]
pub(crate) struct HfConfig {
    model_type: String,
    architectures: Option<Vec<String>>,
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    #[serde(default)]
    n_inner: Option<usize>,
    #[serde(default = "published_activation")]
    activation_function: String,
    #[serde(default = "published_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    /// Ours: the biases are there for `transformers` only, and zero.
    #[serde(default = "yes")]
    bias: bool,
}

impl HfConfig {
    /// The file that describes `config`.
    fn of(config: &Gpt2Config) -> Self {
        Self {
            model_type: "gpt2".to_owned(),
            architectures: Some(vec!["GPT2LMHeadModel".to_owned()]),
            vocab_size: config.vocab_size,
            n_positions: config.n_positions,
            n_embd: config.n_embd,
            n_layer: config.n_layer,
            n_head: config.n_head,
            n_inner: None,
            activation_function: match config.activation_function {
                Activation::GeluNew => "gelu_new".to_owned(),
                Activation::Gelu => "gelu".to_owned(),
            },
            layer_norm_epsilon: config.layer_norm_epsilon,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
            bias: config.bias,
        }
    }
}

fn published_activation() -> String {
    "gelu_new".to_owned()
}

fn published_epsilon() -> f64 {
    1e-5
}

fn yes() -> bool {
    true
}

/// Writes `folder/config.json`.
///
/// # Errors
/// What the file system says.
pub fn write_config(config: &Gpt2Config, folder: &Path) -> Result<(), CheckpointError> {
    let path = folder.join("config.json");
    let json = serde_json::to_string_pretty(&HfConfig::of(config))
        .map_err(|source| CheckpointError::Json { path: path.clone(), source })?;
    fs::write(&path, json + "\n").map_err(|source| io(&path, source))
}

/// The shape in `folder/config.json`.
///
/// # Errors
/// A missing or unreadable file, or a model that is not GPT-2 as published.
pub fn read_config(folder: &Path) -> Result<Gpt2Config, CheckpointError> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(|source| io(&path, source))?;
    let hf: HfConfig = serde_json::from_str(&text)
        .map_err(|source| CheckpointError::Json { path: path.clone(), source })?;
    let unsupported = |reason: String| CheckpointError::Unsupported { path: path.clone(), reason };
    if hf.model_type != "gpt2" {
        return Err(unsupported(format!("`model_type` is `{}`, expected `gpt2`", hf.model_type)));
    }
    if let Some(n_inner) = hf.n_inner.filter(|&it| hf.n_embd.checked_mul(4) != Some(it)) {
        return Err(unsupported(format!("`n_inner` is {n_inner}, expected 4 `n_embd`")));
    }
    if !hf.scale_attn_weights || hf.scale_attn_by_inverse_layer_idx {
        return Err(unsupported(
            "attention is not scaled by the root of the head width".to_owned(),
        ));
    }
    if !hf.tie_word_embeddings {
        return Err(unsupported("`tie_word_embeddings` is false, expected true".to_owned()));
    }
    let activation_function = match hf.activation_function.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluNew,
        "gelu" => Activation::Gelu,
        other => {
            return Err(unsupported(format!(
                "`activation_function` is `{other}`, expected `gelu_new` or `gelu`"
            )));
        }
    };
    let config = Gpt2Config {
        vocab_size: hf.vocab_size,
        n_positions: hf.n_positions,
        n_embd: hf.n_embd,
        n_layer: hf.n_layer,
        n_head: hf.n_head,
        activation_function,
        bias: hf.bias,
        layer_norm_epsilon: hf.layer_norm_epsilon,
    };
    config.validate()?;
    Ok(config)
}
