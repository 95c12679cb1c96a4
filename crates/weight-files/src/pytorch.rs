//! PyTorch: the ZIP archive that `torch.save` writes since version 1.6, and the stream before it.
//!
//! # Reference
//! PyTorch, `torch/serialization.py`; a pickle names the tensors, their storages follow.
//!
//! # Notes
//! The pickle is read as a graph of data (see `pickle`): nothing in it is run, and a name that weights
//! have no use for is an error, as in `torch.load(weights_only=True)`. The state of a whole model is read
//! where its classes are those of `torch.nn`. Other readers evaluate the pickle: `pytorch-reader`, burn's,
//! refuses a file with one tensor of a kind it does not know, 8-bit floats among them, and reads a tensor
//! as a whole or not at all.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use crate::checkpoint::{Opened, ReadElements, check_len};
use crate::{Error, FileFault, TensorFault};

mod globals;
mod graph;
mod pickle;
mod rebuild;
mod state;
mod storages;

use rebuild::View;
use storages::Storages;

/// A tensor bears the keys that lead to it, with dots between them, or the name of the file. Those of one
/// storage are listed each.
pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let (graph, storages) = storages::open(file, size).map_err(Error::file::<FileFault>(path))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (mut tensors, mut views) = (Vec::new(), Vec::new());
    for listed in state::tensors(&graph, &name, path)? {
        let checked = listed.info.check_expansion(size);
        checked.map_err(Error::tensor(path, &listed.info.name))?;
        tensors.push(listed.info);
        views.push(listed.view);
    }
    Ok(Opened { tensors, elements: Box::new(Elements { storages, views }) })
}

struct Elements {
    storages: Storages,
    /// Of each tensor that is of a kind to be read.
    views: Vec<Option<View>>,
}

impl ReadElements for Elements {
    fn reads_parts(&self, index: usize) -> bool {
        let view = self.views[index].as_ref();
        view.is_some_and(|it| it.is_contiguous() && self.storages.reads_parts(&it.key))
    }

