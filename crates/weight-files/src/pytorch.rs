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

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use pytorch_reader::{DType as FileDtype, MAX_PICKLE_SIZE, PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use crate::checkpoint::{Opened, ReadElements};
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
    if let Some(tensor) = repeated(&root, &mut String::new(), &mut HashSet::new()) {
        return Err(Error::Duplicate { tensor, first: path.into(), second: path.into() });
    }
    let (mut tensors, mut elements) = (Vec::new(), Vec::new());
    for (name, tensor) in reader.into_tensors() {
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
        if bytes.len() == byte_len {
            Ok(())
        } else {
            let (expected, found) = (byte_len as u64, bytes.len() as u64);
            Err(TensorFault::Length { expected, found })
        }
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

/// The first name that two tensors bear: `a.b` as a key, and `b` below `a`.
fn repeated(value: &PickleValue, path: &mut String, seen: &mut HashSet<String>) -> Option<String> {
    let mut below = |key: &str, value: &PickleValue| {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        let found = repeated(value, path, seen);
        path.truncate(length);
        found
    };
    match value {
        PickleValue::Dict(dict) => dict.iter().find_map(|(key, value)| below(key, value)),
        PickleValue::List(list) => {
            list.iter().enumerate().find_map(|(index, value)| below(&index.to_string(), value))
        }
        PickleValue::Unsupported(class) if class == "torch.Tensor" => {
            (!seen.insert(path.clone())).then(|| path.clone())
        }
        _ => None,
    }
}
