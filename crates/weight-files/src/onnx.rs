//! ONNX: the initialisers of a graph, in the file of the model or in others beside it.
//!
//! # Reference
//! onnx/onnx, `onnx/onnx.proto`, of which the messages below are the part with initialisers, and
//! `docs/ExternalData.md`. Types are numbered by `TensorProto.DataType`.
//!
//! # Notes
//! The file is mapped into memory to find its tensors; `raw_data` is then read from the file like
//! external data, so that the map holds no more than what lies between. External data lie below the model's folder by name; links there are followed, as
//! a download cache is made of them and whoever writes the model cannot make one. Constants among the nodes and initialisers of nested graphs are not listed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;
use prost::Message;

use crate::checkpoint::{Opened, ReadElements, check_len};
use crate::{Dtype, Error, FileFault, TensorFault, TensorInfo};

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Message)]
struct Graph {
    /// Each a [`Description`] and [`Values`].
    #[prost(bytes = "bytes", repeated, tag = "5")]
    initializer: Vec<Bytes>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<Sparse>,
}

#[derive(Message)]
struct Sparse {
    /// Bears the name.
    #[prost(message, optional, tag = "1")]
    values: Option<Description>,
    #[prost(int64, repeated, tag = "3")]
    dims: Vec<i64>,
}

/// A `TensorProto`, with its elements where they are bytes.
#[derive(Message)]
struct Description {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(bytes = "bytes", optional, tag = "3")]
    segment: Option<Bytes>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", tag = "9")]
    raw_data: Bytes,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    /// 1 for external.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The elements of a `TensorProto` that are not in `raw_data`: in the field for their type.
#[derive(Message)]
#[expect(clippy::struct_field_names, reason = "the names of onnx.proto")]
struct Values {
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    /// Half precision, bfloat16 and 8-bit floats, an element each.
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(double, repeated, tag = "10")]
    double_data: Vec<f64>,
}

const EXTERNAL: i32 = 1;

pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    #[expect(unsafe_code, reason = "memmap2 has no safe constructor")]
    // SAFETY: the map is read-only, and a checkpoint is not written to while it is open, as
    // `Checkpoint::open` demands. Whoever does breaks this, as with every memory map.
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
    let start = map.as_ptr().addr();
    let model = Model::decode(Bytes::from_owner(map)).map_err(Error::file(path))?;
    let graph = model.graph.ok_or_else(|| Error::file(path)(FileFault::NoGraph))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut tensors, mut places) = (Vec::new(), Vec::new());
    for message in graph.initializer {
        let description = Description::decode(message.clone()).map_err(Error::file(path))?;
        let at = || Error::tensor(path, &description.name);
        let dtype = dtype(description.data_type);
        let tensor = tensor(&description.name, dtype, &description.dims).map_err(at())?;
        if description.segment.is_some() {
            return Err(at()(TensorFault::Segment));
        }
        let raw = &description.raw_data;
        places.push(if tensor.dtype.size().is_none() {
            Place::Nowhere
        } else if description.data_location == EXTERNAL {
            external(folder, &tensor, &description.external_data).map_err(at())?
        } else if raw.is_empty() {
            Place::Inside(message)
        } else {
            let (expected, found) = (tensor.byte_len().map_err(at())? as u64, raw.len() as u64);
            if expected != found {
                return Err(at()(TensorFault::Length { expected, found }));
            }
            // It is a part of the map, which begins where the file does.
            let offset = (raw.as_ptr().addr() - start) as u64;
            Place::At { file: path.to_owned(), offset }
        });
        tensors.push(tensor);
    }
    for Sparse { values, dims } in graph.sparse_initializer {
        let name = values.map(|it| it.name).unwrap_or_default();
        let tensor = tensor(&name, Dtype::other("SPARSE"), &dims);
        tensors.push(tensor.map_err(Error::tensor(path, &name))?);
        places.push(Place::Nowhere);
    }
    let types = tensors.iter().map(|it| it.dtype.clone()).collect();
    Ok(Opened { tensors, elements: Box::new(Elements { types, places }) })
}

fn tensor(name: &str, dtype: Dtype, dims: &[i64]) -> Result<TensorInfo, TensorFault> {
    let extent = |&it| usize::try_from(it).map_err(|_| TensorFault::NegativeExtent(it));
    let shape = dims.iter().map(extent).collect::<Result<_, _>>()?;
    Ok(TensorInfo::new(name, dtype, shape))
}

/// Where the elements of a tensor are.
enum Place {
    /// Of no interest, as their type is not read.
    Nowhere,
    /// In this message, in the field for their type.
    Inside(Bytes),
    /// In a file, from this byte on.
    At { file: PathBuf, offset: u64 },
}

