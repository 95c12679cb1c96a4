//! What a seed of a study measured, as it stands in `measured.json`.

use std::path::Path;

use corpus::Sha256Hash;
use serde::{Deserialize, Serialize};

use crate::{Error, json_record};

/// The file in the folder of a seed.
pub(super) const FILE: &str = "measured.json";
const WHAT: &str = "measured seed";

/// Losses of a model. Nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// On the values of the facts, after their statements.
    pub forget_nats: f64,
    /// Share of values whose tokens are all the likeliest, each after the true ones.
    pub recall: f64,
    /// On the values, after the paraphrases.
    pub paraphrase_nats: f64,
    /// Share of values recalled after the paraphrases.
    pub paraphrase_recall: f64,
    /// On held-out text.
    pub retain_nats: f64,
}

/// A seed that is over. Equal seeds write equal records: there is no time in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRecord {
    /// Of the format, 1.
    pub version: u32,
    /// Of base, facts and masks.
    pub seed: u64,
    /// The text.
    pub corpus: Sha256Hash,
    /// Of every setting but the seeds.
    pub settings: Sha256Hash,
    /// Names, shapes and values of the base; none of a random one.
    pub base: Option<Sha256Hash>,
    /// Held-out tokens.
    pub retain_tokens: u64,
    /// Of $M_0$, as stored.
    pub pretrained: Measures,
    /// Of $M_1$, as stored.
    pub memorized: Measures,
    /// A row a selection, ratio and alpha.
    pub sweep: Vec<SweepRow>,
    /// Facts taught to the outliers alone: a row a ratio and alpha.
    pub streams: Vec<SweepRow>,
    /// A row a model and base kind.
    pub quantized: Vec<QuantizedRow>,
}

/// A split at an alpha.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepRow {
    /// `kind` of the selection.
    pub selection: String,
    /// Whether it is there to be compared with.
    pub is_control: bool,
    /// Share of the weights on the mask.
    pub ratio: f64,
    /// $\sum_M \Delta W^2 / \sum \Delta W^2$ over all layers: how much of the fine-tuning is on the mask.
    pub captured: f64,
    /// Bytes of the outlier streams of all layers.
    pub outlier_bytes: u64,
    /// The gain.
    pub alpha: f32,
    /// What the model answers.
    pub measures: Measures,
}

/// A model whose linear layers are quantised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizedRow {
    /// How it came to be: `pretrained`, `memorized`, the name of a training, or that of a selection.
    pub model: String,
    /// Of a selection, share of the weights on its mask; alpha is 0.
    pub ratio: Option<f64>,
    /// `kind` of the base.
    pub base: String,
    /// Share of weights that have another code than in $M_1$ quantised the same way; in half precision, that
    /// are other numbers.
    pub moved: f64,
    /// What the model answers.
    pub measures: Measures,
}

impl SeedRecord {
    pub(super) const VERSION: u32 = 1;

    /// Reads the record of a seed in `folder`; none before it is over.
    ///
    /// # Errors
    /// One of another form or version.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        json_record::read(&path, WHAT, Self::VERSION).map(Some)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_record::write(&folder.join(FILE), self)
    }
}
