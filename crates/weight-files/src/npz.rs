//! NumPy's `.npz`: a ZIP archive of `.npy` files.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;

use crate::checkpoint::{Opened, ReadElements};
use crate::npy::Header;
use crate::{Error, FileFault, TensorFault};

const ENDING: &str = ".npy";

/// A tensor bears the name of its entry, without the ending. Entries with another ending are no arrays.
pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let wrong = Error::file::<FileFault>(path);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|it| wrong(it.into()))?;
    if archive.has_duplicate_names() {
        return Err(wrong(FileFault::RepeatedEntry));
    }
    let (mut tensors, mut entries) = (Vec::new(), Vec::new());
    for entry in 0..archive.len() {
        let mut file = archive.by_index(entry).map_err(|it| wrong(it.into()))?;
        let name = file.name().map_err(|it| wrong(it.into()))?.into_owned();
        let Some(name) = name.strip_suffix(ENDING) else { continue };
        let header = Header::read(&mut file).map_err(Error::tensor(path, name))?;
        let tensor = header.tensor(name);
        tensor.check_expansion(size).map_err(Error::tensor(path, name))?;
        tensors.push(tensor);
        entries.push(entry);
    }
    Ok(Opened { tensors, elements: Box::new(Elements { archive, entries }) })
}

struct Elements {
    archive: ZipArchive<BufReader<File>>,
    /// The number of each tensor's entry.
    entries: Vec<usize>,
}

impl ReadElements for Elements {
    fn read(
        &mut self,
        index: usize,
        byte_len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        let entry = self.archive.by_index(self.entries[index]);
        let mut entry = entry.map_err(std::io::Error::from)?;
        Header::read(&mut entry)?.read_elements(&mut entry, byte_len, bytes)
    }
}
