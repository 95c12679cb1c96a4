//! The two files of a split, written in one pass.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::document_table::{HEADER, record};
use crate::encode::EncodedDocument;
use crate::sha256_hash::HashingWriter;
use crate::{Error, Sha256Hash, Split, SplitSummary};

impl Split {
    pub(crate) fn tokens_file(self) -> &'static str {
        match self {
            Self::Train => "train.bin",
            Self::Val => "val.bin",
        }
    }

    pub(crate) fn documents_file(self) -> &'static str {
        match self {
            Self::Train => "train.documents",
            Self::Val => "val.documents",
        }
    }
}

/// Appends documents, and counts and hashes them.
pub(crate) struct SplitWriter {
    tokens: Output,
    documents: Output,
    document_count: u64,
    token_count: u64,
    text_bytes: u64,
}

impl SplitWriter {
    pub(crate) fn create(dir: &Path, split: Split) -> Result<Self, Error> {
        let tokens = Output::create(dir.join(split.tokens_file()))?;
        let mut documents = Output::create(dir.join(split.documents_file()))?;
        documents.write(&HEADER)?;
        Ok(Self { tokens, documents, document_count: 0, token_count: 0, text_bytes: 0 })
    }

    pub(crate) fn push(&mut self, document: &EncodedDocument) -> Result<(), Error> {
        let separator = self.token_count + document.tokens;
        self.tokens.write(&document.encoded)?;
        self.documents.write(&record(separator, document.text_bytes, document.id))?;
        self.document_count += 1;
        self.token_count = separator + 1;
        self.text_bytes += document.text_bytes;
        Ok(())
    }

    /// Flushes both files to the disk.
    pub(crate) fn finish(self) -> Result<SplitSummary, Error> {
        Ok(SplitSummary {
            documents: self.document_count,
            tokens: self.token_count,
            text_bytes: self.text_bytes,
            tokens_sha256: self.tokens.finish()?,
            documents_sha256: self.documents.finish()?,
        })
    }
}

struct Output {
    path: PathBuf,
    writer: HashingWriter<BufWriter<File>>,
}

impl Output {
    fn create(path: PathBuf) -> Result<Self, Error> {
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path, writer: HashingWriter::new(BufWriter::with_capacity(1 << 20, file)) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    fn finish(self) -> Result<Sha256Hash, Error> {
        let (buffer, hash) = self.writer.finish();
        let synced = buffer.into_inner().map_err(std::io::IntoInnerError::into_error);
        synced.and_then(|file| file.sync_all()).map_err(Error::io("write", &self.path))?;
        Ok(hash)
    }
}
