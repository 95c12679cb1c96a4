//! Safetensors: the length of a JSON header, the header, and the elements without gaps.
//!
//! # Reference
//! huggingface/safetensors, `README.md`; the header is read and checked by that crate.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use ::safetensors::Dtype as FileDtype;
use ::safetensors::tensor::Metadata;
use serde::de::IgnoredAny;

use crate::checkpoint::{Opened, ReadElements};
use crate::unique_map::UniqueMap;
use crate::{Dtype, Error, FileFault, TensorFault, TensorInfo};

/// Bytes of the length in front of a header.
const LENGTH: u64 = size_of::<u64>() as u64;

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let wrong = Error::file::<FileFault>(path);
    if size < LENGTH {
        return Err(wrong(FileFault::TooShort { size, least: LENGTH }));
    }
    let mut length = [0; size_of::<u64>()];
    file.read_exact(&mut length).map_err(Error::io("read", path))?;
    let (length, most) = (u64::from_le_bytes(length), MAX_HEADER.min(size - LENGTH));
    if length > most {
        return Err(wrong(FileFault::HeaderLength { length, most }));
    }
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).map_err(Error::io("read", path))?;
    let json = |error: serde_json::Error| wrong(error.into());
    let _: UniqueMap<IgnoredAny> = serde_json::from_slice(&header).map_err(json)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(json)?;
    let (expected, found) = (metadata.data_len() as u64, size - LENGTH - length);
    if expected != found {
        return Err(wrong(FileFault::DataLength { expected, found }));
    }
    let names = metadata.offset_keys();
    let infos = names.iter().filter_map(|name| Some((name, metadata.info(name)?)));
    let (tensors, starts) = infos
        .map(|(name, info)| {
            let start = LENGTH + length + info.data_offsets.0 as u64;
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            let tensor = TensorInfo::new(name, dtype(info.dtype), info.shape.clone());
            (tensor.stored_in(bytes), start)
        })
        .unzip();
    Ok(Opened { tensors, elements: Box::new(Elements { file, starts }) })
}

struct Elements {
    file: File,
    /// Of the first byte of each tensor, from the beginning of the file.
    starts: Vec<u64>,
}

impl ReadElements for Elements {
    fn reads_parts(&self, _: usize) -> bool {
        true
    }

    fn read(
        &mut self,
        index: usize,
        part: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        bytes.resize(part.len(), 0); // no more than the file holds, as the header is checked
        self.file.seek(SeekFrom::Start(self.starts[index] + part.start as u64))?;
        Ok(self.file.read_exact(bytes)?)
    }
}

fn dtype(dtype: FileDtype) -> Dtype {
    match dtype {
        FileDtype::F64 => Dtype::F64,
        FileDtype::F32 => Dtype::F32,
        FileDtype::F16 => Dtype::F16,
        FileDtype::BF16 => Dtype::Bf16,
        FileDtype::F8_E4M3 => Dtype::F8E4M3,
        FileDtype::F8_E5M2 => Dtype::F8E5M2,
        FileDtype::F8_E4M3FNUZ => Dtype::F8E4M3Fnuz,
        FileDtype::F8_E5M2FNUZ => Dtype::F8E5M2Fnuz,
        other => Dtype::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::FileFault;
    use crate::testing::file_fault;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn fault(bytes: &[u8]) -> FileFault {
        file_fault("x.safetensors", bytes)
    }

    #[test]
    fn lengths_that_lie() {
        let short = fault(b"1234567");
        assert!(matches!(short, FileFault::TooShort { size: 7, least: 8 }));
        for length in [3, u64::MAX] {
            let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
            let expected = (length, 2);
            let found = fault(&bytes);
            assert!(
                matches!(found, FileFault::HeaderLength { length, most } if (length, most) == expected)
            );
        }
        let header = r#"{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#;
        for found in [7, 9] {
            let fault = fault(&file(header, &vec![0; found]));
            let found = found as u64;
            assert!(
                matches!(fault, FileFault::DataLength { expected: 8, found: it } if it == found)
            );
        }
    }

    #[test]
    fn headers_that_lie() {
        let cases = [
            ("[]", "expected an object"),
            ("{", "EOF"),
            (&"[".repeat(10_000), "expected an object"),
            (r#"{"w": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}"#, "F31"),
            // 3 elements in 8 bytes; a hole; more elements than bytes can be counted; two of a name
            (r#"{"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}"#, "shape"),
            (r#"{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#, "w"),
            (
                r#"{"w": {"dtype": "F32", "shape": [8589934592, 8589934592], "data_offsets": [0, 8]}}"#,
                "",
            ),
            (
                r#"{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                    "w": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}"#,
                "`w` twice",
            ),
        ];
        for (header, words) in cases {
            let fault = fault(&file(header, &[0; 8]));
            assert!(matches!(fault, FileFault::Json(_)), "{header}: {fault}");
            assert!(fault.to_string().contains(words), "{header}: {fault}");
        }
    }
}
