//! What can be wrong with a file of bases and outliers.

use std::path::PathBuf;

use gpt2_model::{CheckpointError, DeviceError};
use thiserror::Error;

use crate::OrthoError;

/// Why such a checkpoint is not written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OrthoFileError {
    /// The folder or its `config.json`.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight could not be read from its device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The file system said no.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// No safetensors file.
    #[error("`{path}` is no safetensors file: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: safetensors::SafeTensorError,
    },
    /// A safetensors file of something else.
    #[error("the metadata of `{path}` have no `{key}`, expected a file of bases and outliers")]
    NoMetadata {
        /// The file.
        path: PathBuf,
        /// What is missing.
        key: &'static str,
    },
    /// A file of an older or newer program.
    #[error("`{path}` was written by version {found} of the format, this program reads {expected}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is read.
        expected: u32,
    },
    /// Metadata that cannot be read.
    #[error("`{key}` in the metadata of `{path}` cannot be read: {source}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Which metadata.
        key: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A tensor that the metadata or the model ask for.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A tensor that they do not ask for.
    #[error("`{0}` belongs to nothing in the model")]
    Unexpected(String),
    /// A tensor of another type or shape.
    #[error("`{name}` is {found}, expected {expected}")]
    Tensor {
        /// Its name.
        name: String,
        /// Type and shape.
        found: String,
        /// Type and shape.
        expected: String,
    },
    /// A value that its tensor cannot have.
    #[error("value {index} of `{name}` is {value}, expected {expected}")]
    Value {
        /// The tensor.
        name: String,
        /// Place of the value; of a code, in its output channel.
        index: usize,
        /// The value.
        value: f64,
        /// What it may be.
        expected: String,
    },
    /// Numbers that are no base or no outliers.
    #[error("`{name}`: {source}")]
    Layer {
        /// The layer.
        name: String,
        /// What is wrong.
        source: OrthoError,
    },
    /// Values that are not the ones that were written.
    #[error("{what} of `{name}` has the SHA-256 {found}, expected {expected}")]
    Hash {
        /// The base, its sum with the outliers, or all tensors.
        what: &'static str,
        /// The layer, or the file.
        name: String,
        /// Of what the file decodes to.
        found: String,
        /// By the metadata.
        expected: String,
    },
}
