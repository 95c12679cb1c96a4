//! Why a checkpoint was not diagnosed, or not split.

use std::path::PathBuf;

use ortho_linear::{OrthoError, OrthoFileError};
use thiserror::Error;

use crate::FileError;

/// Why a checkpoint was not diagnosed, or not split. A layer that is refused is no error but an answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// A checkpoint that cannot be read.
    #[error(transparent)]
    Weights(#[from] weight_files::Error),
    /// A setting out of its range.
    #[error("`{name}` is {value}, expected {expected}")]
    Setting {
        /// Its key.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A checkpoint without a matrix that is not left out.
    #[error("`{0}` has no weight matrix to diagnose")]
    NoMatrix(PathBuf),
    /// A matrix that one of two checkpoints lacks.
    #[error("`{pretrained}` is no pretrained state of the checkpoint: {there} has no `{name}`")]
    Unmatched {
        /// The pretrained checkpoint.
        pretrained: PathBuf,
        /// The matrix, by its name in the other.
        name: String,
        /// Which of them lacks it.
        there: &'static str,
    },
    /// A matrix that is another one in the pretrained checkpoint.
    #[error("pretrained `{name}` is {found}, expected {expected} as in the checkpoint")]
    OtherMatrix {
        /// Its name.
        name: String,
        /// Its type and shape in the pretrained checkpoint.
        found: String,
        /// Those in the checkpoint.
        expected: String,
    },
    /// A matrix that cannot be split as the settings say.
    #[error("tensor `{name}`: {source}")]
    Tensor {
        /// Its name.
        name: String,
        /// Why not.
        source: OrthoError,
    },
    /// A model that cannot be read, or a text that does not show the inputs of its layers.
    #[error(transparent)]
    Text(#[from] crate::Error),
    /// Something else than the folder of a GPT-2, to be split.
    #[error("`{0}` is no folder of a GPT-2, expected one with `config.json` and weights")]
    NoFolder(PathBuf),
    /// The folder to write is there already.
    #[error("`{0}` exists, expected the name of a new folder")]
    OutExists(PathBuf),
    /// A split model that cannot be written.
    #[error(transparent)]
    Split(#[from] OrthoFileError),
    /// A table that cannot be written.
    #[error(transparent)]
    Table(#[from] report::Error),
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// The caller asked for an end.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl DiagnoseError {
    pub(super) fn tensor(name: &str) -> impl FnOnce(OrthoError) -> Self {
        let name = name.to_owned();
        move |source| Self::Tensor { name, source }
    }
}