/// Finds external data and checks that they are there.
fn external(folder: &Path, tensor: &TensorInfo, entries: &[Entry]) -> Result<Place, TensorFault> {
    let entry = |key: &str| entries.iter().find(|it| it.key == key).map(|it| &*it.value);
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(value) => value.parse().map(Some).map_err(|_| TensorFault::ExternalNumber {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    };
    let location = entry("location").unwrap_or_default();
    let outside = || TensorFault::Location(location.to_owned());
    let parts: Vec<_> = Path::new(location).components().collect();
    let is_inside = |it: &Component| matches!(it, Component::Normal(_) | Component::CurDir);
    if !parts.iter().all(is_inside) || !matches!(parts.last(), Some(Component::Normal(_))) {
        return Err(outside());
    }
    let file = folder.join(location);
    let metadata = fs::metadata(&file);
    let metadata =
        metadata.map_err(|source| TensorFault::ExternalFile { file: file.clone(), source })?;
    if !metadata.is_file() {
        return Err(outside());
    }
    let expected = tensor.byte_len()? as u64;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(expected));
    if length != expected {
        return Err(TensorFault::Length { expected, found: length });
    }
    let size = metadata.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(TensorFault::ExternalRange { file, offset, length, size });
    }
    Ok(Place::At { file, offset })
}

struct Elements {
    types: Vec<Dtype>,
    places: Vec<Place>,
}

impl ReadElements for Elements {
    fn reads_parts(&self, index: usize) -> bool {
        matches!(self.places[index], Place::At { .. })
    }

    fn read(
        &mut self,
        index: usize,
        part: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        bytes.clear();
        match &self.places[index] {
            Place::Nowhere => {}
            Place::Inside(message) => inside(message, &self.types[index], bytes)?,
            Place::At { file, offset } => {
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(offset.saturating_add(part.start as u64)))?;
                file.take(part.len() as u64).read_to_end(bytes)?;
            }
        }
        check_len(bytes, part.len())
    }
}

/// Appends the elements that stand in a message in the field for their type.
fn inside(message: &Bytes, dtype: &Dtype, bytes: &mut Vec<u8>) -> Result<(), TensorFault> {
    let values = Values::decode(message.clone()).map_err(std::io::Error::from)?;
    match dtype {
        Dtype::F64 => bytes.extend(values.double_data.iter().flat_map(|it| it.to_le_bytes())),
        Dtype::F32 => bytes.extend(values.float_data.iter().flat_map(|it| it.to_le_bytes())),
        _ => {
            let size = dtype.size().unwrap_or(1);
            let most = (1 << (8 * size)) - 1; // 1 or 2 bytes
            for &value in &values.int32_data {
                if !(0..=most).contains(&value) {
                    return Err(TensorFault::Element { value, most });
                }
                bytes.extend_from_slice(&value.to_le_bytes()[..size]);
            }
        }
    }
    Ok(())
}

