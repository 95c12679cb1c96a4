//! Read-only memory maps: the only `unsafe` of this crate.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::{Error, Sha256Hash};

/// A file of known length, mapped.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`, which must hold `expected` bytes.
    pub(crate) fn open(path: &Path, expected: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        #[expect(unsafe_code, reason = "memmap2 has no safe constructor")]
        // SAFETY: the map is read-only and private to this type, and nobody else writes to the file:
        // files of a corpus are written once, under another name, and renamed when complete. Whoever
        // rewrites one in place while it is mapped breaks this, as with every memory map.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        let found = map.len() as u64;
        if found != expected {
            return Err(Error::FileSize { path: path.into(), expected, found });
        }
        Ok(Self { path: path.into(), map })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Compares the content with the manifest's hash.
    pub(crate) fn verify(&self, expected: Sha256Hash) -> Result<(), Error> {
        let found = Sha256Hash::of(&[self.bytes()]);
        if found == expected {
            Ok(())
        } else {
            Err(Error::FileHash { path: self.path.clone(), expected, found })
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
