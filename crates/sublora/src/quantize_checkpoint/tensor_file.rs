//! A safetensors file, a tensor at a time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::QuantizeError;
use crate::FileError;

/// Bytes of the length in front of a header.
const LENGTH: u64 = 8;

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor of a file.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Of its first byte, from the beginning of the file.
    start: u64,
    /// Bytes.
    pub(super) len: usize,
}

/// An open file whose header is checked: its tensors fill it from the header to the end.
#[derive(Debug)]
pub(super) struct TensorFile {
    path: PathBuf,
    file: File,
    /// Length and header, as they are.
    header: Vec<u8>,
    /// As they lie in the file.
    tensors: Vec<Tensor>,
}

impl TensorFile {
    pub(super) fn open(path: &Path) -> Result<Self, QuantizeError> {
        let mut file = File::open(path).map_err(FileError::at("open", path))?;
        let size = file.metadata().map_err(FileError::at("read", path))?.len();
        let invalid = |reason: String| QuantizeError::not_safetensors(path, reason);
        if size < LENGTH {
            return Err(invalid(format!("{size} bytes, expected at least {LENGTH}")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(FileError::at("read", path))?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER.min(size - LENGTH) {
            return Err(invalid(format!("a header of {header_len} bytes in a file of {size}")));
        }
        let mut header = length.to_vec();
        let read = (&mut file).take(header_len).read_to_end(&mut header);
        read.map_err(FileError::at("read", path))?;
        let metadata: Metadata = serde_json::from_slice(&header[length.len()..])
            .map_err(|error| invalid(error.to_string()))?;
        let expected = (LENGTH + header_len).checked_add(metadata.data_len() as u64);
        if expected != Some(size) {
            let data = size - LENGTH - header_len;
            let expected = metadata.data_len();
            return Err(invalid(format!("{data} bytes of tensors, expected {expected}")));
        }
        let tensors = metadata.offset_keys().into_iter().filter_map(|name| {
            let info = metadata.info(&name)?;
            let (first, end) = info.data_offsets;
            let (dtype, shape) = (info.dtype, info.shape.clone());
            let start = LENGTH + header_len + first as u64;
            Some(Tensor { name, dtype, shape, start, len: end - first })
        });
        let tensors = tensors.collect();
        Ok(Self { path: path.to_owned(), file, header, tensors })
    }

    /// Its name without the folder.
    pub(super) fn name(&self) -> &Path {
        Path::new(self.path.file_name().unwrap_or_default())
    }

    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The bytes of a tensor.
    pub(super) fn read(&mut self, index: usize) -> Result<Vec<u8>, QuantizeError> {
        let Tensor { start, len, .. } = self.tensors[index];
        let mut bytes = vec![0; len];
        let read = self.file.seek(SeekFrom::Start(start));
        let read = read.and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(FileError::at("read", &self.path))?;
        Ok(bytes)
    }

    /// Writes the bytes of a tensor to `writer`, which writes to the file `to`.
    pub(super) fn copy(
        &mut self,
        index: usize,
        writer: &mut impl Write,
        to: &Path,
    ) -> Result<(), QuantizeError> {
        let Tensor { start, len, .. } = self.tensors[index];
        self.file.seek(SeekFrom::Start(start)).map_err(FileError::at("read", &self.path))?;
        let mut bytes = (&self.file).take(len as u64);
        let copied = io::copy(&mut bytes, writer).map_err(FileError::at("write", to))?;
        if copied == len as u64 {
            Ok(())
        } else {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            Err(FileError::at("read", &self.path)(cut).into())
        }
    }
}
