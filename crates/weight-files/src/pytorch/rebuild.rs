//! What the calls that rebuild a tensor say: its type, its extents, and where its elements are.
//!
//! # Reference
//! PyTorch, `torch/_utils.py` for the calls, `torch/serialization.py` for what stands for a storage.

use super::graph::{Graph, Node, Value};
use crate::strides::row_major;
use crate::{Dtype, TensorFault, TensorInfo};

/// A tensor, and where its elements are.
pub(super) struct Listed {
    pub(super) info: TensorInfo,
    /// None if it is of a kind that is not read.
    pub(super) view: Option<View>,
}

/// Elements in a storage.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    /// The storage.
    pub(super) key: String,
    /// Bytes of an element.
    pub(super) size: usize,
    /// Of the first element, in elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
}

/// What stands in a pickle for a storage.
pub(super) struct Storage {
    pub(super) key: String,
    /// The type of the elements and their bytes; none of a storage of bytes.
    element: Option<(Dtype, usize)>,
    /// Elements, or bytes of a storage of bytes.
    pub(super) count: u64,
    /// Elements in front of those that it has of another storage of this key.
    skipped: usize,
    /// Elements up to the last of them.
    end: usize,
}

impl View {
    /// Whether the elements lie row by row.
    pub(super) fn is_contiguous(&self) -> bool {
        let strides = self.strides.iter().zip(row_major(&self.shape)).zip(&self.shape);
        strides.into_iter().all(|((stride, expected), extent)| *extent <= 1 || *stride == expected)
    }

    /// Elements from the first to the last, those between rows included. Its extents have been checked.
    pub(super) fn reach(&self) -> usize {
        self.checked_reach().unwrap_or(usize::MAX)
    }

    fn checked_reach(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut last = 0_usize;
        for (extent, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((extent - 1).checked_mul(*stride)?)?;
        }
        last.checked_add(1)
    }

    /// Brings the elements of [`reach`](Self::reach) into rows.
    pub(super) fn gather(&self, bytes: &[u8]) -> Vec<u8> {
        crate::strides::gather(bytes, self.size, &self.shape, &self.strides)
    }
}

impl Storage {
    /// Bytes of an element.
    pub(super) fn size(&self) -> usize {
        self.element.as_ref().map_or(1, |it| it.1)
    }

    /// Reads `('storage', type, key, location, elements)`, behind which files of before version 0.4 have
    /// `(key, first element, elements)` of a part, or nothing.
    pub(super) fn of(graph: &Graph, id: Value) -> Option<Self> {
        let [tag, class, key, _location, count, view @ ..] = graph.sequence(id)? else {
            return None;
        };
        let class = match graph.node(*class)? {
            Node::Global(_, name) | Node::Text(name) => name.as_str(),
            _ => return None,
        };
        let element = match class {
            "UntypedStorage" => None,
            typed => Some(storage_type(typed)?),
        };
        let key = graph.key(*key)?;
        let count = unsigned(*count)?;
        let part = view.first().and_then(|&view| graph.sequence(view));
        let (skipped, end) = match part {
            Some(&[_, first, elements]) => {
                let first = unsigned(first)?;
                (first, first.checked_add(unsigned(elements)?).filter(|&end| end <= count)?)
            }
            Some(_) => return None,
            None => (0, count),
        };
        (graph.text(*tag)? == "storage").then_some(Self {
            key,
            element,
            count: count as u64,
            skipped,
            end,
        })
    }
}

/// The tensor of `_rebuild_tensor(storage, offset, extents, strides)`; behind these, version 2 has
/// attributes, and version 3 the type at the seventh place.
pub(super) fn rebuild(
    graph: &Graph,
    name: &str,
    arguments: &[Value],
) -> Result<Listed, TensorFault> {
    let wrong = TensorFault::Rebuild;
    let [storage, offset, extents, strides, rest @ ..] = arguments else {
        return Err(wrong("arguments"));
    };
    let storage = match graph.node(*storage) {
        Some(Node::Persistent(id)) => Storage::of(graph, *id),
        _ => None,
    };
    let storage = storage.ok_or(wrong("storage"))?;
    let offset = unsigned(*offset).and_then(|it| it.checked_add(storage.skipped));
    let shape = extents_of(graph, *extents)?;
    let strides = extents_of(graph, *strides).map_err(|_| wrong("strides"))?;
    if strides.len() != shape.len() {
        return Err(wrong("strides"));
    }
    let named = rest.get(2).and_then(|it| graph.global(*it));
    let element = match (&storage.element, named) {
        (_, Some((_, name))) => tensor_type(name),
        (Some(element), None) => Some(element.clone()),
        (None, None) => return Err(wrong("type")),
    };
    let Some((dtype, size)) = element else {
        let dtype = Dtype::Other(format!("torch.{}", named.unwrap_or_default().1));
        return Ok(Listed { info: TensorInfo::new(name, dtype, shape), view: None });
    };
    let view = View {
        key: storage.key.clone(),
        size,
        offset: offset.ok_or(wrong("offset"))?,
        shape,
        strides,
    };
    let info = TensorInfo::new(name, dtype, view.shape.clone()).stored(size);
    info.check()?;
    let needed = view.checked_reach().and_then(|it| it.checked_add(view.offset));
    let stored = storage.end.saturating_mul(storage.size()) / size;
    match needed {
        Some(needed) if needed <= stored || view.shape.contains(&0) => {
            Ok(Listed { info, view: Some(view) })
        }
        _ => Err(TensorFault::Beyond { needed: needed.unwrap_or(usize::MAX), stored }),
    }
}