    fn read(
        &mut self,
        index: usize,
        part: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        let Some(view) = &self.views[index] else { return check_len(&[], part.len()) };
        let start = view.offset.saturating_mul(view.size) as u64;
        if view.is_contiguous() {
            let range = start + part.start as u64..start + part.end as u64;
            return self.storages.read(&view.key, range, bytes);
        }
        let reach = view.reach().saturating_mul(view.size) as u64;
        self.storages.read(&view.key, start..start.saturating_add(reach), bytes)?;
        *bytes = view.gather(bytes);
        check_len(bytes, part.len())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::PickleFault;
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

    fn pickle_fault(bytes: &[u8]) -> PickleFault {
        match file_fault("x.pt", bytes) {
            FileFault::Pickle(fault) => fault,
            fault => panic!("{fault}"),
        }
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
        let fault = pickle_fault(&file(&infected));
        assert!(matches!(fault, PickleFault::Global(name) if name == "posix.system"));

        // in the stream, in the pickle of the tensors
        let legacy = fs::read(fixture("legacy.pt")).unwrap();
        let at = legacy.windows(3).rposition(|it| it == b"\x80\x02}").unwrap() + 2;
        let infected = [&legacy[..at], program, &legacy[at..]].concat();
        let fault = pickle_fault(&infected);
        assert!(matches!(fault, PickleFault::Global(name) if name == "posix.system"));
    }

    #[test]
    fn containers_that_are_none() {
        assert!(matches!(file_fault("x.pt", b"PK\x03\x04 and no more"), FileFault::Zip(_)));
        let no_pickle = archive(&[("x/data/0", b"1234")]);
        for bytes in [&b""[..], b"text", b"\x80\x02}.", &no_pickle] {
            assert!(matches!(file_fault("x.pt", bytes), FileFault::NotPyTorch));
        }
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(matches!(file_fault("x.pt", &tar), FileFault::Tar));
        let repeated = archive_with_repeated("x/data.pkl", "y/data.pkl", b"\x80\x02}.");
        assert!(matches!(file_fault("x.pt", &repeated), FileFault::RepeatedEntry));
        let big = archive(&[("x/data.pkl", b"\x80\x02}."), ("x/byteorder", b"big")]);
        assert!(matches!(file_fault("x.pt", &big), FileFault::ByteOrder(order) if order == "big"));
        // 4 MB of nothing in a few kB
        let long = archive(&[("x/data.pkl", &vec![b'N'; 1 << 22])]);
        let most = 16 * long.len() as u64;
        assert!(matches!(pickle_fault(&long), PickleFault::TooLong { most: it } if it == most));
    }

    #[test]
    fn streams_that_lie() {
        let good = fs::read(fixture("legacy.pt")).unwrap();
        let fault = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|it| it == from).unwrap();
            let bad = [&good[..at], to, &good[at + from.len()..]].concat();
            match file_fault("x.pt", &bad) {
                FileFault::Stream(what) => what.to_owned(),
                fault => fault.to_string(),
            }
        };
        assert_eq!(fault(b"M\xe9\x03.", b"M\xe8\x03."), "the protocol 1001");
        let endian = b"little_endianq\x02\x88";
        assert_eq!(
            fault(endian, b"little_endianq\x02\x89"),
            FileFault::ByteOrder("big".into()).to_string()
        );
        assert_eq!(fault(endian, b"middle_endianq\x02\x88"), "a byte order");
        let storages = "storages as long as the pickle says";
        let six = [&6_u64.to_le_bytes()[..], &[0, 0, 0, 0x80]].concat(); // of the norm: 0, -0
        assert_eq!(fault(&six, &[&7_u64.to_le_bytes()[..], &six[8..]].concat()), storages);
        let short = &good[..good.len() - 1];
        assert!(matches!(file_fault("x.pt", short), FileFault::Stream(it) if it == storages));
    }

    #[test]
    fn pickles_that_lie() {
        // Below containers without end; below one that holds itself; doubled 60 times over.
        let nested = [&b"\x80\x02"[..], &tensor(4, 4, 1), &b"\x85".repeat(1_000), b"."].concat();
        let cyclic = [&b"\x80\x02]q\x00h\x00a"[..], &tensor(4, 4, 1), b"a."].concat();
        for pickle in [nested, cyclic] {
            let fault = pickle_fault(&file(&pickle));
            assert!(matches!(fault, PickleFault::TooDeep { most: 500 }), "{fault}");
        }
        let doubled = (0..60).map(|index| [b'h', index, b'h', index, 0x86, b'q', index + 1]);
        let doubled: Vec<u8> = doubled.flatten().collect();
        let laughs = |joke: &[u8]| [b"\x80\x02", joke, b"q\x00", &doubled, b"."].concat();
        let fault = pickle_fault(&file(&laughs(&tensor(4, 4, 1))));
        assert!(matches!(fault, PickleFault::TooMany { .. }), "{fault}");
        // Where there is no tensor, nobody looks.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pt");
        fs::write(&path, file(&laughs(b")"))).unwrap();
        assert!(crate::Checkpoint::open(&path).unwrap().tensors().is_empty());
    }

    #[test]
    fn tensors_that_lie() {
        let fault = |tensor: Vec<u8>| {
            let (name, fault) = tensor_fault("x.pt", &file(&pickle(&[("w", tensor)])));
            assert_eq!(name, "w");
            fault
        };
        let beyond = fault(tensor(4, 5, 1));
        assert!(matches!(beyond, TensorFault::Beyond { needed: 5, stored: 4 }));
        let beyond = fault(tensor(4, 4, i32::MAX));
        assert!(matches!(beyond, TensorFault::Beyond { needed: 0x1_7fff_fffe, stored: 4 }));
        assert!(matches!(fault(tensor(4, -1, 1)), TensorFault::NegativeExtent(-1)));
        assert!(matches!(fault(tensor(4, 4, -1)), TensorFault::Rebuild("strides")));
        assert!(matches!(fault(tensor(-4, 4, 1)), TensorFault::Rebuild("storage")));
        // The pickle promises 8 elements, the archive holds 4.
        let short = fault(tensor(8, 8, 1));
        assert!(matches!(short, TensorFault::Length { expected: 32, found: 16 }), "{short}");
        // One element 2^30 times: 4 GiB
        let large = fault(tensor(4, 1 << 30, 0));
        assert!(matches!(large, TensorFault::TooLarge { bytes: 0x1_0000_0000, .. }));
        let other =
            archive(&[("x/data.pkl", &pickle(&[("w", tensor(4, 4, 1))])), ("x/data/1", &[0; 16])]);
        let (_, fault) = tensor_fault("x.pt", &other);
        assert!(matches!(fault, TensorFault::NoStorage(key) if key == "0"));
    }

    #[test]
    fn a_storage_that_contradicts_its_sum() {
        let mut bytes = fs::read(fixture("model.pt")).unwrap();
        let third = 0.1_f32.to_le_bytes(); // `scale`
        let at = bytes.windows(4).position(|it| it == third).unwrap();
        bytes[at] ^= 1;
        let (name, fault) = tensor_fault("x.pt", &bytes);
        assert_eq!(name, "scale");
        assert!(matches!(fault, TensorFault::Unreadable(_)), "{fault}");
    }

    #[test]
    fn two_ways_to_one_name_and_none_at_all() {
        let inner = pickle(&[("b", tensor(4, 4, 1))]);
        let inner = inner[2..inner.len() - 1].to_vec();
        let bytes = file(&pickle(&[("a.b", tensor(4, 2, 1)), ("a", inner)]));
        assert!(
            matches!(error("x.pt", &bytes), Error::Duplicate { tensor, .. } if tensor == "a.b")
        );
        let alone = [b"\x80\x02", &tensor(4, 4, 1)[..], b"."].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.pt");
        fs::write(&path, file(&alone)).unwrap();
        assert_eq!(crate::Checkpoint::open(&path).unwrap().tensors()[0].name, "mask");
    }
}
