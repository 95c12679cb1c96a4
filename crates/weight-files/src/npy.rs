//! NumPy's `.npy`: a magic, a header that is a Python dictionary, and the elements.
//!
//! # Reference
//! NumPy, *NEP 1: A Simple File Format for NumPy Arrays*, and `numpy/lib/_format_impl.py`.
//!
//! # Notes on other readers
//! The header is parsed here, unlike everything else in this crate. The `npyz` and `ndarray-npy` crates
//! leave it to a parser of all Python literals that backtracks: 20 nested brackets take it half a minute,
//! each further one twice as long, and a header of 4 GB is allocated before it is looked at. What NumPy
//! writes is a dictionary of three keys.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::checkpoint::{Opened, ReadElements, check_len};
use crate::strides::{column_major, gather};
use crate::{Dtype, Error, TensorFault, TensorInfo};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header that is read, in bytes. Only structured types come near it.
const MAX_HEADER: u64 = 1 << 16;

/// The tensor bears the name of the file, without its ending.
pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut file = BufReader::new(file);
    let header = Header::read(&mut file).map_err(Error::tensor(path, &name))?;
    let tensor = header.tensor(&name);
    tensor.check().map_err(Error::tensor(path, &name))?;
    if let Some(expected) = tensor.bytes() {
        let (expected, found) = (expected as u64, size.saturating_sub(header.length));
        if expected != found {
            return Err(Error::tensor(path, &name)(TensorFault::Length { expected, found }));
        }
    }
    Ok(Opened { tensors: vec![tensor], elements: Box::new(Elements { file, header }) })
}

struct Elements {
    file: BufReader<File>,
    header: Header,
}

impl ReadElements for Elements {
    fn reads_parts(&self, _: usize) -> bool {
        self.header.is_row_major()
    }

    fn read(
        &mut self,
        _: usize,
        part: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        self.file.seek(SeekFrom::Start(self.header.length + part.start as u64))?;
        bytes.clear();
        (&mut self.file).take(part.len() as u64).read_to_end(bytes)?;
        check_len(bytes, part.len())?;
        self.header.arrange(bytes);
        Ok(())
    }
}

