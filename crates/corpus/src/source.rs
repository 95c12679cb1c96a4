//! Where documents come from: one reader per format, chosen by extension.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{BadDocument, Fault, Part, Place};
use crate::{Error, TokenizerIdentity, json_lines, nano_gpt, parquet_rows, text_files};

/// The longest document that is read. A build holds two batches of documents in memory, and this
/// bounds them whatever a file claims.
pub const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

/// What [`Source::detect`] goes by, the longest match first.
pub(crate) const EXTENSIONS: &[&str] = &[
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.zst",
    ".jsonl.xz",
    ".ndjson",
    ".json.gz",
    ".json.zst",
    ".parquet",
    ".bin",
    ".txt",
    ".md",
];

/// Some documents, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// One text file, one document.
    Text(PathBuf),
    /// A document per file, recursively, in byte-wise order of the path below the directory (its
    /// parts joined by `/`). Hidden files and directories (`.git`) and symbolic links are left out.
    Directory(PathBuf),
    /// A document per line, in its field `text`; compressed if the name ends in `.gz`, `.zst` or
    /// `.xz`. Blank lines are passed over.
    JsonLines(PathBuf),
    /// A document per row, in the string column `text`.
    Parquet(PathBuf),
    /// `uint16`, little-endian, documents separated by the tokenizer's separator.
    NanoGpt(PathBuf),
    /// A document per file, in the order given, under the names given.
    Files(Vec<NamedFile>),
    /// Texts in memory, in the order given.
    Texts(Vec<NamedText>),
}

/// A file and the name that messages use for it, the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// For example `serde-1.0.228/src/lib.rs`.
    pub name: String,
    /// Where it lies on this machine.
    pub path: PathBuf,
}

/// A text and the name that messages use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedText {
    /// For example `greeting`.
    pub name: String,
    /// The document.
    pub text: String,
}

impl Source {
    /// The reader for `path`: a directory, or a file by its extension.
    ///
    /// # Errors
    /// [`Error::Io`] if there is nothing at `path`, [`Error::UnknownFormat`] at another extension.
    pub fn detect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if path.metadata().map_err(Error::io("open", &path))?.is_dir() {
            return Ok(Self::Directory(path));
        }
        let name =
            path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        match EXTENSIONS.iter().find(|extension| name.ends_with(**extension)) {
            Some(&".txt" | &".md") => Ok(Self::Text(path)),
            Some(&".parquet") => Ok(Self::Parquet(path)),
            Some(&".bin") => Ok(Self::NanoGpt(path)),
            Some(_) => Ok(Self::JsonLines(path)),
            None => Err(Error::UnknownFormat { path }),
        }
    }

    /// Its documents. `meter` counts the bytes read, as they lie on disk.
    pub(crate) fn open(
        &self,
        tokenizer: &TokenizerIdentity,
        meter: &Meter,
    ) -> Result<RawDocuments, Error> {
        Ok(match self {
            Self::Text(path) => text_files::open(vec![NamedFile::unnamed(path.clone())], meter),
            Self::Directory(path) => text_files::open(text_files::walk(path)?, meter),
            Self::Files(files) => text_files::open(files.clone(), meter),
            Self::JsonLines(path) => Box::new(json_lines::JsonLines::open(path, meter)?),
            Self::Parquet(path) => Box::new(parquet_rows::ParquetRows::open(path, meter)?),
            Self::NanoGpt(path) => Box::new(nano_gpt::NanoGpt::open(path, tokenizer, meter)?),
            Self::Texts(texts) => Box::new(texts.clone().into_iter().map({
                let meter = meter.clone();
                move |NamedText { name, text }| {
                    meter.add(text.len() as u64);
                    Ok(RawDocument::new(name, Part::Whole, Content::Text(text.into_bytes())))
                }
            })),
        })
    }

    /// The bytes that the meter will have counted at the end.
    pub(crate) fn bytes(&self) -> Result<u64, Error> {
        let size = |path: &Path| Ok(path.metadata().map_err(Error::io("open", path))?.len());
        match self {
            Self::Text(path)
            | Self::JsonLines(path)
            | Self::Parquet(path)
            | Self::NanoGpt(path) => size(path),
            Self::Directory(path) => {
                text_files::walk(path)?.iter().map(|file| size(&file.path)).sum()
            }
            Self::Files(files) => files.iter().map(|file| size(&file.path)).sum(),
            Self::Texts(texts) => Ok(texts.iter().map(|text| text.text.len() as u64).sum()),
        }
    }
}

impl NamedFile {
    pub(crate) fn unnamed(path: PathBuf) -> Self {
        Self { name: path.display().to_string(), path }
    }
}

/// A document as it was read, before anything that takes time.
#[derive(Debug)]
pub(crate) struct RawDocument {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// To be checked for UTF-8.
    Text(Vec<u8>),
    /// To be parsed.
    JsonLine(Vec<u8>),
    /// Below the vocabulary size, without a separator.
    Tokens(Vec<u32>),
}

impl RawDocument {
    pub(crate) fn new(file: impl Into<PathBuf>, part: Part, content: Content) -> Self {
        Self { place: Place { file: file.into(), part }, content }
    }

    /// Memory held, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match &self.content {
            Content::Text(bytes) | Content::JsonLine(bytes) => bytes.len(),
            Content::Tokens(tokens) => tokens.len() * 4,
        }
    }
}

/// A reader. After an [`Error::Bad`] it may go on; a file that cannot go on ends there.
pub(crate) type RawDocuments = Box<dyn Iterator<Item = Result<RawDocument, Error>> + Send>;

/// The error for one place of one file.
pub(crate) fn bad(file: &Path, part: Part, fault: Fault) -> Error {
    BadDocument { place: Place { file: file.into(), part }, fault }.into()
}

/// Counts bytes read, for the progress report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file whose bytes are counted as they are read.
pub(crate) struct MeteredFile {
    file: File,
    meter: Meter,
}

impl MeteredFile {
    pub(crate) fn open(path: &Path, meter: &Meter) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        Ok(Self { file, meter: meter.clone() })
    }
}

impl Read for MeteredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.meter.add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides() {
        let dir = tempfile::tempdir().unwrap();
        let detect = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            Source::detect(path)
        };
        assert!(matches!(detect("a.TXT").unwrap(), Source::Text(_)));
        assert!(matches!(detect("a.md").unwrap(), Source::Text(_)));
        assert!(matches!(detect("a.parquet").unwrap(), Source::Parquet(_)));
        assert!(matches!(detect("train.bin").unwrap(), Source::NanoGpt(_)));
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.xz", "c4.json.gz"] {
            assert!(matches!(detect(name).unwrap(), Source::JsonLines(_)), "{name}");
        }
        assert!(matches!(Source::detect(dir.path()).unwrap(), Source::Directory(_)));
        let unknown = detect("a.docx").unwrap_err().to_string();
        assert!(
            unknown.ends_with(
                "a.docx` has no known extension, expected a directory or one of \
             .jsonl, .jsonl.gz, .jsonl.zst, .jsonl.xz, .ndjson, .json.gz, .json.zst, .parquet, \
             .bin, .txt, .md"
            ),
            "{unknown}"
        );
        assert!(matches!(Source::detect("/absent.txt"), Err(Error::Io { action: "open", .. })));
    }
}
