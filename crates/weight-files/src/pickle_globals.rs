//! The names in a pickle: which classes and functions it would use if it were run.
//!
//! # Definition
//! A pickle is a program for a stack machine (CPython, `Lib/pickletools.py`). Two of its instructions,
//! `GLOBAL` and `STACK_GLOBAL`, name something outside, the latter by two strings from the stack. Here no
//! instruction is carried out; of the operands only strings are kept, to follow `STACK_GLOBAL`. A name
//! that does not stand before it literally, or by way of the memo, is refused.
//!
//! # Reference
//! What is allowed follows `torch/_weights_only_unpickler.py`, with the containers of settings that
//! training scripts save beside their weights.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use pytorch_reader::OpCode;

use crate::FileFault;

/// Longest name, and longest line of protocol 0, in bytes.
const MAX_LINE: u64 = 1 << 12;

/// Strings that are remembered; the reader of the pickle allows no more.
const MAX_MEMO: usize = 1_000_000;

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

/// Checks the names in the first `pickles` pickles of a stream. A pickle that ends early or is no pickle
/// passes: what is wrong with it is for its reader to say.
pub(crate) fn check_globals(reader: &mut impl BufRead, pickles: usize) -> Result<(), FileFault> {
    for _ in 0..pickles {
        let mut walk = Walk { reader, before: None, last: None, memo: HashMap::new(), memoized: 0 };
        match walk.pickle() {
            Ok(()) => {}
            Err(Stop::Refused(fault)) => return Err(fault),
            Err(Stop::Unreadable) => return Ok(()),
        }
    }
    Ok(())
}

/// Why a walk ends before its pickle.
enum Stop {
    Refused(FileFault),
    Unreadable,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

struct Walk<'a, R> {
    reader: &'a mut R,
    /// The last two values on the stack, where they are strings.
    before: Option<String>,
    last: Option<String>,
    /// Strings that can be fetched again.
    memo: HashMap<u32, String>,
    /// Values that can be, strings or not.
    memoized: u32,
}

