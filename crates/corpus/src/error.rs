//! Everything that can go wrong, each with the value found and the one expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Sha256Hash;

/// A corpus could not be built, opened or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, for example `open`.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A document of an input is unusable. The only variant that can be skipped and counted.
    #[error(transparent)]
    Bad(#[from] BadDocument),
    /// No reader for a file's extension.
    #[error("`{}` has no known extension, expected a directory or one of {}", path.display(), crate::source::EXTENSIONS.join(", "))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A tokenizer that is neither built in nor a file.
    #[error("unknown tokenizer `{name}`, expected `byte`, `gpt2` or a path that ends in `.json`")]
    UnknownTokenizer {
        /// What was asked for.
        name: String,
    },
    /// A tokenizer could not be loaded.
    #[error("tokenizer `{name}` cannot be loaded: {reason}")]
    Tokenizer {
        /// Its name or file.
        name: String,
        /// What its library says.
        reason: String,
    },
    /// A token has no decoding.
    #[error("token {token} cannot be decoded, the vocabulary holds {vocab_size}")]
    Decode {
        /// The first such token.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: u32,
    },
    /// A fraction outside its range.
    #[error("{name} is {value}, expected a number from 0 to 1")]
    Fraction {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A count that must not be zero.
    #[error("{name} is 0, expected at least 1")]
    Zero {
        /// Which one.
        name: &'static str,
    },
    /// Nothing was left to train on.
    #[error("no training document among the {read} read")]
    NoDocuments {
        /// Documents read.
        read: u64,
    },
    /// The target holds a corpus and replacing it was not asked for.
    #[error("`{}` already holds a corpus", path.display())]
    CorpusExists {
        /// The target.
        path: PathBuf,
    },
    /// The target holds something else, which is never overwritten.
    #[error("`{}` exists and is no corpus: it holds `{entry}`", path.display())]
    NotACorpus {
        /// The target.
        path: PathBuf,
        /// The first entry that a corpus does not have.
        entry: String,
    },
    /// [`Progress::report`](crate::Progress::report) asked to stop.
    #[error("the build was interrupted")]
    Interrupted,
    /// The manifest is not one of ours.
    #[error("`{}` is no corpus manifest: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The manifest was written by another version.
    #[error("`{}` has version {found}, expected {}", path.display(), crate::manifest::VERSION)]
    ManifestVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A file's size contradicts the manifest.
    #[error("`{}` holds {found} bytes, but the manifest says {expected}", path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// What the manifest says.
        expected: u64,
        /// What is on disk.
        found: u64,
    },
    /// A file's content contradicts the manifest.
    #[error("`{}` has SHA-256 {found}, but the manifest says {expected}", path.display())]
    FileHash {
        /// The file.
        path: PathBuf,
        /// What the manifest says.
        expected: Sha256Hash,
        /// What is on disk.
        found: Sha256Hash,
    },
    /// The document table does not start as one.
    #[error("`{}` is no document table of version 1", path.display())]
    TableHeader {
        /// The file.
        path: PathBuf,
    },
    /// An entry of the document table contradicts its neighbours or the token file.
    #[error("document {index} of `{}`: {reason}", path.display())]
    TableEntry {
        /// The file.
        path: PathBuf,
        /// Number of the document.
        index: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A training window does not fit.
    #[error("a window of {window} tokens does not fit into {tokens}")]
    WindowTooLong {
        /// Tokens of a window.
        window: u64,
        /// Tokens to draw it from.
        tokens: u64,
    },
    /// Document numbers are out of range or not strictly ascending.
    #[error("document number {index} is out of order, or not below {documents}")]
    DocumentNumber {
        /// The first such number.
        index: u64,
        /// Documents in the split.
        documents: u64,
    },
}

impl Error {
    /// For `map_err`: the operating system's answer with its place.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// One document that cannot be part of a corpus, and where it stands.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct BadDocument {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Where a document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or the name that the caller gave it.
    pub file: PathBuf,
    /// The place in it.
    pub part: Part,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// All of it.
    Whole,
    /// A line of a JSON Lines file, from 1.
    Line(u64),
    /// A row of a Parquet file, from 0.
    Row(u64),
    /// A token of a nanoGPT file, from 0: the first of its document.
    Token(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.part {
            Part::Whole => write!(f, "`{file}`"),
            Part::Line(line) => write!(f, "line {line} of `{file}`"),
            Part::Row(row) => write!(f, "row {row} of `{file}`"),
            Part::Token(token) => write!(f, "token {token} of `{file}`"),
        }
    }
}

/// Why a document, or the rest of a file, is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends early or is damaged: what follows this place is lost.
    #[error("the rest cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Not text.
    #[error("invalid UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// The first byte that is not part of a character.
        offset: usize,
    },
    /// Not a JSON object with a string called `text`.
    #[error("not a JSON object with a string `text`: {0}")]
    Json(#[source] serde_json::Error),
    /// The field is absent or null.
    #[error("no `text`")]
    MissingText,
    /// A Parquet file without a column of that name.
    #[error("no column `text`, but {}", found.join(", "))]
    ColumnMissing {
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A Parquet column that holds no strings.
    #[error("column `text` is {found}, expected one byte array per row")]
    ColumnType {
        /// Its physical type.
        found: String,
    },
    /// A damaged Parquet file: the rest of it is lost.
    #[error("the rest cannot be read: {0}")]
    Parquet(#[source] parquet::errors::ParquetError),
    /// No token at all; its mean loss would be undefined.
    #[error("empty document")]
    Empty,
    /// Beyond [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES): the rest of the file is lost.
    #[error("longer than {} bytes", crate::MAX_DOCUMENT_BYTES)]
    TooLong,
    /// The token file belongs to another tokenizer.
    #[error("token {token} is not below the vocabulary size {vocab_size}")]
    TokenAboveVocabulary {
        /// The first such token.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: u32,
    },
    /// The text encodes to the token that separates documents.
    #[error("the text contains the separator, token {eot}")]
    SeparatorInText {
        /// The separator.
        eot: u32,
    },
    /// The tokenizer's library refused.
    #[error("the tokenizer fails: {0}")]
    Tokenizer(String),
}
