//! PyTorch: the ZIP archive that `torch.save` writes since version 1.6, and the stream before it.
//!
//! # Reference
//! PyTorch, `torch/serialization.py`; a pickle names the tensors, their storages follow.
//!
//! # Notes
//! The `pytorch-reader` crate, burn's and free of burn, evaluates the pickle. It has no Python to run: it
//! rebuilds tensors and dictionaries, and whatever else a pickle calls becomes a name without effect. As
//! that is silent, the pickle is walked once before, and a name that weights have no use for is an error
//! (see `pickle_globals`), as in `torch.load(weights_only=True)`. The state of a whole model is read
//! where its classes are those of `torch.nn`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use pytorch_reader::{DType as FileDtype, MAX_PICKLE_SIZE, PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use crate::checkpoint::{Opened, ReadElements, check_len};
use crate::pickle_globals::check_globals;
use crate::{Dtype, Error, FileFault, TensorFault, TensorInfo};

/// A tensor bears the keys that lead to it, with dots between them. Those of one storage are listed each.
pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let wrong = Error::file::<FileFault>(path);
    check_file(file).map_err(&wrong)?;
    let reader = PytorchReader::new(path).map_err(|it| wrong(it.into()))?;
    let root = PytorchReader::read_pickle_data(path, None).map_err(|it| wrong(it.into()))?;
    let mut names = Vec::new();
    collect_names(&root, &mut String::new(), &mut names);
    names.sort();
    if let Some([tensor, _]) = names.array_windows().find(|[name, next]| name == next) {
        let (tensor, first) = (tensor.clone(), path.to_path_buf());
        return Err(Error::Duplicate { tensor, second: first.clone(), first });
    }
    let (mut tensors, mut elements) = (Vec::new(), Vec::new());
    for (name, tensor) in BTreeMap::from_iter(reader.into_tensors()) {
        let info = TensorInfo::new(&name, dtype(tensor.dtype()), tensor.shape().to_vec());
        info.check_expansion(size).map_err(Error::tensor(path, &name))?;
        tensors.push(info);
        elements.push(tensor);
    }
    Ok(Opened { tensors, elements: Box::new(Elements(elements)) })
}

struct Elements(Vec<Tensor>);

impl ReadElements for Elements {
    fn read(
        &mut self,
        index: usize,
        byte_len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        *bytes = self.0[index].read()?; // in the order of this machine, which is little-endian
        check_len(bytes, byte_len)
    }
}

fn dtype(dtype: FileDtype) -> Dtype {
    match dtype {
        FileDtype::F64 => Dtype::F64,
        FileDtype::F32 => Dtype::F32,
        FileDtype::F16 => Dtype::F16,
        FileDtype::BF16 => Dtype::Bf16,
        other => Dtype::Other(format!("{other:?}").to_uppercase()),
    }
}

