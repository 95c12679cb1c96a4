//! `certificate.json`: what is claimed of a compressed model, and everything that is needed to check it.
//!
//! The file is what [`Certificate::to_json`] writes, byte for byte, and carries its own hash, so that a
//! flipped byte cannot hide. docs/formats.md describes every field.

mod among;
mod certify;
mod evidence;
mod partial;
mod rival;
mod scene;
mod scores;
mod stated;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;

use bounds::{Alpha, Metric, Unit};
use corpus::{Partition, Sha256Hash, TokenizerIdentity};
use serde::{Deserialize, Serialize};

pub(crate) use among::claims_among;
pub use certify::{Certifier, Subject};
pub(crate) use certify::{claim_count, metrics, wanted};
pub(crate) use rival::{Model, Rival, Simple, rival_claims};
pub use verify::{Verification, verify};

use crate::artifact::CodeLength;
use crate::atomic::FileError;
use crate::config::Scored;
use crate::spec::BaseIdentity;
use crate::{Error, atomic};

const FORMAT: &str = "sublora-certificate";
const VERSION: u64 = 2;
const WHAT: &str = "certificate";

/// What is claimed, of what, and on what evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// `sublora-certificate`.
    pub format: String,
    /// Of the format, 2.
    pub version: u64,
    /// The compressed model.
    pub artifact: ArtifactRecord,
    /// The text.
    pub corpus: CorpusRecord,
    /// How a token is predicted: part of what is certified.
    pub predictor: Predictor,
    /// How the failure probability is spent.
    pub confidence: Confidence,
    /// The document-level sample.
    pub documents: Option<SampleRecord>,
    /// The token-level sample.
    pub positions: Option<SampleRecord>,
    /// The scored tokens.
    pub scores: FileRecord,
    /// The claims. All of them hold together with the stated confidence.
    pub bounds: Vec<Claim>,
    /// SHA-256 of this file as compact JSON with 64 zeros in this place.
    pub sha256: Sha256Hash,
}

/// A file beside the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path from the certificate's folder.
    pub path: String,
    /// Of its bytes.
    pub sha256: Sha256Hash,
}

/// The compressed model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecord {
    /// `model.sublora`.
    pub file: FileRecord,
    /// The code length, by what takes the room.
    pub bits: CodeLength,
    /// $K$, its sum.
    pub code_length: u64,
    /// Runs that this one was chosen from.
    pub configurations: u64,
    /// The frozen weights it needs.
    pub base: BaseIdentity,
    /// Their folder from the certificate's, unless they are random.
    pub base_path: Option<String>,
}

/// The text that the certificate is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRecord {
    /// Folder, from the certificate's.
    pub path: String,
    /// The corpus hash, which stands for every byte of it.
    pub sha256: Sha256Hash,
    /// What made the tokens.
    pub tokenizer: TokenizerIdentity,
    /// Training documents set aside to pretrain the base: not among the certified ones.
    pub prior: Option<Partition>,
    /// $m$ at the document level.
    pub documents: u64,
    /// $m$ at the token level: predictions, separators not counted.
    pub tokens: u64,
    /// Clusters of near-duplicates in the corpus, if they were looked for.
    pub effective_documents: Option<u64>,
}

/// How a token is predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictor {
    /// Longest window, in tokens.
    pub context: usize,
    /// Tokens by which the window slides.
    pub stride: usize,
    /// Windows scored at a time.
    pub batch: usize,
    /// Batches computed side by side.
    pub shards: usize,
    /// Where it was evaluated, for example `flex`.
    pub device: String,
    /// Of weights and activations, `f32`.
    pub dtype: String,
}

/// How the failure probability is spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confidence {
    /// Largest probability that any claim is wrong.
    pub failure_probability: f64,
    /// Claims that share it evenly; those of simpler predictors are among them.
    pub claims: u64,
}

/// A sample of units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRecord {
    /// Chosen by the user.
    pub seed: u64,
    /// Units drawn uniformly with replacement; none scored all.
    pub size: Option<u64>,
    /// What is scored of a unit: a document or the block around one position of it. A position that is
    /// drawn is scored with its block.
    pub scored: Scored,
    /// Fixed before the draw: a hash of the seed, the sizes, the artifact and the corpus.
    pub commitment: Sha256Hash,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Which bound, as `sublora list` names it.
    pub name: String,
    /// What the units are.
    pub unit: Unit,
    /// `bits_per_token` or `top_k_error`.
    pub metric: MetricName,
    /// Of the top-k error.
    pub k: Option<u32>,
    /// Smoothing weight, chosen after the scores and paid for.
    pub alpha: Option<Alpha>,
    /// Mean over the scored units.
    pub risk: f64,
    /// What the description length costs.
    pub complexity_term: f64,
    /// What the subsample costs.
    pub sampling_term: f64,
    /// The sum, rounded up: the risk is below it.
    pub bound: f64,
    /// Value of the uniform predictor.
    pub vacuous_above: f64,
    /// Whether the bound says nothing: it is not below that.
    pub vacuous: bool,
}

/// The name of a [`Metric`] in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricName {
    /// Mean smoothed loss, in bits per token.
    BitsPerToken,
    /// Fraction of tokens that $k$ others rank level with or above.
    TopKError,
}

impl MetricName {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::BitsPerToken => "bits_per_token",
            Self::TopKError => "top_k_error",
        }
    }
}

impl From<Metric> for MetricName {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::BitsPerToken => Self::BitsPerToken,
            Metric::TopKError { .. } => Self::TopKError,
        }
    }
}

impl Certificate {
    /// The file's content.
    #[expect(clippy::missing_panics_doc, reason = "numbers and strings have a JSON form")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings have a JSON form") + "\n"
    }

    /// The claim with the least bound for a metric and unit, if any.
    pub fn best(&self, unit: Unit, metric: MetricName, k: Option<u32>) -> Option<&Claim> {
        let claims = self.bounds.iter();
        let claims = claims.filter(|it| it.unit == unit && it.metric == metric && it.k == k);
        claims.min_by(|a, b| a.bound.total_cmp(&b.bound))
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(atomic::write(path, self.to_json().as_bytes())?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that this version did not write byte for byte.
    pub fn read(path: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u64,
        }
        let wrong = |reason: &dyn std::fmt::Display| Error::format(path, WHAT, reason);
        let json = std::fs::read(path).map_err(FileError::at("read", path))?;
        let json = String::from_utf8(json).map_err(|error| wrong(&error))?;
        let head: Head = serde_json::from_str(&json).map_err(|error| wrong(&error))?;
        if head.format != FORMAT {
            return Err(wrong(&format!("its format is `{}`, expected `{FORMAT}`", head.format)));
        }
        if head.version != VERSION {
            let reason = format!("its version is {}, this program reads {VERSION}", head.version);
            return Err(wrong(&reason));
        }
        let certificate: Self = serde_json::from_str(&json).map_err(|error| wrong(&error))?;
        let hash = certificate.clone().with_hash().sha256;
        if certificate.sha256 != hash {
            let reason =
                format!("it was altered: its hash is {}, expected {hash}", certificate.sha256);
            return Err(wrong(&reason));
        }
        if certificate.to_json() != json {
            return Err(wrong(&"it was reformatted"));
        }
        Ok(certificate)
    }

    fn with_hash(mut self) -> Self {
        self.sha256 = Sha256Hash([0; 32]);
        let json = serde_json::to_vec(&self).expect("numbers and strings have a JSON form");
        self.sha256 = Sha256Hash::of(&[&json]);
        self
    }
}
