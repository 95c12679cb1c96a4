//! Which classes and functions a pickle may name: those that tensors, their containers and the settings
//! that training scripts save beside them are made of.
//!
//! # Reference
//! What is allowed follows `torch/_weights_only_unpickler.py`, with the containers of settings besides.

use crate::error::PickleFault;

/// Modules, and what of them is data. A `*` at the end stands for any end.
const ALLOWED: &[(&str, &[&str])] = &[
    ("collections", &["OrderedDict", "defaultdict", "Counter"]),
    ("builtins", BUILTINS),
    ("__builtin__", BUILTINS),
    ("torch", TORCH),
    ("torch.storage", &["UntypedStorage", "TypedStorage", "_UntypedStorage", "_TypedStorage"]),
    ("torch._utils", &["_rebuild_*"]),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch.nn.parameter", &["Parameter", "Buffer"]),
    ("torch.serialization", &["_get_layout"]),
    ("_codecs", &["encode"]),
    ("numpy", &["dtype", "ndarray", "float*", "int*", "uint*", "bool_", "bool"]),
    ("numpy.dtypes", &["*"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
    ("argparse", &["Namespace"]),
    ("pathlib", &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"]),
];

const BUILTINS: &[&str] = &[
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "complex",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "slice",
    "range",
];

const TORCH: &[&str] = &[
    "FloatStorage",
    "DoubleStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
    "ComplexFloatStorage",
    "ComplexDoubleStorage",
    "QInt8Storage",
    "QUInt8Storage",
    "QInt32Storage",
    "QUInt4x2Storage",
    "QUInt2x4Storage",
    "Size",
    "Tensor",
    "device",
    "dtype",
    "float*",
    "double",
    "half",
    "bfloat16",
    "int*",
    "uint*",
    "long",
    "short",
    "bool",
    "complex*",
    "cfloat",
    "cdouble",
    "qint*",
    "quint*",
    "per_tensor_*",
    "per_channel_*",
    "strided",
    "sparse_*",
];

/// Modules that define the layers of a whole model.
const LAYERS: &str = "torch.nn.modules.";

fn is_allowed(module: &str, name: &str) -> bool {
    let matches = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    };
    // A dotted name of STACK_GLOBAL is looked up step by step and leads anywhere.
    let is_listed = ALLOWED.iter().any(|(it, names)| *it == module && names.iter().any(matches));
    !name.contains('.') && (is_listed || module.starts_with(LAYERS))
}

/// Refuses a name that no list of tensors needs.
pub(super) fn check(module: &str, name: &str) -> Result<(), PickleFault> {
    if is_allowed(module, name) {
        return Ok(());
    }
    Err(PickleFault::Global(format!("{module}.{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_data() {
        for (module, name) in [
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "bfloat16"),
            ("torch.nn.modules.linear", "Linear"),
            ("collections", "OrderedDict"),
        ] {
            assert!(is_allowed(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.nn.modules.linear", "torch.os.system"), // a dotted name
            ("torch.nn.modules", "x"),
            ("__main__", "Net"),
        ] {
            assert!(!is_allowed(module, name), "{module}.{name}");
        }
    }
}
