//! A corpus on disk, open for reading.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::{Error, Manifest, Sha256Hash, Split, TokenFile};

pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// Two token files and what the manifest says about them.
#[derive(Debug)]
pub struct Corpus {
    dir: PathBuf,
    manifest: Manifest,
    train: TokenFile,
    val: TokenFile,
}

impl Corpus {
    /// Opens the corpus in `dir`. The manifest's own hash, the size of every file and the order of
    /// every document are checked; the hashes of the files are left to [`Corpus::verify`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Manifest`], [`Error::ManifestVersion`], [`Error::FileSize`],
    /// [`Error::TableHeader`] or [`Error::TableEntry`], each with the file it is about.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        let manifest = Manifest::read(&dir.join(MANIFEST_FILE))?;
        let train = TokenFile::open(&dir, &manifest, Split::Train)?;
        let val = TokenFile::open(&dir, &manifest, Split::Val)?;
        Ok(Self { dir, manifest, train, val })
    }

    /// Recomputes the hash of every file, and checks what a hash cannot: that separators stand where
    /// the table says and nowhere else, that tokens are below the vocabulary size, that documents
    /// are on the side their ids demand, and that no document occurs twice.
    ///
    /// # Errors
    /// [`Error::FileHash`] or [`Error::TableEntry`], with the file.
    pub fn verify(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for split in [Split::Train, Split::Val] {
            let file = self.split(split);
            file.verify(&self.manifest, split)?;
            for (index, document) in (0..).zip(file.documents().iter()) {
                if !seen.insert(document.id) {
                    let path = self.dir.join(split.documents_file());
                    let reason = "it occurs twice";
                    return Err(Error::TableEntry { path, index, reason });
                }
            }
        }
        Ok(())
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counts, tokenizer, split rule and hashes.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The corpus hash, for a certificate.
    pub fn sha256(&self) -> Sha256Hash {
        self.manifest.sha256
    }

    /// The tokens of a split.
    pub fn split(&self, split: Split) -> &TokenFile {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }
}
