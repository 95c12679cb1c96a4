//! Splits of the matrices of a model into a base and outliers: what `ortho_linear` does to one matrix, for all
//! of a checkpoint.

mod diagnose;

pub use diagnose::{
    ClassShares, DiagnoseError, LayerDiagnosis, LeftOut, OrthoDiagnosis, OrthoReport,
    RuleDiagnosis, SeenInputs, Text,
};
