//! Splits of the matrices of a model into a base and outliers: what `ortho_linear` does to one matrix, for all
//! of a checkpoint.

mod diagnose;
mod evaluate;
mod model;
mod split;
#[cfg(test)]
mod tests;

use std::path::Path;

use corpus::Corpus;
use gpt2_model::Gpt2Config;

pub use diagnose::{
    ClassShares, DiagnoseError, LayerDiagnosis, LeftOut, OrthoDiagnosis, OrthoReport,
    RuleDiagnosis, SeenInputs, Text,
};
pub use evaluate::{AlphaRecord, OrthoEvaluation};
pub use model::OrthoModel;

use crate::Error;

/// Errs if a corpus has tokens that the model in `folder` does not know.
fn check_vocabulary(folder: &Path, shape: &Gpt2Config, corpus: &Corpus) -> Result<(), Error> {
    let (known, vocab) = (shape.vocab_size, corpus.manifest().tokenizer.vocab_size as usize);
    if known >= vocab {
        return Ok(());
    }
    let folder = folder.display();
    Err(Error::Mismatch(format!("`{folder}` knows {known} tokens, the corpus {vocab}")))
}
