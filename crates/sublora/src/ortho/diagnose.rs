//! What the bases of a checkpoint's matrices would do on their own, before any of them is put in its place.
//!
//! # Definition
//! Every matrix of a layer is split as [`SplitConfig`] says, and its base is looked at without the outliers, at
//! $\alpha = 0$: [`ortho_linear::Diagnosis`] has the error, its parts and the rule of the verdict. A layer passes if
//! its base loses no more than `budget` of the norm of the weights, and where a text is given, no more of the outputs
//! on the inputs that the layer has while the model reads it. Outputs on isotropic inputs are there in any case; they
//! say what the weights say, and nothing of a model.
//!
//! Beside it stands what each [rule for scales](ortho_linear::ClipRule) would do at 8 and 4 bits, predicted for normal
//! values and measured, and among them the bases that were published, which no base kind has.
//!
//! | file | what |
//! |---|---|
//! | `report.html` | the page |
//! | `layers.csv` | a row a matrix |
//! | `rules.csv` | a row a matrix, rule and width |
//! | `diagnosis.json` | all of it, with the settings and the tensors that were left out |

mod chosen_by;
mod error;
mod inputs;
mod layer;
mod layers;
mod outputs;
mod page;
mod tables;

use std::path::Path;

use ortho_linear::{Split, SplitConfig};
use serde::{Deserialize, Serialize};
use weight_files::Checkpoint;

pub use error::DiagnoseError;
pub use inputs::{SeenInputs, Text};
pub use layer::{ClassShares, CodingShares, LayerDiagnosis, RuleDiagnosis};
pub use layers::LeftOut;

use crate::{Error, Orientation, Progress};
use layer::Known;

/// Inputs of a layer that are held at a time.
const MOST_INPUTS: usize = 1 << 16;

/// What is diagnosed, and against which budget.
///
/// ```toml
/// budget = 0.05
/// [split]
/// base = { kind = "int8" }
/// selection = { kind = "magnitude", ratio = 0.005 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrthoDiagnosis {
    /// The largest relative error that a base may have alone.
    pub budget: f64,
    /// Isotropic inputs of each layer. Few of them estimate little: below some hundreds the verdict can fail on the
    /// estimate.
    pub tokens: usize,
    /// With a text: windows of it that are read.
    pub windows: usize,
    /// With a text: tokens of a window, at most the context of the model.
    pub window: usize,
    /// Of the isotropic inputs, and of the places of the windows.
    pub seed: u64,
    /// Which way round weights are stored.
    pub orientation: Orientation,
    /// Whether embeddings and output heads are diagnosed, too.
    pub embeddings: bool,
    /// Names of tensors to leave out, `*` for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// The split that would be made.
    pub split: SplitConfig,
}

/// A twentieth of the norm, 1,024 inputs of either kind.
impl Default for OrthoDiagnosis {
    fn default() -> Self {
        Self {
            budget: 0.05,
            tokens: 1_024,
            windows: 4,
            window: 256,
            seed: 0,
            orientation: Orientation::Auto,
            embeddings: false,
            skip: Vec::new(),
            split: SplitConfig::default(),
        }
    }
}

/// What was found out about the matrices of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrthoReport {
    /// Name of the checkpoint.
    pub checkpoint: String,
    /// Name of the one that it was fine-tuned from, if that was given.
    pub pretrained: Option<String>,
    /// How.
    pub settings: OrthoDiagnosis,
    /// What the inputs of layers are of, if there was a text.
    pub inputs: Option<SeenInputs>,
    /// Every matrix of a layer.
    pub layers: Vec<LayerDiagnosis>,
    /// Every other tensor.
    pub left_out: Vec<LeftOut>,
}

