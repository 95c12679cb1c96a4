//! Why a checkpoint was not quantised.

use std::path::PathBuf;

use quantizers::QuantizerError;
use thiserror::Error;

use crate::FileError;

/// Why a checkpoint was not quantised. Nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The folder to write is there already.
    #[error("`{0}` exists, expected the name of a new folder")]
    OutExists(PathBuf),
    /// A checkpoint that cannot be read.
    #[error(transparent)]
    Weights(#[from] weight_files::Error),
    /// A tensor of another format that a safetensors file has no type for.
    #[error("tensor `{name}`: there is no way to keep {dtype} elements in a safetensors file")]
    NotKept {
        /// Its name.
        name: String,
        /// Type of its elements.
        dtype: String,
    },
    /// A list of tensors that a safetensors file cannot have.
    #[error("the tensors do not fit into a safetensors file: {0}")]
    Header(#[from] safetensors::SafeTensorError),
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// Settings that no tensor can be quantised with.
    #[error(transparent)]
    Settings(#[from] QuantizerError),
    /// A tensor that cannot be quantised with these settings.
    #[error("tensor `{name}`: {source}")]
    Tensor {
        /// Its name.
        name: String,
        /// Why not.
        source: QuantizerError,
    },
    /// The caller asked for an end.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl QuantizeError {
    pub(super) fn tensor(name: &str) -> impl FnOnce(QuantizerError) -> Self {
        let name = name.to_owned();
        move |source| Self::Tensor { name, source }
    }
}
