//! The containers of `torch.save`: what is around the pickle, and where its storages are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use zip::read::{ZipFile, ZipReadOptions};
use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive};

use super::graph::{Graph, Node, Value};
use super::pickle;
use super::rebuild::Storage;
use crate::checkpoint::check_len;
use crate::error::PickleFault;
use crate::{FileFault, TensorFault};

/// Longest pickle, in bytes and, of an archive that compresses it, in the lengths of the file.
const MAX_PICKLE: (u64, u64) = (100 << 20, 16);

/// Where a TAR archive has its magic.
const TAR: Range<usize> = 257..262;

/// The number 0x1950a86a20f9469cfc6c in the first pickle of a stream, as protocols from 2 on write it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The same, as protocols 0 and 1 do.
const MAGIC_TEXT: &[u8] = b"119547037146038801333356";

/// Bytes in which the magic is looked for.
const MAGIC_SEARCH: usize = 64;

type Archive = ZipArchive<BufReader<File>>;

/// The bytes of every storage.
pub(super) enum Storages {
    /// An entry each.
    Archive {
        archive: Archive,
        /// In front of the names of all entries.
        root: String,
    },
    /// First byte and length of each.
    Stream { file: File, places: HashMap<String, (u64, u64)> },
}

/// Opens a container and reads the pickle of its tensors.
pub(super) fn open(mut file: File, size: u64) -> Result<(Graph, Storages), FileFault> {
    let mut start = Vec::new();
    let io = |error| FileFault::from(PickleFault::ended(error));
    (&mut file).take(TAR.end as u64).read_to_end(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    let has = |magic: &[u8]| {
        start[..start.len().min(MAGIC_SEARCH)].windows(magic.len()).any(|it| it == magic)
    };
    if start.starts_with(b"PK") {
        archive(file, size)
    } else if start.get(TAR) == Some(b"ustar") {
        Err(FileFault::Tar)
    } else if has(&MAGIC) || has(MAGIC_TEXT) {
        stream(file, size)
    } else {
        Err(FileFault::NotPyTorch)
    }
}

fn archive(file: File, size: u64) -> Result<(Graph, Storages), FileFault> {
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    if archive.has_duplicate_names() {
        return Err(FileFault::RepeatedEntry);
    }
    let names = archive.file_names().collect::<Result<Vec<_>, _>>()?;
    let roots = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = roots.filter(|it| it.is_empty() || it.ends_with('/')).min_by_key(|it| it.len());
    let root = root.ok_or(FileFault::NotPyTorch)?.to_owned();
    if let Some(index) = archive.index_for_name(&format!("{root}byteorder")) {
        let mut order = String::new();
        let read = entry(&mut archive, index)?.take(64).read_to_string(&mut order);
        read.map_err(PickleFault::ended)?;
        if order.trim() != "little" {
            return Err(FileFault::ByteOrder(order));
        }
    }
    let index = archive.index_for_name(&format!("{root}data.pkl")).ok_or(FileFault::NotPyTorch)?;
    let pickle = entry(&mut archive, index)?;
    let most = MAX_PICKLE.0.min(size.saturating_mul(MAX_PICKLE.1));
    if pickle.size() > most {
        return Err(PickleFault::TooLong { most }.into());
    }
    let graph = pickle::read(&mut BufReader::new(pickle.take(most)))?;
    Ok((graph, Storages::Archive { archive, root }))
}

/// An entry whose sum is checked at its end, but for one of zero: `torch.save` can write that for none.
fn entry(archive: &mut Archive, index: usize) -> ZipResult<ZipFile<'_, BufReader<File>>> {
    let sum = archive.by_index_data(index)?.crc32();
    archive.by_index_with_options(index, ZipReadOptions::new().ignore_crc32(sum == 0))
}

