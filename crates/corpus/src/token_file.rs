//! The tokens of a split, memory-mapped.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::document_table::DocumentTable;
use crate::map::MappedFile;
use crate::width::Width;
use crate::{Error, Manifest, Split};

/// Tokens and where their documents end. Tokens come out as `u32`, whatever their width on disk.
#[derive(Debug)]
pub struct TokenFile {
    map: MappedFile,
    width: Width,
    documents: DocumentTable,
    eot: u32,
    vocab_size: u32,
}

impl TokenFile {
    pub(crate) fn open(dir: &Path, manifest: &Manifest, split: Split) -> Result<Self, Error> {
        let summary = manifest.summary(split);
        let width = manifest.tokenizer.width();
        let bytes = summary.tokens.saturating_mul(width.bytes());
        let map = MappedFile::open(&dir.join(split.tokens_file()), bytes)?;
        let table = dir.join(split.documents_file());
        let documents = DocumentTable::open(&table, summary.documents, summary.tokens)?;
        let (eot, vocab_size) = (manifest.tokenizer.eot, manifest.tokenizer.vocab_size);
        Ok(Self { map, width, documents, eot, vocab_size })
    }

    /// Number of tokens, a separator per document included.
    pub fn len(&self) -> u64 {
        self.map.bytes().len() as u64 / self.width.bytes()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The separator.
    pub fn eot(&self) -> u32 {
        self.eot
    }

    /// Tokens are below it.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The documents: the units of a document-level certificate.
    pub fn documents(&self) -> &DocumentTable {
        &self.documents
    }

    /// The tokens of `range`, documents and separators as they stand.
    ///
    /// # Panics
    /// If `range` reaches beyond [`TokenFile::len`], like a slice.
    pub fn tokens(&self, range: Range<u64>) -> impl Iterator<Item = u32> + '_ {
        let byte = |token: u64| {
            token
                .checked_mul(self.width.bytes())
                .and_then(|byte| usize::try_from(byte).ok())
                .expect("a range inside the token file")
        };
        self.width.decode(&self.map.bytes()[byte(range.start)..byte(range.end)])
    }

    /// Fills `out` with the tokens from `start` on.
    ///
    /// # Panics
    /// If they reach beyond [`TokenFile::len`], like a slice.
    pub fn read(&self, start: u64, out: &mut [u32]) {
        let tokens = self.tokens(start..start.saturating_add(out.len() as u64));
        for (out, token) in out.iter_mut().zip(tokens) {
            *out = token;
        }
    }

    /// What is scored of document `index`: the separator, then its tokens, `[T + 1]`.
    ///
    /// Token $t$ of the document is predicted from everything before it, the first one from the
    /// separator alone. That separator belongs to the document before, and is a virtual one at the
    /// start of the file. The document's own separator is not predicted.
    ///
    /// `None` from the number of documents on.
    pub fn scored(&self, index: u64) -> Option<impl Iterator<Item = u32> + '_> {
        let document = self.documents.get(index)?;
        Some(std::iter::once(self.eot).chain(self.tokens(document.tokens)))
    }

    /// Recomputes both hashes and looks at every token.
    pub(crate) fn verify(&self, manifest: &Manifest, split: Split) -> Result<(), Error> {
        let summary = manifest.summary(split);
        let (tokens, documents) = rayon::join(
            || self.map.verify(summary.tokens_sha256),
            || self.documents.map().verify(summary.documents_sha256),
        );
        tokens.and(documents)?;

        let wrong = |index, reason| {
            Err(Error::TableEntry { path: self.documents.map().path().into(), index, reason })
        };
        let first = (0..self.documents.len())
            .into_par_iter()
            .find_map_first(|index| Some((index, self.contradiction(index, manifest, split)?)));
        if let Some((index, reason)) = first {
            return wrong(index, reason);
        }
        let text_bytes: u128 =
            self.documents.iter().map(|document| u128::from(document.text_bytes)).sum();
        if text_bytes == u128::from(summary.text_bytes) {
            Ok(())
        } else {
            wrong(self.documents.len(), "the text bytes of all before it are not the manifest's")
        }
    }

    /// What is wrong with document `index`, if anything.
    fn contradiction(&self, index: u64, manifest: &Manifest, split: Split) -> Option<&'static str> {
        let document = self.documents.get(index)?;
        let separator = document.tokens.end;
        if self.tokens(separator..separator + 1).ne([self.eot]) {
            return Some("no separator follows it");
        }
        for token in self.tokens(document.tokens) {
            if token == self.eot {
                return Some("there is a separator inside it");
            }
            if token >= self.vocab_size {
                return Some("there is a token above the vocabulary in it");
            }
        }
        let elsewhere = manifest.split.split(document.id) != split;
        elsewhere.then_some("the split rule puts it on the other side")
    }
}
