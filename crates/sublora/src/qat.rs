//! Quantisation-aware training: one GPT-2 that runs at many widths.
//!
//! A run starts from a base, calibrates it, trains what its [`QatMethod`] adds, and evaluates every width
//! on held-out text. Methods differ in the layers they build and in the [`Plan`] of their steps; the loop,
//! checkpoints and evaluation are the same.

mod calibrate;
mod calibration_file;
mod compare;
mod config;
mod cost;
mod distillation;
mod learner;
mod method;
mod model;
mod parameters;
mod range_test;
mod record;
mod run;
mod suite;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "costs are whole numbers, and equal runs have equal bits")]
mod tests;

pub use compare::{Difference, QatComparison, Verdict, WidthRow};
pub use config::{CalibrationConfig, QatConfig, Upstream};
pub use distillation::{
    AnyDistillation, Cascade, Distillation, FullPrecision, Independent, Lesson, Recursive,
    Sandwich, Visit,
};
pub use method::{AnyQatMethod, Cyclic, Mergeable, Plan, PostTraining, QatMethod, Switchable};
pub use model::{Job, QatModel};
pub use parameters::{ParameterCounts, WidthParameters};
pub use record::{QatRecord, TrainingRecord, WidthRecord};
pub use run::QatRun;
pub use suite::{QatSuite, SuiteRun, finished};
