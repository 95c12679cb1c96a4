//! The files of a checkpoint: those with weights, those to copy, and those to leave out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::QuantizeError;
use crate::FileError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Endings of files with weights. What is left of them beside the safetensors in use would go
/// unquantised into the new folder, and be opened by some.
const WEIGHTS: [&str; 11] = [
    "safetensors",
    "bin",
    "h5",
    "msgpack",
    "ot",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "gguf",
    "index.json",
];

/// A checkpoint on disk.
#[derive(Debug)]
pub(super) struct Files {
    /// Safetensors files, by name.
    pub(super) weights: Vec<PathBuf>,
    /// What else belongs to it.
    pub(super) others: Vec<PathBuf>,
    /// Names of weights in other formats and of folders.
    pub(super) left_out: Vec<String>,
}

impl Files {
    pub(super) fn of(checkpoint: &Path) -> Result<Self, QuantizeError> {
        let at = || FileError::at("open", checkpoint);
        if !fs::metadata(checkpoint).map_err(at())?.is_dir() {
            // What says how to read the file, if it is there.
            let config = checkpoint.with_file_name("config.json");
            return Ok(Self {
                weights: vec![checkpoint.to_owned()],
                others: Some(config).filter(|it| it.is_file()).into_iter().collect(),
                left_out: Vec::new(),
            });
        }
        let weights = weights(checkpoint)?;
        let is_sharded = !weights.contains(&checkpoint.join(SINGLE));
        let (mut others, mut left_out) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(checkpoint).map_err(at())? {
            let path = entry.map_err(at())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_ours = weights.contains(&path);
            let is_index = is_sharded && name == INDEX;
            let is_weights = WEIGHTS.iter().any(|ending| name.ends_with(&format!(".{ending}")));
            if is_index || (path.is_file() && !is_weights) {
                others.push(path);
            } else if !is_ours {
                left_out.push(name);
            }
        }
        others.sort();
        left_out.sort();
        Ok(Self { weights, others, left_out })
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn weights(folder: &Path) -> Result<Vec<PathBuf>, QuantizeError> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.is_file() {
        return Ok(vec![single]);
    }
    if !index.is_file() {
        return Err(QuantizeError::NoWeights(folder.to_owned()));
    }
    let text = fs::read_to_string(&index).map_err(FileError::at("read", &index))?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|error| QuantizeError::json(&index, error))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    let in_folder = |name: String| match Path::new(&name).components().collect::<Vec<_>>()[..] {
        [Component::Normal(file)] => Ok(folder.join(file)),
        _ => Err(QuantizeError::json(&index, format!("`{name}` is no file name"))),
    };
    names.into_iter().map(in_folder).collect()
}