/// What stands before the elements.
#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    /// Bytes up to the first element.
    length: u64,
    dtype: Dtype,
    /// Bytes of an element; 0 if that is not known.
    size: usize,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads up to the first element.
    pub(crate) fn read(reader: &mut impl Read) -> Result<Self, TensorFault> {
        let mut preamble = [0; 8];
        let length = match reader.read_exact(&mut preamble) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Ok(()) if preamble.starts_with(MAGIC) => match preamble[6] {
                1 => Some(2),
                2 | 3 => Some(4),
                _ => None,
            },
            _ => None,
        };
        let length_size = length.ok_or(TensorFault::NpyPreamble)?;
        let mut length = [0; 4];
        reader.read_exact(&mut length[..length_size])?;
        let length = u64::from(u32::from_le_bytes(length));
        let mut text = Vec::new();
        reader.take(length.min(MAX_HEADER)).read_to_end(&mut text)?;
        if text.len() as u64 != length {
            return Err(TensorFault::NpyHeader("length"));
        }
        Self::parse(&text, preamble.len() as u64 + length_size as u64 + length)
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` in any order.
    fn parse(text: &[u8], length: u64) -> Result<Self, TensorFault> {
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        let mut rest = Text(text);
        let wrong = TensorFault::NpyHeader;
        rest.take(b'{').ok_or(wrong("dictionary"))?;
        while rest.take(b'}').is_none() {
            let key = rest.string().ok_or(wrong("dictionary"))?;
            rest.take(b':').ok_or(wrong("dictionary"))?;
            let is_new = match key {
                b"descr" => descr.replace(rest.descr().ok_or(wrong("descr"))?).is_none(),
                b"fortran_order" => {
                    is_fortran.replace(rest.truth().ok_or(wrong("fortran_order"))?).is_none()
                }
                b"shape" => shape.replace(rest.extents().ok_or(wrong("shape"))?).is_none(),
                _ => false,
            };
            if !is_new || (rest.take(b',').is_none() && rest.next() != Some(b'}')) {
                return Err(wrong("dictionary"));
            }
        }
        let (dtype, size, is_big_endian) = element_type(&descr.ok_or(wrong("descr"))?);
        Ok(Self {
            length,
            dtype,
            size,
            is_big_endian,
            is_fortran: is_fortran.ok_or(wrong("fortran_order"))?,
            shape: shape.ok_or(wrong("shape"))?,
        })
    }

    pub(crate) fn tensor(&self, name: &str) -> TensorInfo {
        let tensor = TensorInfo::new(name, self.dtype.clone(), self.shape.clone());
        if self.size > 0 { tensor.stored(self.size) } else { tensor }
    }

    /// Whether the elements lie row by row.
    fn is_row_major(&self) -> bool {
        !self.is_fortran || self.shape.len() < 2
    }

    /// Brings elements into our order.
    pub(crate) fn arrange(&self, bytes: &mut Vec<u8>) {
        if self.is_big_endian {
            bytes.chunks_exact_mut(self.size.max(1)).for_each(<[u8]>::reverse);
        }
        if !self.is_row_major() {
            *bytes = gather(bytes, self.size, &self.shape, &column_major(&self.shape));
        }
    }
}

/// The type of `<f4` and its like, its bytes, 0 if they are not known, and whether it is big-endian.
fn element_type(descr: &[u8]) -> (Dtype, usize, bool) {
    let text = String::from_utf8_lossy(descr);
    let (order, kind) = text.split_at_checked(1).unwrap_or_default();
    let (letter, size) = kind.split_at_checked(1).unwrap_or_default();
    let (dtype, size) = match (letter, size.parse::<u8>()) {
        ("f", Ok(8)) => (Dtype::F64, 8),
        ("f", Ok(4)) => (Dtype::F32, 4),
        ("f", Ok(2)) => (Dtype::F16, 2),
        ("b", Ok(1)) => (Dtype::other("BOOL"), 1),
        ("i" | "u" | "c", Ok(bytes @ 1..=16)) => {
            (Dtype::Other(format!("{}{}", letter.to_uppercase(), bytes * 8)), bytes)
        }
        _ => (Dtype::Other(format!("numpy {text}")), 0),
    };
    (dtype, size.into(), order == ">")
}

/// A header from some byte on.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.trim_ascii_start();
        self.0.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.0 = &self.0[1..])
    }

    /// What is between quotes, none of which NumPy escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let quote = self.next().filter(|it| b"'\"".contains(it))?;
        let end = self.0[1..].iter().position(|it| *it == quote)? + 1;
        let (string, rest) = (&self.0[1..end], &self.0[end + 1..]);
        self.0 = rest;
        Some(string)
    }

    fn truth(&mut self) -> Option<bool> {
        self.next()?;
        let truth = [(&b"True"[..], true), (b"False", false)];
        let (word, truth) = truth.into_iter().find(|(word, _)| self.0.starts_with(word))?;
        self.0 = &self.0[word.len()..];
        Some(truth)
    }

    fn extents(&mut self) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        self.take(b'(')?;
        while self.take(b')').is_none() {
            self.next()?;
            let end = self.0.iter().position(|it| !it.is_ascii_digit())?;
            extents.push(str::from_utf8(&self.0[..end]).ok()?.parse().ok()?);
            self.0 = &self.0[end..];
            if self.take(b',').is_none() && self.next()? != b')' {
                return None;
            }
        }
        Some(extents)
    }

    /// A string as it is; a list, which describes a structure, as `structure`.
    fn descr(&mut self) -> Option<Vec<u8>> {
        if self.next()? != b'[' {
            return self.string().map(<[u8]>::to_vec);
        }
        let mut depth = 0_u32;
        loop {
            match self.next()? {
                b'\'' | b'"' => {
                    self.string()?;
                    continue;
                }
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.0 = &self.0[1..];
            if depth == 0 {
                return Some(b"structure".to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor_fault;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [&MAGIC[..], &[1, 0], &length, header.as_bytes(), data].concat()
    }

    fn parse(header: &str) -> Result<Header, TensorFault> {
        Header::read(&mut &file(header, &[])[..])
    }

    #[test]
    fn headers_as_they_are_written() {
        let cases = [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n",
                "F32",
                &[3, 4][..],
            ),
            ("{'shape':(),'fortran_order':True,'descr':\">f8\"}", "F64", &[]),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }", "U8", &[7]),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "numpy |O", &[1]),
            ("{'descr': 'é4', 'fortran_order': False, 'shape': (1,), }", "numpy é4", &[1]),
            (
                "{'descr': [('a]', '<f4'), ('b', '<i8', (2,))], 'fortran_order': False, 'shape': (2,)}",
                "numpy structure",
                &[2],
            ),
        ];
        for (text, dtype, shape) in cases {
            let tensor = parse(text).unwrap().tensor("w");
            assert_eq!((&*tensor.dtype.to_string(), &*tensor.shape), (dtype, shape), "{text}");
        }
    }

    #[test]
    fn headers_that_are_none() {
        let cases = [
            ("", "dictionary"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'x': 1}", "dictionary"),
            ("{'descr': '<f4' 'fortran_order': False, 'shape': (3, 4)}", "dictionary"),
            ("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': ()}", "dictionary"),
            ("{'descr': '<f4', 'fortran_order': False}", "shape"),
            ("{'descr': '<f4', 'shape': ()}", "fortran_order"),
            ("{'fortran_order': False, 'shape': ()}", "descr"),
            ("{'descr': '<f4, 'fortran_order': False, 'shape': ()}", "dictionary"),
            ("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", "fortran_order"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", "shape"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "shape"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3", "shape"),
            (&format!("{{'descr': {}", "[(".repeat(20_000)), "descr"),
            (&format!("{{'descr': {}", "]".repeat(20_000)), "descr"),
        ];
        for (text, part) in cases {
            let found = parse(text);
            assert!(
                matches!(found, Err(TensorFault::NpyHeader(it)) if it == part),
                "{text:.60}: {found:?}"
            );
        }
    }

    #[test]
    fn preambles_that_are_none() {
        let good = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &[0; 4]);
        for (at, byte) in [(0, 0), (5, b'y'), (6, 0), (6, 4)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(matches!(tensor_fault("w.npy", &bad).1, TensorFault::NpyPreamble));
        }
        assert!(matches!(tensor_fault("w.npy", &good[..7]).1, TensorFault::NpyPreamble));
        let long = [&MAGIC[..], &[2, 0], &u32::MAX.to_le_bytes(), b"{"].concat();
        assert!(matches!(tensor_fault("w.npy", &long).1, TensorFault::NpyHeader("length")));
    }

    #[test]
    fn shapes_that_lie() {
        let of =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        for length in [11, 13] {
            let (tensor, fault) = tensor_fault("w.npy", &file(&of("(3,)"), &vec![0; length]));
            assert_eq!(tensor, "w");
            let found = length as u64;
            assert!(
                matches!(fault, TensorFault::Length { expected: 12, found: it } if it == found)
            );
        }
        let extent = 1_u64 << 40;
        let (_, fault) = tensor_fault("w.npy", &file(&of(&format!("({extent}, {extent})")), &[]));
        assert!(matches!(fault, TensorFault::Shape(_)));
    }
}