/// Magic, version, system, the tensors, the keys of their storages; then the storages, each behind the
/// number of its elements.
fn stream(file: File, size: u64) -> Result<(Graph, Storages), FileFault> {
    let mut reader = BufReader::new(file);
    pickle::read(&mut reader)?;
    if pickle::read(&mut reader)?.root != Value::Int(1001) {
        return Err(FileFault::Stream("the protocol 1001"));
    }
    let system = pickle::read(&mut reader)?;
    let order = match system.node(system.root) {
        Some(Node::Dict(items)) => {
            items.iter().find(|(key, _)| system.text(*key) == Some("little_endian"))
        }
        _ => None,
    };
    match order {
        Some((_, Value::Bool(true))) => {}
        Some((_, Value::Bool(false))) => return Err(FileFault::ByteOrder("big".to_owned())),
        _ => return Err(FileFault::Stream("a byte order")),
    }
    let graph = pickle::read(&mut reader)?;
    let keys = pickle::read(&mut reader)?;
    let mut lengths = HashMap::new();
    for node in &graph.nodes {
        let Node::Persistent(id) = node else { continue };
        let storage = Storage::of(&graph, *id).ok_or(FileFault::Stream("storages"))?;
        let (count, length) = (storage.count, storage.count.saturating_mul(storage.size() as u64));
        if lengths.insert(storage.key, (count, length)).is_some_and(|it| it != (count, length)) {
            return Err(FileFault::Stream("one length for every storage"));
        }
    }
    let mut at = reader.stream_position().map_err(PickleFault::ended)?;
    let mut places = HashMap::new();
    for &key in keys.sequence(keys.root).ok_or(FileFault::Stream("keys of storages"))? {
        let key = keys.key(key).unwrap_or_default();
        let (count, length) = *lengths.get(&key).ok_or(FileFault::Stream("keys of storages"))?;
        let mut found = [0; 8];
        reader.seek(SeekFrom::Start(at)).map_err(PickleFault::ended)?;
        reader.read_exact(&mut found).map_err(PickleFault::ended)?;
        let start = at + found.len() as u64;
        if u64::from_le_bytes(found) != count || length > size.saturating_sub(start) {
            return Err(FileFault::Stream("storages as long as the pickle says"));
        }
        at = start + length;
        places.insert(key, (start, length));
    }
    Ok((graph, Storages::Stream { file: reader.into_inner(), places }))
}

impl Storages {
    /// Whether a part of a storage costs no more than itself.
    pub(super) fn reads_parts(&self, key: &str) -> bool {
        match self {
            Self::Archive { archive, root } => {
                let index = archive.index_for_name(&format!("{root}data/{key}"));
                let entry = index.and_then(|index| archive.by_index_data(index).ok());
                entry.is_some_and(|it| it.compression() == CompressionMethod::Stored)
            }
            Self::Stream { .. } => true,
        }
    }

    /// Replaces `bytes` by those of a storage at `range`. Of an archive, the checksum is that of all.
    pub(super) fn read(
        &mut self,
        key: &str,
        range: Range<u64>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), TensorFault> {
        bytes.clear();
        let absent = || TensorFault::NoStorage(key.to_owned());
        let length = range.end.saturating_sub(range.start);
        match self {
            Self::Stream { file, places } => {
                let (start, size) = *places.get(key).ok_or_else(absent)?;
                file.seek(SeekFrom::Start(start.saturating_add(range.start.min(size))))?;
                let length = length.min(size.saturating_sub(range.start));
                Read::take(file, length).read_to_end(bytes)?;
            }
            Self::Archive { archive, root } => {
                let index = archive.index_for_name(&format!("{root}data/{key}"));
                let index = index.ok_or_else(absent)?;
                let data = archive.by_index_data(index).map_err(io::Error::from)?;
                let size = data.size();
                let is_stored = data.compression() == CompressionMethod::Stored;
                if is_stored && range != (0..size) {
                    let mut entry = archive.by_index_seek(index).map_err(io::Error::from)?;
                    entry.seek(SeekFrom::Start(range.start.min(size)))?;
                    entry.take(length).read_to_end(bytes)?;
                } else {
                    let mut entry = entry(archive, index).map_err(io::Error::from)?;
                    io::copy(&mut (&mut entry).take(range.start), &mut io::sink())?;
                    (&mut entry).take(length).read_to_end(bytes)?;
                    // One byte too many, and the archive checks the sum.
                    if range.end >= size && entry.read(&mut [0])? > 0 {
                        return Err(TensorFault::Length { expected: size, found: size + 1 });
                    }
                }
            }
        }
        check_len(bytes, usize::try_from(length).unwrap_or(usize::MAX))
    }
}