/// A tensor of a kind that is not read, with its extents where they can be told.
pub(super) fn unread(
    graph: &Graph,
    tensor: &str,
    module: &str,
    name: &str,
    arguments: &[Value],
) -> Listed {
    let (dtype, extents) = match name {
        // layout, (indices, values, extents)
        "_rebuild_sparse_tensor" => {
            let parts = arguments.get(1).and_then(|&it| graph.sequence(it));
            ("SPARSE".to_owned(), parts.and_then(|it| it.get(2)))
        }
        // storage, offset, extents
        "_rebuild_qtensor" => ("QUANTIZED".to_owned(), arguments.get(2)),
        _ => (format!("{module}.{name}"), None),
    };
    let shape = extents.and_then(|it| extents_of(graph, *it).ok()).unwrap_or_default();
    Listed { info: TensorInfo::new(tensor, Dtype::Other(dtype), shape), view: None }
}

/// A tuple of numbers, or `torch.Size` of one.
fn extents_of(graph: &Graph, value: Value) -> Result<Vec<usize>, TensorFault> {
    let wrong = || TensorFault::Rebuild("extents");
    let tuple = match graph.node(value) {
        Some(Node::Object(object)) => graph.sequence(object.arguments).and_then(|it| it.first()),
        _ => Some(&value),
    };
    let values = tuple.and_then(|&it| graph.sequence(it)).ok_or_else(wrong)?;
    let extent = |value: &Value| match value {
        Value::Int(extent) => {
            usize::try_from(*extent).map_err(|_| TensorFault::NegativeExtent(*extent))
        }
        _ => Err(wrong()),
    };
    values.iter().map(extent).collect()
}

fn unsigned(value: Value) -> Option<usize> {
    match value {
        Value::Int(value) => usize::try_from(value).ok(),
        _ => None,
    }
}

/// The elements of a storage of this class, and their bytes.
fn storage_type(class: &str) -> Option<(Dtype, usize)> {
    let name = match class {
        "DoubleStorage" => "float64",
        "FloatStorage" => "float32",
        "HalfStorage" => "float16",
        "BFloat16Storage" => "bfloat16",
        "LongStorage" => "int64",
        "IntStorage" => "int32",
        "ShortStorage" => "int16",
        "CharStorage" => "int8",
        "ByteStorage" => "uint8",
        "BoolStorage" => "bool",
        "ComplexFloatStorage" => "complex64",
        "ComplexDoubleStorage" => "complex128",
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => "quint8",
        "QInt32Storage" => "qint32",
        _ => return None,
    };
    tensor_type(name)
}

/// The elements of a `torch.dtype`, and their bytes.
fn tensor_type(name: &str) -> Option<(Dtype, usize)> {
    let (dtype, size) = match name {
        "float64" | "double" => (Dtype::F64, 8),
        "float32" | "float" => (Dtype::F32, 4),
        "float16" | "half" => (Dtype::F16, 2),
        "bfloat16" => (Dtype::Bf16, 2),
        "float8_e4m3fn" => (Dtype::F8E4M3, 1),
        "float8_e5m2" => (Dtype::F8E5M2, 1),
        "float8_e4m3fnuz" => (Dtype::F8E4M3Fnuz, 1),
        "float8_e5m2fnuz" => (Dtype::F8E5M2Fnuz, 1),
        "float8_e8m0fnu" => (Dtype::other("F8_E8M0"), 1),
        "int64" | "long" => (Dtype::other("I64"), 8),
        "int32" | "int" => (Dtype::other("I32"), 4),
        "int16" | "short" => (Dtype::other("I16"), 2),
        "int8" => (Dtype::other("I8"), 1),
        "uint64" => (Dtype::other("U64"), 8),
        "uint32" => (Dtype::other("U32"), 4),
        "uint16" => (Dtype::other("U16"), 2),
        "uint8" => (Dtype::other("U8"), 1),
        "bool" => (Dtype::other("BOOL"), 1),
        "complex64" | "cfloat" => (Dtype::other("C64"), 8),
        "complex128" | "cdouble" => (Dtype::other("C128"), 16),
        "quint8" | "qint8" => (Dtype::other("QUANTIZED"), 1),
        "qint32" => (Dtype::other("QUANTIZED"), 4),
        _ => return None,
    };
    Some((dtype, size))
}
