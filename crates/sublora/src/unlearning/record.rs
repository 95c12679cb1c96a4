//! What a seed of a study measured, as it stands in `measured.json`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use corpus::Sha256Hash;
use serde::{Deserialize, Serialize};

use crate::atomic::FileError;
use crate::{Error, json_record};

/// The file in the folder of a seed.
pub(super) const FILE: &str = "measured.json";
/// The file beside it before the seed is over.
const KEPT: &str = "measuring.json";
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

/// What measurements of a seed are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the format, 1.
    pub version: u32,
    /// Of base, facts, masks and held-out text.
    pub seed: u64,
    /// The text.
    pub corpus: Sha256Hash,
    /// Of every setting but the seeds.
    pub settings: Sha256Hash,
    /// Names, shapes and values of the base; none of a random one.
    pub base: Option<Sha256Hash>,
}

impl Head {
    pub(super) const VERSION: u32 = 1;
}

/// A seed that is over. Equal seeds write equal records: there is no time in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// What they are of.
    #[serde(flatten)]
    pub head: Head,
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
    /// Reads the record of a seed in `folder`; none before it is over.
    ///
    /// # Errors
    /// One of another form or version.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        json_record::read(&path, WHAT, Head::VERSION).map(Some)
    }

    /// Writes it, and removes what was kept on the way.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_record::write(&folder.join(FILE), self)?;
        let path = folder.join(KEPT);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(FileError::at("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }
}

/// Measurements of a seed that is not over, each on disk as soon as it is there.
pub(super) struct KeptMeasures {
    path: PathBuf,
    content: RefCell<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    head: Head,
    /// By a name of the model.
    measures: BTreeMap<String, Measures>,
}

impl KeptMeasures {
    /// Those in `folder`, if they are of `head`; else none yet.
    ///
    /// # Errors
    /// A file of another form or version.
    pub(super) fn open(folder: &Path, head: &Head) -> Result<Self, Error> {
        let path = folder.join(KEPT);
        let mut content = Kept { head: *head, measures: BTreeMap::new() };
        if path.exists() {
            let found: Kept = json_record::read(&path, WHAT, Head::VERSION)?;
            if found.head == *head {
                content = found;
            }
        }
        Ok(Self { path, content: RefCell::new(content) })
    }

    /// Those of `name`, or what `measure` says, which is then kept.
    ///
    /// # Errors
    /// What it says, or the file system.
    pub(super) fn take(
        &self,
        name: &str,
        measure: impl FnOnce() -> Result<Measures, Error>,
    ) -> Result<Measures, Error> {
        let mut content = self.content.borrow_mut();
        if let Some(measures) = content.measures.get(name) {
            return Ok(*measures);
        }
        let measures = measure()?;
        content.measures.insert(name.to_owned(), measures);
        json_record::write(&self.path, &*content)?;
        Ok(measures)
    }
}
