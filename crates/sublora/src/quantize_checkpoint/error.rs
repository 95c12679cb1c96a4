//! Why a checkpoint was not quantised.

use std::fmt::Display;
use std::path::{Path, PathBuf};

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
    /// A folder without safetensors.
    #[error(
        "`{0}` holds no weights, expected `model.safetensors` or `model.safetensors.index.json`"
    )]
    NoWeights(PathBuf),
    /// A JSON file of the folder is not what it should be.
    #[error("`{path}` cannot be read: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A file is no safetensors file.
    #[error("`{path}` is no valid safetensors file: {reason}")]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
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

    pub(super) fn json(path: &Path, reason: impl Display) -> Self {
        Self::Json { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn not_safetensors(path: &Path, reason: impl Display) -> Self {
        Self::NotSafetensors { path: path.to_owned(), reason: reason.to_string() }
    }
}
