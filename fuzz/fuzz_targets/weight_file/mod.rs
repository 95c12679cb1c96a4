//! What the targets of all formats of `weight-files` do with their input.
//!
//! A run gets further from the files of `crates/weight-files/tests/fixtures`, as a second folder of
//! inputs behind its own.

use std::fs;

use weight_files::Checkpoint;

/// Opens `bytes` as a file of this name and reads every tensor: errors are fine, panics and memory beyond
/// the limit of the fuzzer are not. Files are faster where `TMPDIR` is in memory.
pub fn read(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary file");
    let Ok(mut checkpoint) = Checkpoint::open(&path) else { return };
    let mut values = Vec::new();
    for index in 0..checkpoint.tensors().len() {
        if checkpoint.read(index, &mut values).is_ok() {
            assert_eq!(values.len(), checkpoint.tensors()[index].elements());
        }
    }
}
