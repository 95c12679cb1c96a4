//! NumPy's `.npz`: a ZIP archive of `.npy` files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;

use zip::ZipArchive;

use crate::checkpoint::{Opened, ReadElements, check_len};
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
    fn reads_parts(&self, _: usize) -> bool {
        false
    }

    fn read(
        &mut self,
        index: usize,
        all: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        let entry = self.archive.by_index(self.entries[index]);
        let mut entry = entry.map_err(std::io::Error::from)?;
        let header = Header::read(&mut entry)?;
        bytes.clear();
        // One byte too many is enough to see that there are; it also lets the archive check its sum.
        entry.take(all.len() as u64 + 1).read_to_end(bytes)?;
        check_len(bytes, all.len())?;
        header.arrange(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::testing::{archive, archive_with_repeated, file_fault, fixture, tensor_fault};
    use crate::{FileFault, TensorFault};

    fn npy(shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn bombs_and_entries_that_lie() {
        // 2^28 elements: 1 GiB, of an archive of a few hundred bytes
        let bomb = archive(&[("w.npy", &npy("(268435456,)", &[0; 64]))]);
        let (tensor, fault) = tensor_fault("x.npz", &bomb);
        let most = (bomb.len() as u64) * 64 + (1 << 26);
        assert_eq!(tensor, "w");
        assert!(
            matches!(fault, TensorFault::TooLarge { bytes: 0x4000_0000, most: it } if it == most)
        );
        // 2^22 elements, 16 MiB, are allowed; they are not there
        for (shape, expected, found) in [("(4194304,)", 1 << 24, 64), ("(15,)", 60, 61)] {
            let (_, fault) = tensor_fault("x.npz", &archive(&[("a/w.npy", &npy(shape, &[0; 64]))]));
            let lengths = (expected, found);
            assert!(
                matches!(fault, TensorFault::Length { expected, found } if (expected, found) == lengths)
            );
        }
        let (_, fault) = tensor_fault("x.npz", &archive(&[("w.npy", b"text")]));
        assert!(matches!(fault, TensorFault::NpyPreamble));
    }

    #[test]
    fn archives_that_are_none() {
        assert!(matches!(file_fault("x.npz", b"text"), FileFault::Zip(_)));
        let repeated = archive_with_repeated("a.npy", "b.npy", &npy("(1,)", &[0; 4]));
        assert!(matches!(file_fault("x.npz", &repeated), FileFault::RepeatedEntry));
    }

    #[test]
    fn elements_that_contradict_their_sum() {
        let mut bytes = fs::read(fixture("model.npz")).unwrap();
        let at = bytes.windows(6).position(|it| it == b"\x93NUMPY").unwrap();
        bytes[at + 128] ^= 1; // the first element
        let (_, fault) = tensor_fault("x.npz", &bytes);
        assert!(matches!(fault, TensorFault::Unreadable(_)), "{fault}");
    }
}