/// Checks the names in all pickles of a file.
fn check_file(mut file: File) -> Result<(), FileFault> {
    /// Where a TAR archive has its magic.
    const TAR: std::ops::Range<usize> = 257..262;
    let mut start = Vec::new();
    let io = pytorch_reader::PytorchError::from;
    (&mut file).take(TAR.end as u64).read_to_end(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    let mut file = BufReader::new(file);
    if start.starts_with(b"PK") {
        let mut archive = ZipArchive::new(file)?;
        if archive.has_duplicate_names() {
            return Err(FileFault::RepeatedEntry);
        }
        let names = archive.file_names().collect::<Result<Vec<_>, _>>()?;
        let roots = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let root = roots.filter(|it| it.is_empty() || it.ends_with('/')).min_by_key(|it| it.len());
        let Some(pickle) = root.map(|root| format!("{root}data.pkl")) else { return Ok(()) };
        let pickle = archive.by_name(&pickle)?.take(MAX_PICKLE_SIZE);
        check_globals(&mut BufReader::new(pickle), 1)
    } else if start.get(TAR) == Some(b"ustar") {
        Err(FileFault::Tar)
    } else {
        // Magic, version, system, the tensors, the keys of their storages.
        check_globals(&mut file, 5)
    }
}

/// The names of all tensors. Two of them can be equal: `a.b` as a key, and `b` below `a`.
fn collect_names(value: &PickleValue, path: &mut String, names: &mut Vec<String>) {
    let mut below = |key: &str, value: &PickleValue| {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        collect_names(value, path, names);
        path.truncate(length);
    };
    match value {
        PickleValue::Dict(dict) => dict.iter().for_each(|(key, value)| below(key, value)),
        PickleValue::List(list) => {
            list.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value));
        }
        PickleValue::Unsupported(class) if class == "torch.Tensor" => names.push(path.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{
        archive, archive_with_repeated, error, file_fault, fixture, tensor_fault, try_all,
    };

    /// Pushes an integer.
    fn integer(value: i32) -> Vec<u8> {
        [b"J", &value.to_le_bytes()[..]].concat()
    }

    fn text(value: &str) -> Vec<u8> {
        [b"X", &u32::try_from(value.len()).unwrap().to_le_bytes()[..], value.as_bytes()].concat()
    }

    /// Pushes a tensor of one row, over a storage `0` that is said to hold `stored` elements.
    fn tensor(stored: i32, extent: i32, stride: i32) -> Vec<u8> {
        [
            &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text("0"),
            &text("cpu"),
            &integer(stored),
            b"tQ",
            &integer(0),
            &integer(extent),
            b"\x85",
            &integer(stride),
            b"\x85\x89)tR",
        ]
        .concat()
    }

    /// A dictionary of these.
    fn pickle(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries = entries.iter().map(|(key, value)| [text(key), value.clone()].concat());
        [b"\x80\x02}(".to_vec(), entries.collect::<Vec<_>>().concat(), b"u.".to_vec()].concat()
    }

    /// A checkpoint whose storage `0` holds 4 elements.
    fn file(pickle: &[u8]) -> Vec<u8> {
        archive(&[("x/data.pkl", pickle), ("x/data/0", &[0; 16])])
    }

    #[test]
    fn a_program_is_refused_before_anything_else() {
        let program = b"cposix\nsystem\n(X\x02\x00\x00\x00idtR0"; // its result is dropped
        let weights = pickle(&[("w", tensor(4, 4, 1))]);
        let infected = [&weights[..2], program, &weights[2..]].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pt");
        fs::write(&path, file(&weights)).unwrap();
        try_all(&path).unwrap();
        let fault = file_fault("x.pt", &file(&infected));
        assert!(matches!(fault, FileFault::Global(name) if name == "posix.system"));

        // in the stream, in the pickle of the tensors
        let legacy = fs::read(fixture("legacy.pt")).unwrap();
        let at = legacy.windows(3).rposition(|it| it == b"\x80\x02}").unwrap() + 2;
        let infected = [&legacy[..at], program, &legacy[at..]].concat();
        let fault = file_fault("x.bin", &infected);
        assert!(matches!(fault, FileFault::Global(name) if name == "posix.system"));
        let fault = file_fault("x.pt", b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.");
        assert!(matches!(fault, FileFault::Global(name) if name == "builtins.eval"));
        let hidden = b"\x80\x04N\x8c\x04eval\x93.";
        assert!(matches!(file_fault("x.pt", &file(hidden)), FileFault::HiddenGlobal));
    }

    #[test]
    fn containers_that_are_none() {
        assert!(matches!(file_fault("x.pt", b"PK\x03\x04 and no more"), FileFault::Zip(_)));
        let no_pickle = archive(&[("x/data/0", b"1234")]);
        for bytes in [&b""[..], b"text", &no_pickle] {
            assert!(matches!(file_fault("x.pt", bytes), FileFault::PyTorch(_)));
        }
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(matches!(file_fault("x.pt", &tar), FileFault::Tar));
        let repeated = archive_with_repeated("x/data.pkl", "y/data.pkl", b"\x80\x02}.");
        assert!(matches!(file_fault("x.pt", &repeated), FileFault::RepeatedEntry));
    }

    #[test]
    fn pickles_that_lie() {
        let nested = [&b"\x80\x02]"[..], &b"\x85".repeat(100_000), b"."].concat();
        let billion_laughs = {
            let double =
                |index: u8| [b"(h", &[index][..], b"h", &[index], b"tq", &[index + 1]].concat();
            let doubled = (0..60).map(double).collect::<Vec<_>>().concat();
            [&b"\x80\x02)q\x00"[..], &doubled, b"."].concat()
        };
        let cyclic = b"\x80\x02]q\x00h\x00a."; // a list that holds itself
        let cases: [(&[u8], &str); 7] = [
            (&pickle(&[("w", tensor(4, 5, 1))]), "needs 5 elements"),
            (&pickle(&[("w", tensor(4, -1, 1))]), "non-negative"),
            (&pickle(&[("w", tensor(4, 4, i32::MAX))]), "elements"),
            (&nested, "nesting exceeds"),
            (&billion_laughs, "memo bomb"),
            (cyclic, "found list"),
            (b"\x80\x02X\xff\xff\xff\xffw", "expected 4294967295 bytes"),
        ];
        for (pickle, words) in cases {
            let fault = file_fault("x.pt", &file(pickle));
            assert!(matches!(fault, FileFault::PyTorch(_)), "{fault}");
            assert!(fault.to_string().contains(words), "{words}: {fault}");
        }
    }

    #[test]
    fn storages_that_lie() {
        // The pickle promises 8 elements, the archive holds 4.
        let (tensor_name, fault) = tensor_fault("x.pt", &file(&pickle(&[("w", tensor(8, 8, 1))])));
        assert_eq!(tensor_name, "w");
        assert!(fault.to_string().contains("only 4 are available"), "{fault}");
        assert!(matches!(fault, TensorFault::Unreadable(_)));
        // One element 2^30 times: 4 GiB
        let bytes = file(&pickle(&[("w", tensor(4, 1 << 30, 0))]));
        let (_, fault) = tensor_fault("x.pt", &bytes);
        assert!(matches!(fault, TensorFault::TooLarge { bytes: 0x1_0000_0000, .. }));
    }

    #[test]
    fn two_ways_to_one_name() {
        let inner = pickle(&[("b", tensor(4, 4, 1))]);
        let inner = inner[2..inner.len() - 1].to_vec();
        let bytes = file(&pickle(&[("a.b", tensor(4, 2, 1)), ("a", inner)]));
        assert!(
            matches!(error("x.pt", &bytes), Error::Duplicate { tensor, .. } if tensor == "a.b")
        );
    }
}
