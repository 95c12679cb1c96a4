//! Where documents end: the files `train.documents` and `val.documents`.
//!
//! # Format
//! All numbers are little-endian. A header of 16 bytes, the ASCII text `sublora docu` and the version
//! as `u32`, which is 1; then 32 bytes per document:
//!
//! | bytes | type | meaning |
//! |---|---|---|
//! | 0..8 | `u64` | $e_i$, the position of its separator in the token file |
//! | 8..16 | `u64` | UTF-8 bytes of its text |
//! | 16..32 | bytes | its id, the first 16 bytes of the SHA-256 of its text |
//!
//! Document $i$ is the tokens $e_{i-1} + 1$ to $e_i - 1$, with $e_{-1} = -1$, at least one of them; the
//! last separator ends the token file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::map::MappedFile;
use crate::{Error, Sha256Hash};

pub(crate) const HEADER: [u8; 16] = *b"sublora docu\x01\0\0\0";
const RECORD: usize = 32;

/// The identity of a text: the first half of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// Of the document whose bytes are `text`.
    pub fn of(text: &[u8]) -> Self {
        let hash = Sha256Hash::of(&[text]);
        Self(std::array::from_fn(|place| hash.0[place]))
    }
}

/// A document of a token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its tokens, without its separator, which is at `tokens.end`. Never empty.
    pub tokens: Range<u64>,
    /// UTF-8 bytes of its text, for losses per byte.
    pub text_bytes: u64,
    /// The identity of its text.
    pub id: Id,
}

/// One entry of the file.
pub(crate) fn record(separator: u64, text_bytes: u64, id: Id) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&separator.to_le_bytes());
    record[8..16].copy_from_slice(&text_bytes.to_le_bytes());
    record[16..].copy_from_slice(&id.0);
    record
}

/// The documents of a token file, memory-mapped.
#[derive(Debug)]
pub struct DocumentTable {
    map: MappedFile,
}

impl DocumentTable {
    /// Maps the table at `path` and checks it against a token file of `tokens` tokens.
    pub(crate) fn open(path: &Path, documents: u64, tokens: u64) -> Result<Self, Error> {
        let expected = documents.saturating_mul(RECORD as u64).saturating_add(HEADER.len() as u64);
        let table = Self { map: MappedFile::open(path, expected)? };
        if !table.map.bytes().starts_with(&HEADER) {
            return Err(Error::TableHeader { path: path.into() });
        }
        table.check(path, tokens)?;
        Ok(table)
    }

    fn check(&self, path: &Path, tokens: u64) -> Result<(), Error> {
        let wrong = |index, reason| Error::TableEntry { path: PathBuf::from(path), index, reason };
        let mut start = 0;
        for index in 0..self.len() {
            let (separator, _, _) = self.fields(index);
            if separator >= tokens {
                return Err(wrong(index, "it ends beyond the token file"));
            }
            if separator <= start {
                return Err(wrong(index, "it holds no token, or ends before it starts"));
            }
            start = separator + 1;
        }
        if start == tokens {
            Ok(())
        } else {
            Err(wrong(self.len(), "it is missing: tokens follow the last document"))
        }
    }

    /// Number of documents.
    pub fn len(&self) -> u64 {
        ((self.map.bytes().len() - HEADER.len()) / RECORD) as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Document number `index`, or `None` from [`DocumentTable::len`] on.
    pub fn get(&self, index: u64) -> Option<Document> {
        if index >= self.len() {
            return None;
        }
        let start = index.checked_sub(1).map_or(0, |previous| self.fields(previous).0 + 1);
        let (separator, text_bytes, id) = self.fields(index);
        Some(Document { tokens: start..separator, text_bytes, id })
    }

    /// The documents in order.
    pub fn iter(&self) -> impl Iterator<Item = Document> + '_ {
        (0..self.len()).map_while(|index| self.get(index))
    }

    pub(crate) fn map(&self) -> &MappedFile {
        &self.map
    }

    #[expect(clippy::cast_possible_truncation, reason = "an index into memory")]
    fn fields(&self, index: u64) -> (u64, u64, Id) {
        let start = HEADER.len() + index as usize * RECORD;
        let record = &self.map.bytes()[start..start + RECORD];
        let number =
            |at: usize| u64::from_le_bytes(std::array::from_fn(|place| record[at + place]));
        (number(0), number(8), Id(std::array::from_fn(|place| record[16 + place])))
    }
}
