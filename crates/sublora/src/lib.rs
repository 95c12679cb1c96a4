#![doc = include_str!("../README.md")]

mod artifact;
mod atomic;
mod baselines;
mod blocks;
mod cargo_sources;
mod certificate;
mod compression;
mod config;
mod error;
mod evaluate;
mod fisher;
#[cfg(test)]
mod fixture;
mod generate;
mod held_out;
mod json_record;
mod metrics;
pub mod ortho;
mod paired;
mod progress;
pub mod qat;
mod quantize_checkpoint;
mod quickstart;
mod run;
mod schedule;
mod schedule_study;
mod scoring;
mod side_by_side;
mod spec;
mod spectra;
mod subspace;
mod sweep;
mod sweep_report;
mod train;
pub mod unlearning;
mod vocabulary;

// The families of methods and the text side, for whoever lists or builds them.
pub use {
    bounds, corpus, ortho_linear, precision_schedule, quantizers, spectral, subspace_projectors,
    weight_files,
};

pub use artifact::{Artifact, CodeLength};
pub use atomic::FileError;
pub use baselines::{
    DecodeError, Fit, PairCounts, Predictor as BaselinePredictor, Tabulated, TokenAboveVocabulary,
    Uniform,
};
pub use cargo_sources::{CargoSourcesError, cargo_sources};
pub use certificate::{
    ArtifactRecord, Certificate, Certifier, Claim, Confidence, CorpusRecord, FileRecord,
    MetricName, Predictor, SampleRecord, Subject, Verification, verify,
};
pub use compression::{Compression, GateShare};
pub use config::{
    BaseConfig, CertifyConfig, CompressConfig, ModelConfig, RunConfig, Scored, SubspaceConfig,
    TrainConfig, Units,
};
pub use error::Error;
pub use evaluate::EvaluateConfig;
pub use gpt2_model::read_config as read_shape;
pub use held_out::HeldOut;
pub use progress::Progress;
pub use quantize_checkpoint::{
    Orientation, QuantizeCheckpoint, QuantizeError, QuantizedCheckpoint, QuantizedTensor, Reason,
    UntouchedTensor,
};
pub use quickstart::{Quickstart, Report, Row, quickstart_config};
pub use run::Run;
pub use schedule::LearningRate;
pub use schedule_study::{
    Cost, OperandPrecision, OperationCost, PartCost, RunCost, ScheduleReport, ScheduleStudy,
    WidthUsage,
};
pub use spec::{BaseIdentity, Spec};
pub use spectra::{
    Coverage, Gate, GateComparison, Kernels, NamedSummary, SpectralError, SpectralReport,
    SpectralStudy, StudySummary,
};
pub use subspace::Subspace;
pub use sweep::{
    BaseRecord, Best, BoundSpread, Choice, Group, HeldOutLoss, RunRecord, RunStatus, Spread, Sweep,
    SweepConfig, SweepLimits, SweepMode, SweepProgress, SweepRecord, SweepRun, SweepTask, TaskEnd,
};
pub use sweep_report::{ModeRow, Summary as SweepSummary, SweepReport};
pub use train::{
    At, Batch, BatchLoss, CrossEntropy, Data, Direct, Evaluation, InSubspace, Kept, Objective,
    Outcome, Parameters, Pass, Point, Trainer,
};
