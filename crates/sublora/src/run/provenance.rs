//! `provenance.json`: on which text a run, or the base of one, came about.
//!
//! A run goes on with the corpus it was started on, and a base that was pretrained on a part of a
//! corpus is no side information for a certificate about all of it. The file is written before the
//! first step, and again beside the weights of a base, which may be copied elsewhere.

use std::path::Path;

use corpus::{Corpus, Partition, Sha256Hash, TokenizerIdentity};
use serde::{Deserialize, Serialize};

use crate::{Error, json_record};

const FILE: &str = "provenance.json";
const WHAT: &str = "provenance";
const VERSION: u64 = 1;

/// Whether `folder` says where it comes from.
pub(super) fn stands_in(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// What a run was started on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provenance {
    /// Of the format, 1.
    version: u64,
    /// The corpus hash.
    corpus: Sha256Hash,
    tokenizer: TokenizerIdentity,
    /// The training documents that the base saw, and nothing else did.
    prior: Option<Partition>,
}

impl Provenance {
    pub(crate) fn new(corpus: &Corpus, prior: Option<Partition>) -> Self {
        let tokenizer = corpus.manifest().tokenizer.clone();
        Self { version: VERSION, corpus: corpus.sha256(), tokenizer, prior }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_record::write(&folder.join(FILE), self)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        json_record::read(&folder.join(FILE), WHAT, VERSION)
    }

    /// Errs unless what is in `folder` came about as `self` says.
    pub(crate) fn check(&self, folder: &Path) -> Result<(), Error> {
        let earlier = Self::read(folder)?;
        if earlier.corpus != self.corpus {
            let (folder, expected) = (folder.to_owned(), earlier.corpus);
            return Err(Error::OtherCorpus { folder, expected, found: self.corpus });
        }
        if earlier == *self {
            return Ok(());
        }
        let folder = folder.display();
        let reason = format!("`{folder}` was made with another prior part of the corpus");
        Err(Error::Mismatch(reason))
    }

    /// Errs unless what is in `folder` reads and writes the tokens of `self`.
    pub(super) fn check_tokenizer(&self, folder: &Path) -> Result<(), Error> {
        let expected = Self::read(folder)?.tokenizer;
        if expected == self.tokenizer {
            return Ok(());
        }
        let [expected, found] =
            [&expected, &self.tokenizer].map(|it| format!("`{}` ({})", it.name, it.sha256));
        let folder = folder.display();
        let reason = format!("`{folder}` was trained on tokens of {expected}, not of {found}");
        Err(Error::Mismatch(reason))
    }

    /// Errs if a run of ours has shown the weights in `folder` a part of the text.
    pub(super) fn check_unseen(&self, folder: &Path) -> Result<(), Error> {
        if !stands_in(folder) {
            return Ok(());
        }
        let Self { corpus, prior, .. } = Self::read(folder)?;
        match prior {
            Some(Partition { fraction, seed }) if corpus == self.corpus => {
                Err(Error::BaseSawText { folder: folder.to_owned(), corpus, fraction, seed })
            }
            _ => Ok(()),
        }
    }
}
