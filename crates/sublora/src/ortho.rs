//! Splits of the matrices of a model into a base and outliers: what `ortho_linear` does to one matrix, for all
//! of a checkpoint.

mod diagnose;
mod evaluate;
mod model;
mod split;
#[cfg(test)]
mod tests;

pub use diagnose::{
    ClassShares, CodingShares, DiagnoseError, LayerDiagnosis, LeftOut, OrthoDiagnosis, OrthoReport,
    RuleDiagnosis, SeenInputs, Text,
};
pub use evaluate::{AlphaRecord, OrthoEvaluation};
pub use model::OrthoModel;
