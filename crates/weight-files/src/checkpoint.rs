//! A checkpoint as a list of tensors, whatever its format.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::files::{Files, Format};
use crate::{
    Error, FileFault, TensorFault, TensorInfo, npy, npz, onnx, order, pytorch, safetensors_file,
};

/// What a format makes of one file.
pub(crate) struct Opened {
    /// Its tensors, in any order.
    pub(crate) tensors: Vec<TensorInfo>,
    /// Reads their elements, by their place in that list.
    pub(crate) elements: Box<dyn ReadElements>,
}

/// The elements of the tensors of one file.
pub(crate) trait ReadElements: Send {
    /// Whether a part of tensor number `index` can be read without the rest.
    fn reads_parts(&self, index: usize) -> bool;

    /// Replaces `bytes` by `part` of those of the elements of tensor number `index`, row-major and
    /// little-endian: by all of them, unless it reads parts. They are as many, or it is an error.
    fn read(
        &mut self,
        index: usize,
        part: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault>;
}

/// Refuses elements that are not `byte_len` bytes.
pub(crate) fn check_len(bytes: &[u8], byte_len: usize) -> Result<(), TensorFault> {
    let (expected, found) = (byte_len as u64, bytes.len() as u64);
    if expected == found { Ok(()) } else { Err(TensorFault::Length { expected, found }) }
}

/// An open checkpoint: every tensor is listed, none is in memory.
///
/// Tensors are in the natural order of their names (`h.2` before `h.10`), the same in every format.
pub struct Checkpoint {
    files: Vec<(PathBuf, Box<dyn ReadElements>)>,
    tensors: Vec<TensorInfo>,
    /// Of each tensor, the number of its file and its number in that file.
    places: Vec<(usize, usize)>,
    /// What names the files, if there is such.
    index: Option<PathBuf>,
    /// Elements of the last tensor as they are in the file, to be used again.
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// Opens a file, the index of a checkpoint in several files, or a folder with one of either.
    ///
    /// The format follows from the ending: `.safetensors`; `.bin`, `.pt`, `.pth`, `.pth.tar` and `.ckpt`
    /// of PyTorch; `.onnx`; `.npy`; `.npz`; `.index.json`. Only headers are read. The files stay open and
    /// must not change as long as the checkpoint lives.
    ///
    /// # Errors
    /// No such file or no checkpoint, and whatever its headers can be wrong about: see [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let Files { weights, promised } = Files::of(path)?;
        let (mut files, mut all) = (Vec::new(), Vec::new());
        let mut seen = HashMap::new();
        for (number, (path, format)) in weights.into_iter().enumerate() {
            let Opened { tensors, elements } = match format {
                Format::Safetensors => safetensors_file::open(&path)?,
                Format::Onnx => onnx::open(&path)?,
                Format::Npy => npy::open(&path)?,
                Format::Npz => npz::open(&path)?,
                Format::PyTorch => pytorch::open(&path)?,
                Format::Index => return Err(Error::UnknownFormat { path }),
            };
            for (index, tensor) in tensors.into_iter().enumerate() {
                tensor.check().map_err(Error::tensor(&path, &tensor.name))?;
                if let Some(first) = seen.insert(tensor.name.clone(), path.clone()) {
                    return Err(Error::Duplicate { tensor: tensor.name, first, second: path });
                }
                all.push((tensor, (number, index)));
            }
            files.push((path, elements));
        }
        let (index, promised) = promised.unzip();
        if let Some(index) = &index {
            let mut promised = promised.into_iter().flatten();
            let missing = promised.find(|(tensor, path)| seen.get(tensor) != Some(path));
            if let Some((tensor, path)) = missing {
                let shard = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(Error::file(index)(FileFault::MissingTensor { tensor, shard }));
            }
        }
        all.sort_by(|(a, _), (b, _)| order::natural(&a.name, &b.name));
        let (tensors, places) = all.into_iter().unzip();
        Ok(Self { files, tensors, places, index, bytes: Vec::new() })
    }

    /// Every tensor.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The numbers of the tensors of file number `file`, in the order in which it has them.
    pub fn tensors_of(&self, file: usize) -> Vec<usize> {
        let mut places: Vec<_> =
            (0..self.places.len()).filter(|&it| self.places[it].0 == file).collect();
        places.sort_by_key(|&it| self.places[it].1);
        places
    }

