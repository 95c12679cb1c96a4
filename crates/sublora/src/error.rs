//! What can go wrong in a pipeline.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use corpus::Sha256Hash;
use thiserror::Error;

use crate::atomic::FileError;

/// Why a pipeline stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot be read, or a value outside its range.
    #[error("{0}")]
    Config(String),
    /// Training would overwrite a run.
    #[error("`{0}` already holds a run")]
    RunExists(PathBuf),
    /// A run was started with another configuration.
    #[error("`{folder}` was started with another configuration: {difference}")]
    OtherConfig {
        /// The run.
        folder: PathBuf,
        /// The first key that differs, and both values.
        difference: String,
    },
    /// A run without what an earlier step of it writes.
    #[error("`{folder}` holds no {what}")]
    Unfinished {
        /// The run.
        folder: PathBuf,
        /// What is not there.
        what: &'static str,
    },
    /// A run whose files are not those of its certificate, or a certificate of other settings: of
    /// `certify` or `compress` with others, or of a copy.
    #[error("the certificate in `{folder}` is not that of its run: {difference}")]
    OtherCertificate {
        /// The run.
        folder: PathBuf,
        /// The first thing that differs.
        difference: String,
    },
    /// A run whose training was interrupted.
    #[error("`{folder}` is trained for {step} of {steps} steps")]
    Untrained {
        /// The run.
        folder: PathBuf,
        /// Steps taken.
        step: u64,
        /// Steps to take.
        steps: u64,
    },
    /// Training whose numbers have left the range of numbers. Its last checkpoint is from before.
    #[error(
        "{task}: the {what} is {value} at step {step}, at a learning rate of {learning_rate:e}"
    )]
    Diverged {
        /// Which training.
        task: String,
        /// What is no number any more.
        what: &'static str,
        /// What it is instead.
        value: f64,
        /// Counted from 0, as in the metrics.
        step: u64,
        /// Of that step.
        learning_rate: f64,
    },
    /// A corpus that is not the one of a run.
    #[error("`{folder}` was trained on the corpus {expected}, this one is {found}")]
    OtherCorpus {
        /// The run.
        folder: PathBuf,
        /// Hash of the corpus it was trained on.
        expected: Sha256Hash,
        /// Hash of the corpus given.
        found: Sha256Hash,
    },
    /// A base that is no side information: it saw a part of the text, which would be certified.
    #[error(
        "the base `{folder}` was pretrained on a part of the corpus {corpus}: fraction {fraction}, seed {seed}"
    )]
    BaseSawText {
        /// The base.
        folder: PathBuf,
        /// Hash of the corpus.
        corpus: Sha256Hash,
        /// Share of the training documents that it saw.
        fraction: f64,
        /// Seed of the choice of these documents.
        seed: u64,
    },
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of ours that is not what it should be.
    #[error("`{path}` is no valid {what}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Two things that belong together differ.
    #[error("{0}")]
    Mismatch(String),
    /// See [`corpus::Error`].
    #[error(transparent)]
    Corpus(#[from] corpus::Error),
    /// See [`gpt2_model::ConfigError`].
    #[error(transparent)]
    Model(#[from] gpt2_model::ConfigError),
    /// See [`gpt2_model::CheckpointError`].
    #[error(transparent)]
    Checkpoint(#[from] gpt2_model::CheckpointError),
    /// See [`gpt2_model::DeviceError`].
    #[error(transparent)]
    Device(#[from] gpt2_model::DeviceError),
    /// See [`adapters::CalibrationError`].
    #[error(transparent)]
    Calibration(#[from] adapters::CalibrationError),
    /// See [`gpt2_model::ScoreError`].
    #[error(transparent)]
    Score(gpt2_model::ScoreError),
    /// See [`adapters::LoraError`].
    #[error(transparent)]
    Lora(#[from] adapters::LoraError),
    /// See [`subspace_projectors::LayoutError`].
    #[error(transparent)]
    Layout(#[from] subspace_projectors::LayoutError),
    /// See [`subspace_projectors::AllocationError`].
    #[error(transparent)]
    Allocation(#[from] subspace_projectors::AllocationError),
    /// See [`quantizers::CodebookError`].
    #[error(transparent)]
    Codebook(#[from] quantizers::CodebookError),
    /// See [`quantizers::DecodeError`].
    #[error(transparent)]
    Decode(#[from] quantizers::DecodeError),
    /// See [`bounds::BoundError`].
    #[error(transparent)]
    Bound(#[from] bounds::BoundError),
    /// See [`ortho_linear::OrthoError`].
    #[error(transparent)]
    Ortho(#[from] ortho_linear::OrthoError),
    /// See [`ortho_linear::OrthoFileError`].
    #[error(transparent)]
    OrthoFile(#[from] ortho_linear::OrthoFileError),
    /// See [`report::Error`].
    #[error(transparent)]
    Table(#[from] report::Error),
    /// A panic in one of several tasks, for example of a device that has run out of memory.
    #[error("the program gave up: {0}")]
    Panicked(String),
    /// The caller asked for an end, and what was finished is on disk.
    #[error("interrupted; what was finished is kept")]
    Interrupted,
}

impl From<gpt2_model::ScoreError> for Error {
    fn from(error: gpt2_model::ScoreError) -> Self {
        match error {
            gpt2_model::ScoreError::Device(error) => Self::Device(error),
            other => Self::Score(other),
        }
    }
}

impl Error {
    pub(crate) fn config(error: &dyn Display) -> Self {
        // A TOML value's path comes on a line of its own; the message is one sentence.
        Self::Config(error.to_string().trim().replace("\nin `", ", in `"))
    }

    pub(crate) fn value(key: &str, value: &dyn Display, expected: &str) -> Self {
        Self::Config(format!("`{key}` is {value}, expected {expected}"))
    }

    pub(crate) fn format(path: &Path, what: &'static str, reason: impl Display) -> Self {
        Self::Format { path: path.to_owned(), what, reason: reason.to_string() }
    }
}
