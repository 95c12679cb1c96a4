//! The files beside the weights of a checkpoint: those to copy, and those to leave out.

use std::fs;
use std::path::{Path, PathBuf};

use weight_files::Checkpoint;

use super::output::is_safetensors;
use crate::FileError;

/// Endings of files with weights. What is left of them beside the weights in use would go unquantised
/// into the new folder, and be opened by some.
const WEIGHTS: [&str; 15] = [
    "safetensors",
    "bin",
    "h5",
    "msgpack",
    "ot",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "onnx_data",
    "onnx.data",
    "npy",
    "npz",
    "gguf",
    "index.json",
];

/// What lies beside the weights.
#[derive(Debug)]
pub(super) struct Files {
    /// What belongs to the checkpoint.
    pub(super) others: Vec<PathBuf>,
    /// Names of weights in other formats and of folders.
    pub(super) left_out: Vec<String>,
}

impl Files {
    /// Of `checkpoint`, which was opened at `path`.
    pub(super) fn beside(checkpoint: &Checkpoint, path: &Path) -> Result<Self, FileError> {
        let index = checkpoint.index().filter(|_| checkpoint.files().all(is_safetensors));
        if !path.is_dir() {
            // What says how to read the file, if it is there.
            let config = path.with_file_name("config.json");
            let config = Some(config).filter(|it| it.is_file());
            let others = config.into_iter().chain(index.map(Path::to_owned)).collect();
            return Ok(Self { others, left_out: Vec::new() });
        }
        let at = || FileError::at("open", path);
        let (mut others, mut left_out) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(path).map_err(at())? {
            let path = entry.map_err(at())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_weights = WEIGHTS.iter().any(|ending| name.ends_with(&format!(".{ending}")));
            if index == Some(&path) || (path.is_file() && !is_weights) {
                others.push(path);
            } else if checkpoint.files().all(|it| it != path) {
                left_out.push(name);
            }
        }
        others.sort();
        left_out.sort();
        Ok(Self { others, left_out })
    }
}