    /// The files with the weights.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| &**path)
    }

    /// The file that names the files with the weights, if they were found by one.
    pub fn index(&self) -> Option<&Path> {
        self.index.as_deref()
    }

    /// Replaces `values` by those of tensor number `index`, in row-major order.
    ///
    /// Infinities and not-a-numbers come as they are; double precision is rounded.
    ///
    /// # Errors
    /// The type is not read, or the file does not hold what its header says.
    ///
    /// # Panics
    /// If there is no tensor number `index`.
    pub fn read(&mut self, index: usize, values: &mut Vec<f32>) -> Result<(), Error> {
        let elements = self.tensors[index].elements();
        self.read_part(index, 0..elements, values)
    }

    /// Whether [`read_part`](Self::read_part) of tensor number `index` reads no more than the part.
    /// Otherwise its file is compressed, or has the elements in another order.
    ///
    /// # Panics
    /// If there is no tensor number `index`.
    pub fn reads_parts(&self, index: usize) -> bool {
        let (file, place) = self.places[index];
        self.files[file].1.reads_parts(place)
    }

    /// Replaces `values` by some of tensor number `index`: by the elements at `part` of all in row-major
    /// order.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    ///
    /// # Panics
    /// If there is no tensor number `index`, or no such part of it.
    pub fn read_part(
        &mut self,
        index: usize,
        part: Range<usize>,
        values: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (file, place) = self.places[index];
        let (path, elements) = &mut self.files[file];
        let tensor = &self.tensors[index];
        let at = || Error::tensor(path, &tensor.name);
        let Some(size) = tensor.dtype.size() else { return Err(at()(tensor.not_read())) };
        let all = 0..tensor.byte_len().map_err(at())?;
        let part = part.start * size..part.end * size;
        values.clear();
        if elements.reads_parts(place) {
            assert!(part.start <= part.end && part.end <= all.end, "a part of the tensor");
            elements.read(place, part, &mut self.bytes).map_err(at())?;
            tensor.dtype.decode(&self.bytes, values);
        } else {
            elements.read(place, all, &mut self.bytes).map_err(at())?;
            tensor.dtype.decode(&self.bytes[part], values);
        }
        Ok(())
    }

    /// Replaces `bytes` by the elements of tensor number `index` in their own type: in row-major order
    /// and little-endian, whatever the file does. Of a type that is not read, too, where the format says
    /// how many they are: see [`TensorInfo::bytes`].
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    ///
    /// # Panics
    /// If there is no tensor number `index`.
    pub fn read_bytes(&mut self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (file, place) = self.places[index];
        let (path, elements) = &mut self.files[file];
        let tensor = &self.tensors[index];
        let read = tensor.byte_len().and_then(|byte_len| elements.read(place, 0..byte_len, bytes));
        read.map_err(Error::tensor(path, &tensor.name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::fixture;

    /// Opens a folder with files of the fixtures under other names, and an index.
    fn open(files: &[(&str, &str)], index: &str) -> Result<Checkpoint, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in files {
            fs::copy(fixture(from), folder.path().join(to)).unwrap();
        }
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(&path, format!(r#"{{"weight_map": {{{index}}}}}"#)).unwrap();
        Checkpoint::open(&path)
    }

    #[test]
    fn shards_that_contradict_their_index() {
        let file = ("model.safetensors", "a.safetensors");
        let error = open(&[file], r#""scale": "a.safetensors", "absent": "a.safetensors""#).err();
        let Some(Error::File { fault: FileFault::MissingTensor { tensor, shard }, .. }) = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((&*tensor, &*shard), ("absent", "a.safetensors"));
        let error = open(&[file], r#""scale": "b.safetensors""#).err();
        assert!(matches!(error, Some(Error::Io { path, .. }) if path.ends_with("b.safetensors")));
        let both = [file, ("model.safetensors", "b.safetensors")];
        let error = open(&both, r#""scale": "a.safetensors", "steps": "b.safetensors""#).err();
        let Some(Error::Duplicate { tensor, first, second }) = error else { panic!("{error:?}") };
        assert_eq!(tensor, "steps"); // the first in the file
        assert!(first.ends_with("a.safetensors") && second.ends_with("b.safetensors"));
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::copy(fixture("model.safetensors"), &path).unwrap();
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_500).unwrap();
        let last = checkpoint.tensors().iter().position(|it| it.name == "f8.e5m2fnuz").unwrap();
        let mut values = vec![1.0];
        let error = checkpoint.read(last, &mut values).unwrap_err();
        assert!(matches!(error, Error::Tensor { fault: TensorFault::Unreadable(_), .. }));
        assert!(values.is_empty());
    }
}
