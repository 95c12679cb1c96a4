//! A GPT-2 with its layers in two streams, written only if the base of each of them works alone.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use super::{DiagnoseError, OrthoDiagnosis, OrthoReport, Text};
use crate::{Error, Orientation, Progress};

impl OrthoDiagnosis {
    /// Diagnoses every matrix of the GPT-2 in `folder`, as [`run`](Self::run) does, and unless one is refused,
    /// writes `out` with their splits ([`ortho_linear::save`]), whole or not at all. What is left out, by its
    /// kind or its name, is in it as it was. The model and all splits are held at the same time.
    ///
    /// Nothing is written if the [`refusal`](OrthoReport::refusal) of the report is something.
    ///
    /// # Errors
    /// No folder of a GPT-2, an `out` that exists, [`embeddings`](Self::embeddings) or an
    /// [`orientation`](Self::orientation) that no split of a GPT-2 has, what the file system says, or as
    /// [`run`](Self::run). Nothing was written.
    pub fn split_gpt2(
        &self,
        folder: &Path,
        pretrained: Option<&Path>,
        text: Option<&Text<'_>>,
        out: &Path,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<OrthoReport, DiagnoseError> {
        if out.exists() {
            return Err(DiagnoseError::OutExists(out.to_owned()));
        }
        if !folder.join("config.json").is_file() {
            return Err(DiagnoseError::NoFolder(folder.to_owned()));
        }
        gpt2_model::read_config(folder).map_err(Error::from)?; // before a diagnosis that takes its time
        if self.embeddings {
            let (value, expected) = ("true".to_owned(), "false: a split has linear layers alone");
            return Err(DiagnoseError::Setting { name: "embeddings", value, expected });
        }
        if self.orientation == Orientation::Linear {
            let expected = "auto or conv1d, as the weights of a GPT-2 lie";
            let value = "linear".to_owned();
            return Err(DiagnoseError::Setting { name: "orientation", value, expected });
        }
        let mut splits = BTreeMap::new();
        let report = self.each(folder, pretrained, text, progress, |layer, split| {
            splits.insert(layer.to_owned(), split);
        })?;
        if report.refusal().is_none() {
            let (model, shape) = gpt2_model::load(folder, device).map_err(Error::from)?;
            ortho_linear::save(&model, &shape, &splits, &self.split, out)?;
        }
        Ok(report)
    }
}
