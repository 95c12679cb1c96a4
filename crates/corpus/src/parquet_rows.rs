//! Parquet: a document per row, in the string column `text`.
//!
//! The column is read by itself, a few rows at a time; the others are never decoded.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::Error;
use crate::error::{Fault, Part};
use crate::source::{Content, MAX_DOCUMENT_BYTES, Meter, RawDocument, bad};

/// Rows decoded at a time.
const ROWS: usize = 64;

/// The rows of one file.
pub(crate) struct ParquetRows {
    path: PathBuf,
    file: SerializedFileReader<File>,
    column: usize,
    /// The reader of the current row group. `None` before the first.
    group: Option<ColumnReader>,
    next_group: usize,
    /// Decoded and not yet handed out, last first. `None` is a null.
    pending: Vec<Option<ByteArray>>,
    /// Rows handed out.
    row: u64,
    bytes: u64,
    meter: Meter,
    finished: bool,
}

impl ParquetRows {
    pub(crate) fn open(path: &Path, meter: &Meter) -> Result<Self, Error> {
        let whole = |fault| bad(path, Part::Whole, fault);
        let file = File::open(path).map_err(Error::io("open", path))?;
        let bytes = file.metadata().map_err(Error::io("open", path))?.len();
        let file = guarded(|| SerializedFileReader::new(file)).map_err(whole)?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let column = schema
            .columns()
            .iter()
            .position(|column| column.path().parts() == ["text"])
            .ok_or_else(|| {
            let found = schema.columns().iter().map(|column| column.path().string()).collect();
            whole(Fault::ColumnMissing { found })
        })?;
        let found = schema.column(column);
        if found.physical_type() != Type::BYTE_ARRAY || found.max_rep_level() > 0 {
            let repeated = if found.max_rep_level() > 0 { "repeated " } else { "" };
            let found = format!("{repeated}{}", found.physical_type());
            return Err(whole(Fault::ColumnType { found }));
        }
        let (group, pending) = (None, Vec::new());
        Ok(Self {
            path: path.into(),
            file,
            column,
            group,
            next_group: 0,
            pending,
            row: 0,
            bytes,
            meter: meter.clone(),
            finished: false,
        })
    }

    /// Decodes rows until some are pending. `false` at the end of the file.
    fn refill(&mut self) -> Result<bool, Fault> {
        while self.pending.is_empty() {
            if let Some(ColumnReader::ByteArrayColumnReader(group)) = &mut self.group {
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                let (rows, ..) =
                    guarded(|| group.read_records(ROWS, Some(&mut levels), None, &mut values))?;
                let mut values = values.into_iter();
                // Without nulls there are no levels.
                self.pending = if levels.is_empty() {
                    values.map(Some).collect()
                } else {
                    let mut present = |level| (level > 0).then(|| values.next()).flatten();
                    levels.into_iter().map(&mut present).collect()
                };
                self.pending.reverse();
                if rows > 0 {
                    continue;
                }
            }
            let groups = self.file.num_row_groups();
            if self.next_group == groups {
                return Ok(false);
            }
            let read = |group: usize| self.bytes * group as u64 / groups as u64;
            self.meter.add(read(self.next_group + 1) - read(self.next_group));
            let (file, column) = (&self.file, self.column);
            self.group =
                Some(guarded(|| file.get_row_group(self.next_group)?.get_column_reader(column))?);
            self.next_group += 1;
        }
        Ok(true)
    }
}

/// A damaged file must not take the program down, and the crate does not promise that.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".into())))
        .map_err(Fault::Parquet)
}

impl Iterator for ParquetRows {
    type Item = Result<RawDocument, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let part = Part::Row(self.row);
        match self.refill() {
            Ok(true) => {}
            Ok(false) => {
                self.finished = true;
                return None;
            }
            Err(fault) => {
                self.finished = true;
                return Some(Err(bad(&self.path, part, fault)));
            }
        }
        self.row += 1;
        let text = self.pending.pop().flatten();
        Some(match text {
            Some(text) if text.len() as u64 > MAX_DOCUMENT_BYTES => {
                Err(bad(&self.path, part, Fault::TooLong))
            }
            Some(text) => {
                Ok(RawDocument::new(&self.path, part, Content::Text(text.data().to_vec())))
            }
            None => Err(bad(&self.path, part, Fault::MissingText)),
        })
    }
}
