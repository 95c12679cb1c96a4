//! Which tensors are quantised, and along which axis.

use std::fmt;

use quantizers::{Granularity, Operand};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::QuantizeCheckpoint;
use super::values::FloatType;

/// Which way round the weights of a checkpoint are stored. Embeddings and output heads are
/// `[vocab, d_model]` in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// `[d_in, d_out]` for what is a `Conv1D` in `transformers`: the weights named `c_attn`, `q_attn`,
    /// `c_proj` and `c_fc` of a GPT-2 or, where no `config.json` says what it is, of anything.
    /// `[d_out, d_in]` for all others.
    #[default]
    Auto,
    /// `[d_in, d_out]`, as in `Conv1D`.
    Conv1d,
    /// `[d_out, d_in]`, as in `torch.nn.Linear`.
    Linear,
}

/// Names of `Conv1D` modules.
const CONV_1D: [&str; 4] = ["c_attn", "q_attn", "c_proj", "c_fc"];

/// Values of `model_type` whose models are made of `Conv1D`.
const CONV_1D_MODELS: [&str; 4] = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];

/// Why a tensor was not quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// Its elements are not F32, F16 or BF16.
    ElementType,
    /// It does not have two dimensions.
    NotAMatrix,
    /// It has fewer than two rows or columns.
    Thin,
    /// It is an embedding or an output head, by its name, and these were not asked for.
    Embedding,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ElementType => "not F32, F16 or BF16",
            Self::NotAMatrix => "not a matrix",
            Self::Thin => "fewer than two rows or columns",
            Self::Embedding => "embedding or output head",
        })
    }
}

/// What becomes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plan {
    Leave(Reason),
    Quantize { float: FloatType, operand: Operand, shape: [usize; 2] },
}

impl QuantizeCheckpoint {
    pub(super) fn plan(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        model_type: Option<&str>,
    ) -> Plan {
        let Some(float) = FloatType::of(dtype) else { return Plan::Leave(Reason::ElementType) };
        let &[rows, cols] = shape else { return Plan::Leave(Reason::NotAMatrix) };
        let is_embedding = is_embedding(name);
        if rows < 2 || cols < 2 {
            return Plan::Leave(Reason::Thin);
        }
        if is_embedding && !self.quantize_embeddings {
            return Plan::Leave(Reason::Embedding);
        }
        let operand = operand_of(name, self.orientation, model_type);
        Plan::Quantize { float, operand, shape: [rows, cols] }
    }
}

/// Which way round the matrix of this name lies in a model of this type, if that is known.
pub(crate) fn operand_of(
    name: &str,
    orientation: Orientation,
    model_type: Option<&str>,
) -> Operand {
    let is_conv_1d = match orientation {
        Orientation::Auto => {
            model_type.is_none_or(|it| CONV_1D_MODELS.contains(&it))
                && name.split('.').any(|part| CONV_1D.contains(&part))
        }
        Orientation::Conv1d => true,
        Orientation::Linear => false,
    };
    if is_conv_1d && !is_embedding(name) { Operand::Weight } else { Operand::TransposedWeight }
}

/// `granularity` in the axes of a weight `[d_in, d_out]`, in those of the way it lies.
pub(crate) fn granularity_for(granularity: Granularity, operand: Operand) -> Granularity {
    match (granularity, operand) {
        (Granularity::Channel { axis }, Operand::TransposedWeight) if axis < 2 => {
            Granularity::Channel { axis: 1 - axis }
        }
        (granularity, _) => granularity,
    }
}

fn is_embedding(name: &str) -> bool {
    name.split('.')
        .any(|part| matches!(part, "wte" | "wpe" | "lm_head" | "shared") || part.contains("embed"))
}
