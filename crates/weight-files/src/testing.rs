//! What the tests of several formats need.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{Checkpoint, Error, FileFault, TensorFault};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Opens a checkpoint and reads all of it that has a type to be read.
pub(crate) fn try_all(path: &Path) -> Result<(), Error> {
    let mut checkpoint = Checkpoint::open(path)?;
    let mut values = Vec::new();
    let is_read = |index: &usize| checkpoint.tensors()[*index].dtype.why_not_read().is_none();
    let indices: Vec<usize> = (0..checkpoint.tensors().len()).filter(is_read).collect();
    indices.into_iter().try_for_each(|index| checkpoint.read(index, &mut values))
}

/// What is wrong with a file of this name and content.
pub(crate) fn error(name: &str, bytes: &[u8]) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    try_all(&path).expect_err("a file with a fault")
}

pub(crate) fn file_fault(name: &str, bytes: &[u8]) -> FileFault {
    match error(name, bytes) {
        Error::File { fault, .. } => fault,
        error => panic!("{error}"),
    }
}

/// A fault and the name of its tensor.
pub(crate) fn tensor_fault(name: &str, bytes: &[u8]) -> (String, TensorFault) {
    match error(name, bytes) {
        Error::Tensor { tensor, fault, .. } => (tensor, fault),
        error => panic!("{error}"),
    }
}

/// A ZIP archive with these entries, compressed.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An archive in which the second of two entries is renamed to the first.
pub(crate) fn archive_with_repeated(name: &str, other: &str, content: &[u8]) -> Vec<u8> {
    assert_eq!(name.len(), other.len());
    let mut bytes = archive(&[(name, content), (other, content)]);
    while let Some(at) = bytes.windows(other.len()).position(|it| it == other.as_bytes()) {
        bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    bytes
}
