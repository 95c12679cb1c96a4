//! Where a corpus is written: nothing at all, or all of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::corpus::MANIFEST_FILE;
use crate::{Error, Manifest, Split};

/// What to do about a corpus that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Leave it and fail.
    Refuse,
    /// Put the new one in its place, once complete. Anything but a corpus is still left alone.
    Replace,
}

/// A hidden directory beside the final one, removed unless published.
pub(crate) struct Target {
    hidden: TempDir,
    /// Inside the hidden one, because that one is private to its owner.
    dir: PathBuf,
    out: PathBuf,
    if_exists: IfExists,
}

impl Target {
    pub(crate) fn create(out: &Path, if_exists: IfExists) -> Result<Self, Error> {
        check(out, if_exists)?;
        let parent = match out.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let hidden = tempfile::Builder::new()
            .prefix(".corpus-partial-")
            .tempdir_in(parent)
            .map_err(Error::io("create a directory in", parent))?;
        let dir = hidden.path().join("new");
        fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
        Ok(Self { hidden, dir, out: out.into(), if_exists })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds the manifest and gives the directory its name.
    pub(crate) fn publish(self, manifest: &Manifest) -> Result<(), Error> {
        let path = self.dir.join(MANIFEST_FILE);
        fs::File::create_new(&path)
            .and_then(|mut file| {
                file.write_all(manifest.to_json().as_bytes())?;
                file.sync_all()
            })
            .map_err(Error::io("write", &path))?;
        check(&self.out, self.if_exists)?;
        let old = self.hidden.path().join("old");
        let replaces = self.out.exists();
        if replaces {
            fs::rename(&self.out, &old).map_err(Error::io("replace", &self.out))?;
        }
        fs::rename(&self.dir, &self.out).map_err(|error| {
            if replaces {
                let _ = fs::rename(&old, &self.out); // the first error is the one to report
            }
            Error::io("create", &self.out)(error)
        })
    }
}

/// `out` may be absent, an empty directory or, to be replaced, a corpus and nothing else.
fn check(out: &Path, if_exists: IfExists) -> Result<(), Error> {
    if !out.try_exists().map_err(Error::io("open", out))? {
        return Ok(());
    }
    let mut holds_corpus = false;
    for entry in fs::read_dir(out).map_err(Error::io("read", out))? {
        let entry = entry.map_err(Error::io("read", out))?.file_name();
        let files = [Split::Train, Split::Val].map(|it| [it.tokens_file(), it.documents_file()]);
        if entry == MANIFEST_FILE {
            holds_corpus = true;
        } else if !files.as_flattened().iter().any(|file| entry == *file) {
            let entry = entry.to_string_lossy().into_owned();
            return Err(Error::NotACorpus { path: out.into(), entry });
        }
    }
    if holds_corpus && if_exists == IfExists::Refuse {
        return Err(Error::CorpusExists { path: out.into() });
    }
    Ok(())
}
