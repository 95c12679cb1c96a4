//! The matrices of a checkpoint that are diagnosed, and the same of the one it was fine-tuned from.

use std::path::Path;

use quantizers::Operand;
use serde::{Deserialize, Serialize};
use weight_files::{Checkpoint, TensorInfo};

use super::{DiagnoseError, OrthoDiagnosis};
use crate::quantize_checkpoint::{Reason, is_listed, matrix};

/// A tensor that is no matrix of a layer, or is not to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// In the checkpoint.
    pub name: String,
    /// Type of its elements.
    pub dtype: String,
    /// Extents, for example `768x2304`.
    pub shape: String,
    /// Why.
    pub reason: String,
}

/// A matrix of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    /// In the checkpoint.
    pub(super) name: String,
    /// Number of its tensor.
    tensor: usize,
    operand: Operand,
    /// As it lies, `[rows, cols]`.
    stored: [usize; 2],
    dtype: String,
}

impl OrthoDiagnosis {
    /// Every matrix of a layer, and every other tensor.
    pub(super) fn select(&self, tensors: &[TensorInfo]) -> (Vec<Layer>, Vec<LeftOut>) {
        let shapes = tensors.iter().map(|it| (it.name.as_str(), &it.shape[..]));
        let orientation = self.orientation.resolved(shapes);
        let (mut layers, mut left_out) = (Vec::new(), Vec::new());
        for (index, tensor) in tensors.iter().enumerate() {
            let found = if is_listed(&self.skip, &tensor.name) {
                Err(Reason::Listed.to_string())
            } else if let Some(reason) = tensor.dtype.why_not_read() {
                Err(reason.to_string())
            } else {
                matrix(tensor, self.embeddings, orientation).map_err(|reason| reason.to_string())
            };
            let (name, dtype) = (tensor.name.clone(), tensor.dtype.to_string());
            match found {
                Ok((operand, stored)) => {
                    layers.push(Layer { name, tensor: index, operand, stored, dtype });
                }
                Err(reason) => {
                    let extents: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
                    left_out.push(LeftOut { name, dtype, shape: extents.join("x"), reason });
                }
            }
        }
        (layers, left_out)
    }
}

impl Layer {
    /// `[d_in, d_out]`.
    pub(super) fn shape(&self) -> [usize; 2] {
        let [rows, cols] = self.stored;
        if self.operand == Operand::Weight { [rows, cols] } else { [cols, rows] }
    }

    /// The name of the layer in a GPT-2: without that of its weight and without a prefix.
    pub(super) fn module(&self) -> &str {
        plain(&self.name).trim_end_matches(".weight")
    }

    /// Its weights, `[d_in, d_out]`.
    pub(super) fn read(&self, checkpoint: &mut Checkpoint) -> Result<Vec<f32>, DiagnoseError> {
        let mut values = Vec::new();
        checkpoint.read(self.tensor, &mut values)?;
        if self.operand == Operand::Weight {
            return Ok(values);
        }
        let [rows, cols] = self.stored;
        let column = |col: usize| values.iter().skip(col).step_by(cols);
        let mut transposed = Vec::with_capacity(rows * cols);
        (0..cols).for_each(|col| transposed.extend(column(col)));
        Ok(transposed)
    }

    /// Whether it is this matrix in another state.
    fn is(&self, other: &Self) -> bool {
        plain(&self.name) == plain(&other.name)
    }

    fn described(&self) -> String {
        let [rows, cols] = self.stored;
        format!("{} of {rows}x{cols}", self.dtype)
    }
}

/// The name of a tensor without the prefix that some writers give those of a GPT-2.
fn plain(name: &str) -> &str {
    name.strip_prefix("transformer.").unwrap_or(name)
}

/// The pretrained state of every one of `layers`, in their order, from a checkpoint at `path` that has these
/// matrices and no others.
pub(super) fn paired(
    layers: &[Layer],
    pretrained: &[Layer],
    path: &Path,
) -> Result<Vec<Layer>, DiagnoseError> {
    let unmatched = |layer: &Layer, there| DiagnoseError::Unmatched {
        pretrained: path.to_owned(),
        name: layer.name.clone(),
        there,
    };
    if let Some(alone) = pretrained.iter().find(|it| !layers.iter().any(|layer| layer.is(it))) {
        return Err(unmatched(alone, "the checkpoint"));
    }
    let pair = |layer: &Layer| {
        let before = pretrained.iter().find(|it| it.is(layer));
        let before = before.ok_or_else(|| unmatched(layer, "it"))?;
        if (&before.dtype, before.stored) == (&layer.dtype, layer.stored) {
            return Ok(before.clone());
        }
        let (found, expected) = (before.described(), layer.described());
        Err(DiagnoseError::OtherMatrix { name: layer.name.clone(), found, expected })
    };
    layers.iter().map(pair).collect()
}
