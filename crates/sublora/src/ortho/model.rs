//! A GPT-2 of bases and outliers, as it lies in its folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use corpus::Corpus;
use gpt2_model::{CheckpointError, Gpt2Config};
use ortho_linear::{Alpha, FILE_NAME, OrthoCheckpoint, OrthoFileError, OrthoGpt2, Streams};

use crate::vocabulary::check_vocabulary;
use crate::{Error, generate};

/// What [`OrthoDiagnosis::split_gpt2`](super::OrthoDiagnosis::split_gpt2) wrote, at alpha 1 until it is set.
#[derive(Debug, Clone)]
pub struct OrthoModel {
    folder: PathBuf,
    pub(super) model: OrthoGpt2,
    pub(super) shape: Gpt2Config,
}

impl OrthoModel {
    /// Whether `folder` holds a model of this kind.
    pub fn stands_in(folder: &Path) -> bool {
        folder.join(FILE_NAME).exists()
    }

    /// Reads a folder, and verifies every hash in it.
    ///
    /// # Errors
    /// The first thing wrong with it, with the name of the file.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, Error> {
        let OrthoCheckpoint { model, config: shape, .. } =
            ortho_linear::load(folder, device).map_err(|error| named(folder, error))?;
        Ok(Self { folder: folder.to_owned(), model, shape })
    }

    /// Sets alpha of every layer: its own in `layers`, by its name in a checkpoint (`h.0.attn.c_attn`), or `alpha`.
    ///
    /// # Errors
    /// [`ortho_linear::OrthoError::NoSuchLayer`], and nothing is set.
    pub fn set_alpha(&self, alpha: Alpha, layers: &BTreeMap<String, Alpha>) -> Result<(), Error> {
        let own = layers.iter().map(|(name, &alpha)| Ok((self.model.layer(name)?, alpha)));
        let own = own.collect::<Result<Vec<_>, Error>>()?;
        self.model.set_alpha(alpha);
        for (layer, alpha) in own {
            layer.set_alpha(alpha);
        }
        Ok(())
    }

    /// Draws `count` tokens at the present alpha, after a separator and `prompt`.
    ///
    /// # Errors
    /// A corpus with tokens that the model does not know, or if the device fails.
    pub fn generate(
        &self,
        corpus: &Corpus,
        prompt: &[u32],
        count: usize,
        temperature: f64,
        seed: u64,
    ) -> Result<Vec<u32>, Error> {
        self.check(corpus)?;
        let model = self.model.materialised(); // one alpha, and few tokens at a time
        generate::after_separator(&model, corpus, prompt, count, temperature, seed)
    }

    /// Errs if a corpus has tokens that the model does not know.
    pub(super) fn check(&self, corpus: &Corpus) -> Result<(), Error> {
        check_vocabulary(&self.folder, &self.shape, corpus)
    }
}

/// The error with the name of its file, of those that have none.
fn named(folder: &Path, error: OrthoFileError) -> Error {
    let path = folder.join(FILE_NAME);
    match error {
        OrthoFileError::Checkpoint(error @ CheckpointError::NotFinite(_)) => {
            Error::format(&path, "file of bases and outliers", error)
        }
        OrthoFileError::Checkpoint(error) => error.into(),
        OrthoFileError::Device(error) => error.into(),
        OrthoFileError::Missing(_)
        | OrthoFileError::Unexpected(_)
        | OrthoFileError::Tensor { .. }
        | OrthoFileError::Value { .. }
        | OrthoFileError::Layer { .. }
        | OrthoFileError::Hash { .. } => Error::format(&path, "file of bases and outliers", error),
        error => error.into(),
    }
}