impl<R: BufRead> Walk<'_, R> {
    /// Walks to the end of a pickle.
    fn pickle(&mut self) -> Result<(), Stop> {
        use OpCode as Op;
        loop {
            let [byte] = self.bytes()?;
            match OpCode::try_from(byte).map_err(|_| Stop::Unreadable)? {
                Op::Stop => return Ok(()),
                Op::Proto => self.skip(1)?,
                Op::Frame => self.skip(8)?,
                Op::Global => {
                    let (module, name) = (self.line()?, self.line()?);
                    Self::check(&module, &name)?;
                    self.push(None);
                }
                Op::StackGlobal => {
                    let (Some(module), Some(name)) = (self.before.take(), self.last.take()) else {
                        return Err(Stop::Refused(FileFault::HiddenGlobal));
                    };
                    Self::check(&module, &name)?;
                }
                Op::Unicode => {
                    let line = self.line()?;
                    self.push(Some(line));
                }
                Op::ShortBinUnicode | Op::ShortBinString => {
                    let [length] = self.bytes()?;
                    self.string(length.into())?;
                }
                Op::BinUnicode | Op::BinString => {
                    let length = u32::from_le_bytes(self.bytes()?);
                    self.string(length.into())?;
                }
                Op::BinUnicode8 => {
                    let length = u64::from_le_bytes(self.bytes()?);
                    self.string(length)?;
                }
                Op::Memoize => self.put(self.memoized),
                Op::BinPut => {
                    let [index] = self.bytes()?;
                    self.put(index.into());
                }
                Op::LongBinPut => {
                    let index = u32::from_le_bytes(self.bytes()?);
                    self.put(index);
                }
                Op::Put => {
                    let index = self.index()?;
                    self.put(index);
                }
                Op::BinGet => {
                    let [index] = self.bytes()?;
                    self.get(index.into());
                }
                Op::LongBinGet => {
                    let index = u32::from_le_bytes(self.bytes()?);
                    self.get(index);
                }
                Op::Get => {
                    let index = self.index()?;
                    self.get(index);
                }
                other => {
                    self.skip_operand(other)?;
                    (self.before, self.last) = (None, None);
                }
            }
        }
    }

    /// Skips what follows an instruction that concerns no string.
    fn skip_operand(&mut self, op: OpCode) -> Result<(), Stop> {
        use OpCode as Op;
        match op {
            Op::BinInt1 | Op::Ext1 => self.skip(1),
            Op::BinInt2 | Op::Ext2 => self.skip(2),
            Op::BinInt | Op::Ext4 => self.skip(4),
            Op::BinFloat => self.skip(8),
            Op::Long1 | Op::ShortBinBytes => {
                let [length] = self.bytes()?;
                self.skip(length.into())
            }
            Op::Long4 | Op::BinBytes => {
                let length = u32::from_le_bytes(self.bytes()?);
                self.skip(length.into())
            }
            Op::BinBytes8 | Op::ByteArray8 => {
                let length = u64::from_le_bytes(self.bytes()?);
                self.skip(length)
            }
            Op::Int | Op::Long | Op::Float | Op::PersId => self.line().map(drop),
            _ => Ok(()),
        }
    }

    fn check(module: &str, name: &str) -> Result<(), Stop> {
        if is_allowed(module, name) {
            return Ok(());
        }
        Err(Stop::Refused(FileFault::Global(format!("{module}.{name}"))))
    }

    fn push(&mut self, string: Option<String>) {
        self.before = std::mem::replace(&mut self.last, string);
    }

    fn put(&mut self, index: u32) {
        self.memoized = self.memoized.saturating_add(1);
        if let Some(string) = self.last.clone().filter(|_| self.memo.len() < MAX_MEMO) {
            self.memo.insert(index, string);
        } else {
            self.memo.remove(&index);
        }
    }

    fn get(&mut self, index: u32) {
        let string = self.memo.get(&index).cloned();
        self.push(string);
    }

    /// Takes a string; one that is too long for a name counts as none.
    fn string(&mut self, length: u64) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        (&mut *self.reader).take(length.min(MAX_LINE)).read_to_end(&mut bytes)?;
        self.skip(length - length.min(MAX_LINE))?;
        let string = String::from_utf8(bytes).ok().filter(|_| length <= MAX_LINE);
        self.push(string);
        Ok(())
    }

    fn index(&mut self) -> Result<u32, Stop> {
        self.line()?.trim().parse().map_err(|_| Stop::Unreadable)
    }

    /// Takes a line; of one that is too long, its beginning.
    fn line(&mut self) -> Result<String, Stop> {
        let mut line = Vec::new();
        (&mut *self.reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.pop_if(|it| *it == b'\n').is_none() {
            self.reader.skip_until(b'\n')?;
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), Stop> {
        let skipped = io::copy(&mut (&mut *self.reader).take(length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(Stop::Unreadable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pickle: &[u8]) -> Option<String> {
        match check_globals(&mut &pickle[..], 1) {
            Ok(()) => None,
            Err(FileFault::Global(name)) => Some(name),
            Err(fault) => Some(fault.to_string()),
        }
    }

    #[test]
    fn names_of_programs_by_every_way() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("id",)), by protocol
        let programs: [&[u8]; 5] = [
            b"cposix\nsystem\np0\n(Vid\np1\ntp2\nRp3\n.",
            b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
            b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
            // the same behind the memo, by index and by line
            b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x940h\x01h\x00\x93\x8c\x02id\x85R.",
            b"Vposix\np7\n0Vsystem\np8\n0g7\ng8\n\x93.",
        ];
        for program in programs {
            assert_eq!(refused(program).as_deref(), Some("posix.system"), "{program:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_followed() {
        for program in [
            &b"\x80\x04\x8c\x05posix\x8c\x06systemN0\x93."[..], // something between the strings
            b"\x80\x04N\x8c\x06system\x93.",
            b"\x80\x04h\x05h\x06\x93.",
        ] {
            assert_eq!(refused(program), Some(FileFault::HiddenGlobal.to_string()), "{program:?}");
        }
    }

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

    #[test]
    fn operands_are_skipped_not_read() {
        // A GLOBAL inside of a string, of bytes, of a long and of a line
        for data in [
            &b"X\x0f\x00\x00\x00cposix\nsystem\n."[..],
            b"C\x0fcposix\nsystem\n.",
            b"\x8a\x0fcposix\nsystem\n.",
            b"Vcposix\n.",
        ] {
            assert_eq!(refused(data), None, "{data:?}");
        }
        // One behind all of these
        let all = b"\x80\x05\x95\0\0\0\0\0\0\0\0K\x01M\x01\x02J\x01\x02\x03\x04G\0\0\0\0\0\0\0\0\x8a\x01\x05B\x01\0\0\0x\x8e\x01\0\0\0\0\0\0\0xI1\nF1.5\ncos\nsystem\n.";
        assert_eq!(refused(all).as_deref(), Some("os.system"));
    }
}