fn dtype(data_type: i32) -> Dtype {
    let other = match data_type {
        1 => return Dtype::F32,
        10 => return Dtype::F16,
        11 => return Dtype::F64,
        16 => return Dtype::Bf16,
        17 => return Dtype::F8E4M3,
        18 => return Dtype::F8E4M3Fnuz,
        19 => return Dtype::F8E5M2,
        20 => return Dtype::F8E5M2Fnuz,
        2 => "U8",
        3 => "I8",
        4 => "U16",
        5 => "I16",
        6 => "I32",
        7 => "I64",
        8 => "STRING",
        9 => "BOOL",
        12 => "U32",
        13 => "U64",
        14 => "C64",
        15 => "C128",
        21 => "U4",
        22 => "I4",
        23 => "F4",
        24 => "F8_E8M0",
        number => return Dtype::Other(format!("ONNX {number}")),
    };
    Dtype::other(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{error, file_fault, tensor_fault};

    fn floats(dims: &[i64]) -> Description {
        Description {
            dims: dims.to_vec(),
            data_type: 1,
            name: "w".into(),
            ..Description::default()
        }
    }

    fn file(tensors: &[(Description, Values)]) -> Vec<u8> {
        let message = |(description, values): &(Description, Values)| {
            Bytes::from([description.encode_to_vec(), values.encode_to_vec()].concat())
        };
        let initializer = tensors.iter().map(message).collect();
        Model { graph: Some(Graph { initializer, sparse_initializer: vec![] }) }.encode_to_vec()
    }

    fn fault(description: Description, values: Values) -> TensorFault {
        let (tensor, fault) = tensor_fault("x.onnx", &file(&[(description, values)]));
        assert_eq!(tensor, "w");
        fault
    }

    #[test]
    fn files_that_are_no_models() {
        assert!(matches!(file_fault("x.onnx", b""), FileFault::NoGraph));
        // A graph of 127 bytes, of which one is there; text; 10,000 nested groups
        for bytes in [&b"\x3a\x7f\x00"[..], b"text", &b"\x0b".repeat(10_000)] {
            assert!(matches!(file_fault("x.onnx", bytes), FileFault::Protobuf(_)));
        }
    }

    #[test]
    fn tensors_that_lie() {
        let none = Values::default;
        let raw = Description { raw_data: Bytes::from(vec![0; 11]), ..floats(&[3]) };
        let length = fault(raw, none());
        assert!(matches!(length, TensorFault::Length { expected: 12, found: 11 }));
        let length = fault(floats(&[3]), Values { float_data: vec![0.0; 4], ..none() });
        assert!(matches!(length, TensorFault::Length { expected: 12, found: 16 }));
        assert!(matches!(fault(floats(&[3, -1]), none()), TensorFault::NegativeExtent(-1)));
        assert!(matches!(fault(floats(&[i64::MAX, 3]), none()), TensorFault::Shape(_)));
        let huge = fault(floats(&[1 << 50]), none());
        assert!(matches!(huge, TensorFault::Length { expected: 0x10_0000_0000_0000, found: 0 }));
        for value in [-1, 65_536] {
            let halves = Description { data_type: 10, ..floats(&[1]) };
            let fault = fault(halves, Values { int32_data: vec![value], ..none() });
            assert!(
                matches!(fault, TensorFault::Element { value: it, most: 65_535 } if it == value)
            );
        }
        let segment = Description { segment: Some(Bytes::new()), ..floats(&[1]) };
        assert!(matches!(fault(segment, none()), TensorFault::Segment));
        let twice = file(&[(floats(&[0]), none()), (floats(&[0]), none())]);
        assert!(
            matches!(error("x.onnx", &twice), Error::Duplicate { tensor, .. } if tensor == "w")
        );
    }

    /// What is wrong with a model whose 12 bytes are external data of this description. The folder holds
    /// `data` of 16 bytes, in the one above there is a `secret`.
    fn external_fault(entries: &[(&str, &str)]) -> TensorFault {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs::create_dir(&model).unwrap();
        fs::write(folder.path().join("secret"), [0; 16]).unwrap();
        fs::write(model.join("data"), [0; 16]).unwrap();
        let external_data = entries
            .iter()
            .map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() })
            .collect();
        let description = Description { data_location: 1, external_data, ..floats(&[3]) };
        fs::write(model.join("x.onnx"), file(&[(description, Values::default())])).unwrap();
        match crate::testing::try_all(&model) {
            Err(Error::Tensor { fault, .. }) => fault,
            Ok(()) => panic!("{entries:?} is accepted"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn paths_out_of_the_folder() {
        for location in ["../secret", "a/../../secret", "/secret", "", ".", ".."] {
            let fault = external_fault(&[("location", location)]);
            assert!(matches!(&fault, TensorFault::Location(it) if it == location), "{fault}");
        }
        assert!(matches!(external_fault(&[]), TensorFault::Location(_)));
        let absent = external_fault(&[("location", "./absent")]);
        assert!(
            matches!(&absent, TensorFault::ExternalFile { file, .. } if file.ends_with("absent"))
        );
    }

    #[test]
    fn ranges_out_of_the_file() {
        let at = |key, value| external_fault(&[("location", "data"), (key, value)]);
        for offset in ["5", "18446744073709551615"] {
            let fault = at("offset", offset);
            assert!(
                matches!(fault, TensorFault::ExternalRange { offset: it, length: 12, size: 16, .. } if it.to_string() == offset)
            );
        }
        for value in ["-1", "18446744073709551616", "x", ""] {
            let fault = at("offset", value);
            assert!(
                matches!(&fault, TensorFault::ExternalNumber { key, value: it } if key == "offset" && it == value)
            );
        }
        assert!(matches!(at("length", "16"), TensorFault::Length { expected: 12, found: 16 }));
    }

    #[test]
    fn sparse_initialisers_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.onnx");
        let sparse = Sparse { values: Some(floats(&[1])), dims: vec![4, 5] };
        let graph = Graph { initializer: vec![], sparse_initializer: vec![sparse] };
        fs::write(&path, Model { graph: Some(graph) }.encode_to_vec()).unwrap();
        let checkpoint = crate::Checkpoint::open(&path).unwrap();
        let tensor = &checkpoint.tensors()[0];
        assert_eq!((&*tensor.name, &*tensor.shape), ("w", &[4, 5][..]));
        assert_eq!(tensor.dtype.why_not_read(), Some("the tensor is stored sparsely"));
    }
}
