//! What a run measures, step by step: JSON Lines for programs, event files for TensorBoard.
//!
//! # Format
//! `metrics.jsonl` holds one object per record, `{"step":20,"train/loss":3.25}`; a value that is not
//! finite is `null`. There is no time in it: equal runs write equal files. The event files beside it
//! hold the same values as `f32`, with the time of each record.
//!
//! A run that was killed and resumes at a step repeats what follows its last checkpoint. Records at
//! or after that step are then dropped from `metrics.jsonl`, and a new event file tells TensorBoard
//! to forget them.

mod event_file;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serializer};
use serde_json::Value;

use self::event_file::EventFile;
use crate::atomic::{self, FileError};

/// Name of the JSON Lines file in the directory of a run.
pub(crate) const METRICS_FILE: &str = "metrics.jsonl";

/// The open log of a run. `now` is the clock: seconds since 1970.
#[derive(Debug)]
pub(crate) struct MetricsLog<C> {
    json: File,
    json_path: PathBuf,
    events: EventFile,
    now: C,
}

impl<C: Fn() -> f64> MetricsLog<C> {
    /// A new log in `dir`, which exists.
    ///
    /// # Errors
    /// If `dir` holds a log already, or cannot be written to.
    pub(crate) fn create(dir: &Path, now: C) -> Result<Self, FileError> {
        let path = dir.join(METRICS_FILE);
        File::create_new(&path).map_err(FileError::at("create", &path))?;
        Self::open(dir, None, now)
    }

    /// The log in `dir`, without its records from `step` on. A last line without an end, which a
    /// killed run may leave, is dropped too. If there is no log, a new one.
    ///
    /// # Errors
    /// If the log holds a line that is no record, or cannot be read or written.
    pub(crate) fn resume(dir: &Path, step: u64, now: C) -> Result<Self, FileError> {
        let path = dir.join(METRICS_FILE);
        let kept = match File::open(&path) {
            Ok(file) => records_before(step, BufReader::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        atomic::write(&path, &kept.map_err(FileError::at("read", &path))?)?;
        Self::open(dir, Some(step), now)
    }

    fn open(dir: &Path, resumed: Option<u64>, now: C) -> Result<Self, FileError> {
        let json_path = dir.join(METRICS_FILE);
        let json = OpenOptions::new()
            .append(true)
            .open(&json_path)
            .map_err(FileError::at("open", &json_path))?;
        let events = EventFile::create(dir, resumed, now())?;
        Ok(Self { json, json_path, events, now })
    }

    /// Writes the named values of `step` to both files, where they can be read at once.
    ///
    /// Names are unlike each other and unlike `step`; a `/` in a name makes a group in TensorBoard.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn record(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), FileError> {
        let fields = values.iter().map(|&(name, value)| (name, Value::from(value)));
        let mut line = Vec::new();
        serde_json::Serializer::new(&mut line)
            .collect_map(std::iter::once(("step", Value::from(step))).chain(fields))
            .map_err(io::Error::from)
            .and_then(|()| {
                line.push(b'\n');
                self.json.write_all(&line)
            })
            .map_err(FileError::at("write", &self.json_path))?;
        self.events.scalars((self.now)(), step, values)
    }
}

/// What was recorded of a step, by name; a value that was not finite is none.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Recorded {
    /// Counted from 1.
    pub(crate) step: u64,
    /// Of a step that is evaluated, one record follows another.
    #[serde(flatten)]
    pub(crate) values: BTreeMap<String, Option<f64>>,
}

/// The records of the log in `dir`, without a last line that has no end.
///
/// # Errors
/// If there is no log, or one with a line that is no record.
pub(crate) fn read(dir: &Path) -> Result<Vec<Recorded>, FileError> {
    let path = dir.join(METRICS_FILE);
    let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let record =
        |(place, line)| serde_json::from_str(line).map_err(|error| no_record(place + 1, &error));
    let records: io::Result<Vec<Recorded>> = lines.enumerate().map(record).collect();
    records.map_err(FileError::at("read", &path))
}

fn no_record(number: usize, error: &serde_json::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("line {number} is no record: {error}"))
}

/// The lines, with their ends, of records before `step`.
fn records_before(step: u64, mut log: impl BufRead) -> io::Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Record {
        step: u64,
    }

    let (mut kept, mut line) = (Vec::new(), Vec::new());
    for number in 1.. {
        line.clear();
        log.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let record: Record =
            serde_json::from_slice(&line).map_err(|error| no_record(number, &error))?;
        if record.step < step {
            kept.extend_from_slice(&line);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CLOCK: fn() -> f64 = || 0.0;

    #[test]
    fn a_record_is_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(dir.path(), CLOCK).unwrap();
        log.record(0, &[("train/loss", 10.8), ("lr", 1e-4)]).unwrap();
        log.record(1, &[("train/loss", f64::NAN)]).unwrap();
        let written = fs::read_to_string(dir.path().join(METRICS_FILE)).unwrap();
        let expected =
            "{\"step\":0,\"train/loss\":10.8,\"lr\":0.0001}\n{\"step\":1,\"train/loss\":null}\n";
        assert_eq!(written, expected);
        let records = read(dir.path()).unwrap();
        let values = |it: &Recorded| it.values.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(records.iter().map(|it| it.step).collect::<Vec<_>>(), [0, 1]);
        let first = [("lr".to_owned(), Some(1e-4)), ("train/loss".to_owned(), Some(10.8))];
        assert_eq!(values(&records[0]), first);
        assert_eq!(values(&records[1]), [("train/loss".to_owned(), None)]);
    }

    #[test]
    fn resuming_repeats_what_follows_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS_FILE);
        let mut log = MetricsLog::create(dir.path(), CLOCK).unwrap();
        for step in 0..4 {
            log.record(step, &[("loss", step as f64)]).unwrap();
        }
        drop(log);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole, &b"{\"step\":4,\"lo"[..]].concat()).unwrap(); // killed here

        let mut log = MetricsLog::resume(dir.path(), 2, CLOCK).unwrap();
        for step in 2..4 {
            log.record(step, &[("loss", step as f64)]).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3); // two event files
    }

    #[test]
    fn a_log_is_never_overwritten_and_a_foreign_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS_FILE);
        fs::write(&path, "{\"step\":0}\n{\"loss\":1}\n").unwrap();
        let error = MetricsLog::create(dir.path(), CLOCK).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::AlreadyExists);
        let error = MetricsLog::resume(dir.path(), 2, CLOCK).unwrap_err().to_string();
        assert!(error.contains("line 2 is no record: missing field `step`"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"{\"step\":0}\n{\"loss\":1}\n");
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("line 2 is no record: missing field `step`"), "{error}");

        let error = MetricsLog::create(&dir.path().join("absent"), CLOCK).unwrap_err();
        assert!(error.to_string().starts_with("cannot create `"), "{error}");
    }

    #[test]
    fn a_run_killed_before_its_log_resumes_with_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        MetricsLog::resume(dir.path(), 0, CLOCK).unwrap().record(0, &[]).unwrap();
        assert_eq!(fs::read(dir.path().join(METRICS_FILE)).unwrap(), b"{\"step\":0}\n");
    }
}
