//! The files to write: safetensors, whatever is read.

use std::cmp::Reverse;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use weight_files::Checkpoint;

use super::QuantizeError;
use crate::FileError;

/// Its name in the folders of Hugging Face.
const SINGLE: &str = "model.safetensors";

/// A safetensors file without its elements.
#[derive(Debug)]
pub(super) struct Output {
    /// Its name.
    pub(super) name: PathBuf,
    /// Length and header.
    pub(super) header: Vec<u8>,
    /// The numbers of its tensors in the checkpoint, in the order of their elements.
    pub(super) tensors: Vec<usize>,
}

impl Output {
    /// Safetensors files under their names, with their own headers; one file in place of those of other
    /// formats.
    pub(super) fn all(checkpoint: &Checkpoint) -> Result<Vec<Self>, QuantizeError> {
        if !checkpoint.files().all(is_safetensors) {
            return Ok(vec![Self::of_all(checkpoint)?]);
        }
        let output = |(number, path): (usize, &Path)| {
            let name = path.file_name().unwrap_or_default().into();
            let header = header(path).map_err(FileError::at("read", path))?;
            Ok(Self { name, header, tensors: checkpoint.tensors_of(number) })
        };
        checkpoint.files().enumerate().map(output).collect()
    }

    /// One file with all tensors, the elements of most bytes first, so that all are aligned.
    fn of_all(checkpoint: &Checkpoint) -> Result<Self, QuantizeError> {
        let all = checkpoint.tensors();
        let mut tensors: Vec<usize> = (0..all.len()).collect();
        let size = |index: usize| all[index].bytes().unwrap_or(0) / all[index].elements().max(1);
        tensors.sort_by_key(|&index| Reverse(size(index)));
        let (mut infos, mut end) = (Vec::new(), 0_usize);
        for tensor in tensors.iter().map(|&index| &all[index]) {
            let unknown = || QuantizeError::NotKept {
                name: tensor.name.clone(),
                dtype: tensor.dtype.to_string(),
            };
            let dtype = serde_json::from_value(tensor.dtype.to_string().into());
            let (dtype, bytes) = dtype.ok().zip(tensor.bytes()).ok_or_else(unknown)?;
            let start = end;
            end = end.checked_add(bytes).ok_or_else(unknown)?;
            let (shape, data_offsets) = (tensor.shape.clone(), (start, end));
            infos.push((tensor.name.clone(), TensorInfo { dtype, shape, data_offsets }));
        }
        // Without it, `transformers` refuses the file.
        let format = [("format".to_owned(), "pt".to_owned())].into();
        let metadata = Metadata::new(Some(format), infos)?;
        let mut json = serde_json::to_vec(&metadata).unwrap_or_default();
        json.resize(json.len().next_multiple_of(8), b' ');
        let header = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
        Ok(Self { name: SINGLE.into(), header, tensors })
    }
}

pub(super) fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|it| it.eq_ignore_ascii_case("safetensors"))
}

/// Length and header of a file as they are, once they have been checked.
fn header(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut length = [0; size_of::<u64>()];
    file.read_exact(&mut length)?;
    let mut header = length.to_vec();
    file.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
    Ok(header)
}