impl OrthoDiagnosis {
    /// Reads a configuration and what overrides it, each `table.key=value` with a TOML value.
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        crate::config::read(text, overrides)
    }

    /// These settings with some overridden, each `table.key=value` with a TOML value: for example
    /// `split.selection.ratio=0.01`.
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn overridden(self, overrides: &[String]) -> Result<Self, Error> {
        crate::config::overridden(self, overrides)
    }

    /// Diagnoses every matrix of `checkpoint`, a file, an index or a folder, against `pretrained`, which has the same
    /// matrices, if the split needs it. With a text the checkpoint is the folder of a GPT-2, which is then held whole
    /// while it reads; otherwise one matrix is, in a few copies for each core.
    ///
    /// # Errors
    /// Settings that make no sense, a checkpoint or text that cannot be read, the first matrix that cannot be split, or
    /// that `progress` asked for an end. A layer that is refused is none.
    pub fn run(
        &self,
        checkpoint: &Path,
        pretrained: Option<&Path>,
        text: Option<&Text<'_>>,
        progress: &dyn Progress,
    ) -> Result<OrthoReport, DiagnoseError> {
        self.each(checkpoint, pretrained, text, progress, |_, _| {})
    }

    /// [`run`](Self::run), which hands `keep` every layer's name in a GPT-2 and its split.
    pub(super) fn each(
        &self,
        checkpoint: &Path,
        pretrained: Option<&Path>,
        text: Option<&Text<'_>>,
        progress: &dyn Progress,
        mut keep: impl FnMut(&str, Split),
    ) -> Result<OrthoReport, DiagnoseError> {
        self.validate()?;
        let mut weights = Checkpoint::open(checkpoint)?;
        let (layers, left_out) = self.select(weights.tensors());
        if layers.is_empty() {
            return Err(DiagnoseError::NoMatrix(checkpoint.to_owned()));
        }
        let mut before = match pretrained {
            None => None,
            Some(path) => {
                let file = Checkpoint::open(path)?;
                let (found, _) = self.select(file.tensors());
                Some((layers::paired(&layers, &found, path)?, file))
            }
        };
        let chosen_by = text.map(|text| self.chosen_by(checkpoint, text, progress)).transpose()?;
        let mut chosen_by = chosen_by.unwrap_or_default();
        let inputs = text.map(|text| self.inputs(checkpoint, text, false, progress)).transpose()?;
        let (seen, mut by_layer) =
            inputs.map_or_else(Default::default, |it| (Some(it.seen), it.by_layer));

        progress.begin("diagnose", "layers", layers.len() as u64);
        let mut found = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            if progress.update(index as u64, &layer.name).is_break() {
                return Err(DiagnoseError::Interrupted);
            }
            let pretrained = match &mut before {
                None => None,
                Some((layers, file)) => Some(layers[index].read(file)?),
            };
            let inputs = by_layer.remove(layer.module());
            let known = Known {
                name: &layer.name,
                shape: layer.shape(),
                weights: &layer.read(&mut weights)?,
                pretrained: pretrained.as_deref(),
                inputs: inputs.as_deref(),
                hessian: chosen_by.hessian.remove(layer.module()),
                fisher: chosen_by.fisher.remove(layer.module()),
            };
            let (diagnosis, split) =
                self.layer(&known).map_err(DiagnoseError::tensor(&layer.name))?;
            found.push(diagnosis);
            keep(layer.module(), split);
        }
        progress.end();
        let name = |path: &Path| {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        };
        Ok(OrthoReport {
            checkpoint: name(checkpoint),
            pretrained: pretrained.map(name),
            settings: self.clone(),
            inputs: seen,
            layers: found,
            left_out,
        })
    }

    /// What can be said without a checkpoint.
    fn validate(&self) -> Result<(), DiagnoseError> {
        if !(self.budget >= 0.0 && self.budget.is_finite()) {
            let (value, expected) = (self.budget.to_string(), "a finite number of at least 0");
            return Err(DiagnoseError::Setting { name: "budget", value, expected });
        }
        for (name, value) in
            [("tokens", self.tokens), ("windows", self.windows), ("window", self.window)]
        {
            if !(1..=MOST_INPUTS).contains(&value) {
                let (value, expected) = (value.to_string(), "1 to 65536");
                return Err(DiagnoseError::Setting { name, value, expected });
            }
        }
        let inputs = self.windows.saturating_mul(self.window);
        if inputs > MOST_INPUTS {
            let (name, expected) = ("windows", "at most 65536 inputs, `windows` times `window`");
            return Err(DiagnoseError::Setting { name, value: self.windows.to_string(), expected });
        }
        Ok(())
    }
}

impl OrthoReport {
    /// The layers that are not to be patched, each with the cause.
    pub fn refused(&self) -> impl Iterator<Item = (&LayerDiagnosis, ortho_linear::Cause)> {
        self.layers.iter().filter_map(|it| Some((it, it.cause()?)))
    }

    /// Which layers are not to be patched, in a sentence; none if all may be.
    pub fn refusal(&self) -> Option<String> {
        let names: Vec<_> =
            self.refused().map(|(layer, cause)| format!("`{}` ({cause})", layer.name)).collect();
        let (refused, all) = (names.len(), self.layers.len());
        (refused > 0).then(|| {
            let names = names.join(", ");
            format!(
                "refuses to patch {refused} of {all} layers, by their error at alpha = 0: {names}"
            )
        })
    }

    /// Bytes of all bases, and of all outlier streams.
    pub fn bytes(&self) -> [u64; 2] {
        let sum = |bytes: fn(&LayerDiagnosis) -> u64| self.layers.iter().map(bytes).sum();
        [sum(|it| it.base_bytes), sum(|it| it.outlier_bytes)]
    }

    /// Bytes of all matrices in the type that they are stored in.
    pub fn stored_bytes(&self) -> u64 {
        self.layers.iter().map(|it| it.stored_bytes(&self.settings)).sum()
    }

    /// Whether alpha has no effect on any layer.
    pub fn is_inert(&self) -> bool {
        self.layers.iter().all(|it| it.diagnosis.inert.is_some())
    }
}

#[cfg(test)]
mod tests;
