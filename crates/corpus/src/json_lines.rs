//! JSON Lines: an object per line, the document in its field `text`.
//!
//! Only the cutting into lines happens here, one after the other; parsing is left to the threads.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use serde::Deserialize;

use crate::Error;
use crate::error::{Fault, Part};
use crate::source::{Content, MAX_DOCUMENT_BYTES, Meter, MeteredFile, RawDocument, bad};

/// What a damaged `.xz` header can make the decoder allocate; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 1 << 30;

/// The lines of one file.
pub(crate) struct JsonLines {
    path: PathBuf,
    /// `None` after the end, and after an error that loses the rest.
    reader: Option<Box<dyn BufRead + Send>>,
    line: u64,
}

impl JsonLines {
    pub(crate) fn open(path: &Path, meter: &Meter) -> Result<Self, Error> {
        let file = BufReader::with_capacity(1 << 18, MeteredFile::open(path, meter)?);
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let reader: Box<dyn BufRead + Send> = match extension.to_str() {
            Some("gz") => buffered(MultiGzDecoder::new(file)),
            Some("zst") => {
                let decoder = zstd::stream::read::Decoder::with_buffer(file);
                buffered(decoder.map_err(Error::io("decompress", path))?)
            }
            Some("xz") => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
                    .map_err(|error| Error::io("decompress", path)(error.into()))?;
                buffered(XzDecoder::new_stream(file, stream))
            }
            _ => Box::new(file),
        };
        Ok(Self { path: path.into(), reader: Some(reader), line: 0 })
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let mut line = Vec::new();
        reader
            .take(MAX_DOCUMENT_BYTES + 1)
            .read_until(b'\n', &mut line)
            .map_err(Fault::Unreadable)?;
        if line.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(Fault::TooLong);
        }
        Ok(Some(line).filter(|line| !line.is_empty()))
    }
}

fn buffered(decoder: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(1 << 18, decoder))
}

impl Iterator for JsonLines {
    type Item = Result<RawDocument, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line += 1;
            let part = Part::Line(self.line);
            match self.next_line() {
                Ok(None) => return None,
                Ok(Some(line)) if line.trim_ascii().is_empty() => {}
                Ok(Some(line)) => {
                    return Some(Ok(RawDocument::new(&self.path, part, Content::JsonLine(line))));
                }
                Err(fault) => {
                    self.reader = None;
                    return Some(Err(bad(&self.path, part, fault)));
                }
            }
        }
    }
}

/// The document of a line.
pub(crate) fn parse(line: &[u8]) -> Result<String, Fault> {
    #[derive(Deserialize)]
    struct Object {
        text: Option<String>,
    }
    let line = std::str::from_utf8(line)
        .map_err(|error| Fault::InvalidUtf8 { offset: error.valid_up_to() })?;
    serde_json::from_str::<Object>(line).map_err(Fault::Json)?.text.ok_or(Fault::MissingText)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;

    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Vec<Result<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let meter = Meter::default();
        let read = JsonLines::open(&path, &meter)
            .unwrap()
            .map(|document| match document.map_err(|error| error.to_string())?.content {
                Content::JsonLine(line) => parse(&line).map_err(|fault| fault.to_string()),
                other => Err(format!("{other:?}")),
            })
            .collect();
        assert_eq!(meter.total(), bytes.len() as u64);
        read
    }

    fn compressed(name: &str, text: &[u8]) -> Vec<u8> {
        match name.rsplit_once('.').unwrap().1 {
            "gz" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(text).unwrap();
                writer.finish().unwrap()
            }
            "zst" => zstd::encode_all(text, 1).unwrap(),
            "xz" => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(text).unwrap();
                writer.finish().unwrap()
            }
            _ => text.to_vec(),
        }
    }

    const NAMES: [&str; 4] = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.xz"];

    #[test]
    fn every_compression_reads_the_same_and_may_be_concatenated() {
        for name in NAMES {
            let head = compressed(name, b"{\"text\":\"a\\u00e9\",\"id\":3}\r\n\n");
            let tail = compressed(name, b"  {\"id\": [], \"text\": \"b\"}");
            assert_eq!(
                read(name, &[head, tail].concat()),
                ["aé", "b"].map(|s| Ok(s.into())),
                "{name}"
            );
        }
    }

    #[test]
    fn a_truncated_archive_is_named_with_the_line_it_ends_in() {
        let line = |n: u32| format!("{{\"text\":\"{}\"}}", n * 7_919);
        let lines = (0..20_000).map(line).collect::<Vec<_>>().join("\n");
        for name in &NAMES[1..] {
            let bytes = compressed(name, lines.as_bytes());
            for keep in [bytes.len() - 1, bytes.len() / 2, 7] {
                let read = read(name, &bytes[..keep]);
                let (last, complete) = read.split_last().unwrap();
                let error = last.as_ref().unwrap_err();
                assert!(error.starts_with(&format!("line {} of ", complete.len() + 1)), "{error}");
                assert!(error.contains("the rest cannot be read"), "{error}");
                assert!(complete.iter().all(Result::is_ok));
            }
        }
    }

    #[test]
    fn each_way_to_be_wrong_has_its_sentence() {
        let lines: [(&[u8], &str); 6] = [
            (b"{\"text\":\"\xff\"}", "invalid UTF-8 at byte 9"),
            (b"{\"id\":3}", "no `text`"),
            (b"{\"text\":null}", "no `text`"),
            (
                b"{\"text\":3}",
                "not a JSON object with a string `text`: invalid type: integer `3`, expected a string at line 1 column 9",
            ),
            (
                b"[\"text\"",
                "not a JSON object with a string `text`: invalid type: string \"text\", expected a string at line 1 column 7",
            ),
            (
                b"{\"text\":\"a\"",
                "not a JSON object with a string `text`: EOF while parsing an object at line 1 column 11",
            ),
        ];
        for (line, expected) in lines {
            let error = parse(line).unwrap_err().to_string();
            if line[0] == b'{' {
                assert_eq!(error, expected);
            } else {
                assert!(error.starts_with("not a JSON object"), "{error}");
            }
        }
    }
}
