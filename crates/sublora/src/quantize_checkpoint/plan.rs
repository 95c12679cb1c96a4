//! Which tensors are quantised, and along which axis.

use std::fmt;

use quantizers::{Granularity, Operand};
use serde::{Deserialize, Serialize};
use subspace_projectors::name_matches;
use weight_files::TensorInfo;

use super::QuantizeCheckpoint;
use super::values::FloatType;

/// Which way round the weights of a checkpoint are stored. Embeddings and output heads are
/// `[vocab, d_model]` in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// `[d_out, d_in]`, but for the weights named `c_attn`, `q_attn`, `c_proj` and `c_fc`, which are
    /// `[d_in, d_out]` where they are a `Conv1D` of `transformers` and `[d_out, d_in]` in nanoGPT and
    /// others: the shapes of `c_attn` and `c_fc`, which are wider than long, tell.
    #[default]
    Auto,
    /// `[d_in, d_out]`, as in `Conv1D`.
    Conv1d,
    /// `[d_out, d_in]`, as in `torch.nn.Linear`.
    Linear,
}

/// Names of `Conv1D` modules.
const CONV_1D: [&str; 4] = ["c_attn", "q_attn", "c_proj", "c_fc"];

/// Those with more outputs than inputs.
const WIDENING: [&str; 2] = ["c_attn", "c_fc"];

/// Whether a part of a dotted name is one of `names`.
fn names_one(name: &str, names: &[&str]) -> bool {
    name.split('.').any(|part| names.contains(&part))
}

impl Orientation {
    /// What `Auto` stands for in a checkpoint of these tensors: for what is named as a `Conv1D` is, that
    /// it is one, or that it is a `Linear`. Without a tensor that tells, it is taken for one.
    pub(crate) fn resolved<'a>(
        self,
        mut tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Self {
        let longer = |(name, shape): (&str, &[usize])| match *shape {
            [rows, cols] if rows != cols && names_one(name, &WIDENING) => Some(rows > cols),
            _ => None,
        };
        match self {
            Self::Auto if tensors.find_map(longer) == Some(true) => Self::Linear,
            resolved => resolved,
        }
    }
}

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
    /// Its name was listed.
    Listed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ElementType => "not F32, F16 or BF16",
            Self::NotAMatrix => "not a matrix",
            Self::Thin => "fewer than two rows or columns",
            Self::Embedding => "embedding or output head",
            Self::Listed => "listed to be skipped",
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
    /// With the orientation resolved.
    pub(super) fn plan(&self, tensor: &TensorInfo) -> Plan {
        if is_listed(&self.skip, &tensor.name) {
            return Plan::Leave(Reason::Listed);
        }
        let Some(float) = FloatType::of(&tensor.dtype) else {
            return Plan::Leave(Reason::ElementType);
        };
        match matrix(tensor, self.quantize_embeddings, self.orientation) {
            Ok((operand, shape)) => Plan::Quantize { float, operand, shape },
            Err(reason) => Plan::Leave(reason),
        }
    }
}

/// Whether one of these patterns matches the name of a tensor.
pub(crate) fn is_listed(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| name_matches(pattern, name))
}

/// Which way round a tensor lies if it is the matrix of a layer, and its `[rows, cols]`; for an orientation
/// that is resolved.
pub(crate) fn matrix(
    tensor: &TensorInfo,
    with_embeddings: bool,
    orientation: Orientation,
) -> Result<(Operand, [usize; 2]), Reason> {
    let [rows, cols] = tensor.shape[..] else { return Err(Reason::NotAMatrix) };
    if rows < 2 || cols < 2 {
        return Err(Reason::Thin);
    }
    if is_embedding(&tensor.name) && !with_embeddings {
        return Err(Reason::Embedding);
    }
    Ok((operand_of(&tensor.name, orientation), [rows, cols]))
}

/// Which way round the matrix of this name lies, for an orientation that is resolved.
pub(crate) fn operand_of(name: &str, orientation: Orientation) -> Operand {
    let is_conv_1d = match orientation {
        Orientation::Auto => names_one(name, &CONV_1D),
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

/// By the names that GPT-2, GPT-NeoX, LLaMA (`output`), RWKV (`head`), T5 and BERT give them.
fn is_embedding(name: &str) -> bool {
    let part = |part: &str| {
        let whole = ["wte", "wpe", "lm_head", "shared", "relative_attention_bias", "predictions"];
        whole.contains(&part) || part.contains("embed")
    };
    name.split('.').any(part) || matches!(name, "output.weight" | "head.weight")
}
