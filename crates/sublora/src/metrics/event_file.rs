//! TensorBoard's event files, as far as scalars need them.
//!
//! # Format
//! A sequence of records, each the protocol buffer message `Event` in TFRecord framing: its length
//! in bytes (`u64`), the masked CRC-32C of those eight bytes (`u32`), the message, and its masked
//! CRC-32C (`u32`), little-endian. A checksum $c$ is masked as
//! $((c \gg 15) \mathbin{|} (c \ll 17)) + \mathtt{a282ead8}_{16} \bmod 2^{32}$. The first event names
//! the version. A file that continues a run at a step says so in its second event, upon which
//! TensorBoard forgets what earlier files hold from that step on.
//!
//! # Reference
//! tensorflow/tensorboard: `tensorboard/compat/proto/event.proto` and `summary.proto`;
//! tensorflow/tensorflow: `tensorflow/core/lib/io/record_writer.h`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::atomic::FileError;

/// Of the name of a file: what TensorBoard looks for.
const PREFIX: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Optional, so that a zero is written.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is `START`.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that is being written.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// A new file in `dir`, begun at `wall_time`; where a run is `resumed`, at that step.
    ///
    /// Its name sorts behind those of the files that are there, the order in which they are read.
    pub(super) fn create(
        dir: &Path,
        resumed: Option<u64>,
        wall_time: f64,
    ) -> Result<Self, FileError> {
        let number = files(dir).map_err(FileError::at("read", dir))?;
        let path = dir.join(format!("{PREFIX}{number:010}.sublora"));
        let file = File::create_new(&path).map_err(FileError::at("create", &path))?;
        let mut events = Self { file, path };
        events.write(wall_time, 0, What::FileVersion("brain.Event:2".into()))?;
        if let Some(step) = resumed {
            events.write(wall_time, step, What::SessionLog(SessionLog { status: 1 }))?;
        }
        Ok(events)
    }

    /// Named values of a step, rounded to `f32`.
    #[expect(clippy::cast_possible_truncation, reason = "the format's precision")]
    pub(super) fn scalars(
        &mut self,
        wall_time: f64,
        step: u64,
        values: &[(&str, f64)],
    ) -> Result<(), FileError> {
        let value = values
            .iter()
            .map(|&(tag, value)| Value { tag: tag.into(), simple_value: Some(value as f32) })
            .collect();
        self.write(wall_time, step, What::Summary(Summary { value }))
    }

    fn write(&mut self, wall_time: f64, step: u64, what: What) -> Result<(), FileError> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let message = Event { wall_time, step, what: Some(what) }.encode_to_vec();
        self.file.write_all(&framed(&message)).map_err(FileError::at("write", &self.path))
    }
}

/// `message` as a TFRecord.
fn framed(message: &[u8]) -> Vec<u8> {
    let checksum =
        |bytes| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let len = (message.len() as u64).to_le_bytes();
    [&len, &checksum(&len)[..], message, &checksum(message)].concat()
}

/// Number of event files in `dir`.
fn files(dir: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        files += usize::from(entry?.file_name().to_string_lossy().starts_with(PREFIX));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length 0, its masked checksum; that of nothing, which is 0 masked. From a bitwise CRC-32C in
    /// Python, checked on `crc(b"123456789") == 0xe3069283`.
    #[test]
    fn framing() {
        let expected = b"\0\0\0\0\0\0\0\0\x29\x03\x98\x07\xd8\xea\x82\xa2";
        assert_eq!(framed(b""), expected);
    }

    /// Field 1 as `double` is tag 0x09, 1.5 is 0x3ff8 and zeros; field 2 as a varint is 0x10;
    /// fields 3, 5 and 7 with a length are 0x1a, 0x2a and 0x3a. Checksums as above.
    #[test]
    fn a_resumed_file_byte_by_byte() {
        let dir = tempfile::tempdir().unwrap();
        EventFile::create(dir.path(), Some(7), 1.5)
            .and_then(|mut file| file.scalars(1.5, 7, &[("loss", 0.0)]))
            .unwrap();
        let bytes = fs::read(dir.path().join("events.out.tfevents.0000000000.sublora")).unwrap();
        let expected = [
            &b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22"[..],
            b"\x09\0\0\0\0\0\0\xf8\x3f\x1a\x0dbrain.Event:2\x2a\x28\x64\x6c",
            b"\x0f\0\0\0\0\0\0\0\x6d\x53\x2b\x09",
            b"\x09\0\0\0\0\0\0\xf8\x3f\x10\x07\x3a\x02\x08\x01\x77\x47\x71\xc7",
            b"\x1a\0\0\0\0\0\0\0\x12\x9b\xd8\x2d",
            b"\x09\0\0\0\0\0\0\xf8\x3f\x10\x07\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\0",
            b"\x19\x16\xa9\x94",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn files_are_numbered_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let first = EventFile::create(dir.path(), None, 2.0).unwrap();
        let second = EventFile::create(dir.path(), Some(3), 1.0).unwrap();
        assert!(second.path > first.path);
    }
}
