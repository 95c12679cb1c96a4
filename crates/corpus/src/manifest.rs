//! `manifest.json`: what a corpus is and how it came about.
//!
//! The file is what [`Manifest::to_json`] writes, byte for byte; any other spelling is refused, so a
//! flipped byte cannot hide in white space. No path and no date is in it: the same documents in the
//! same order give the same manifest on every machine.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, NearDuplicateReport, Sha256Hash, Split, SplitRule, TokenizerIdentity};

/// Raised when a reader of the old one could misread the new one.
pub(crate) const VERSION: u64 = 1;
pub(crate) const FORMAT: &str = "sublora-corpus";

/// Everything there is to know about a corpus but its tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `sublora-corpus`.
    pub format: String,
    /// Of the format, 1.
    pub version: u64,
    /// What made and what reads the tokens.
    pub tokenizer: TokenizerIdentity,
    /// How documents were dealt to the splits.
    pub split: SplitRule,
    /// Documents read, and those left out.
    pub read: ReadCounts,
    /// Clusters of near-duplicates, if they were looked for.
    pub near_duplicates: Option<NearDuplicateReport>,
    /// The training split.
    pub train: SplitSummary,
    /// The validation split; it may be empty.
    pub val: SplitSummary,
    /// The corpus hash: the SHA-256 of this manifest as compact JSON, with 64 zeros in this place.
    /// Through the hashes of the files it stands for every byte of the corpus.
    pub sha256: Sha256Hash,
}

/// Documents read, and why some are not in a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadCounts {
    /// Read from the inputs.
    pub documents: u64,
    /// Left out as exact duplicates of an earlier document.
    pub duplicates: u64,
    /// Left out because they hold no token.
    pub empty: u64,
    /// Left out because something else was wrong with them.
    pub bad: u64,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSummary {
    /// Documents.
    pub documents: u64,
    /// Tokens, a separator per document included.
    pub tokens: u64,
    /// UTF-8 bytes of the documents.
    pub text_bytes: u64,
    /// Of the token file.
    pub tokens_sha256: Sha256Hash,
    /// Of the document table.
    pub documents_sha256: Sha256Hash,
}

impl Manifest {
    /// The file's content.
    #[expect(clippy::missing_panics_doc, reason = "numbers and strings have a JSON form")]
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("numbers and strings have a JSON form") + "\n"
    }

    /// The summary of a split.
    pub fn summary(&self, split: Split) -> &SplitSummary {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }

    pub(crate) fn with_hash(mut self) -> Self {
        self.sha256 = Sha256Hash([0; 32]);
        let json = serde_json::to_vec(&self);
        let json = json.expect("numbers and strings have a JSON form");
        self.sha256 = Sha256Hash::of(&[&json]);
        self
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u64,
        }
        let wrong = |reason: String| Error::Manifest { path: path.into(), reason };
        let json = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let Version { format, version } =
            serde_json::from_str(&json).map_err(|error| wrong(error.to_string()))?;
        if format != FORMAT {
            return Err(wrong(format!("its format is `{format}`, expected `{FORMAT}`")));
        }
        if version != VERSION {
            return Err(Error::ManifestVersion { path: path.into(), found: version });
        }
        let manifest: Self =
            serde_json::from_str(&json).map_err(|error| wrong(error.to_string()))?;
        let hash = manifest.clone().with_hash().sha256;
        if manifest.sha256 != hash {
            return Err(wrong(format!("its hash is {}, expected {hash}", manifest.sha256)));
        }
        if manifest.to_json() != json {
            return Err(wrong("it has been reformatted".into()));
        }
        Ok(manifest)
    }
}
