//! Structs to cells, by way of CSV: the `csv` crate flattens a struct, and the kind of each column
//! says how to read its field back. Floats survive, since they are written with the digits they need.

use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use serde::Serialize;

use crate::{Cell, Column, Kind};

/// The cells of each of `rows`, or why one of them has none.
pub(crate) fn of<T: Serialize>(rows: &[T], columns: &[Column]) -> Result<Vec<Vec<Cell>>, String> {
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|it| it.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|it| it.to_string())?;
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
    let header = reader.headers().map_err(|it| it.to_string())?;
    if !rows.is_empty() && !header.iter().eq(columns.iter().map(|it| it.name.as_str())) {
        return Err("its fields are not written in the order in which they are read".to_owned());
    }
    let records = reader.into_records();
    records.map(|it| cells(&it.map_err(|it| it.to_string())?, columns)).collect()
}

fn cells(record: &StringRecord, columns: &[Column]) -> Result<Vec<Cell>, String> {
    if record.len() != columns.len() {
        let (found, expected) = (record.len(), columns.len());
        return Err(format!("a row has {found} fields, expected {expected}: none may be skipped"));
    }
    let cell = |(text, column): (&str, &Column)| {
        if text.is_empty() {
            return Ok(Cell::Empty);
        }
        let parsed = match column.kind {
            Kind::Text => Some(Cell::Text(text.to_owned())),
            Kind::Integer => text.parse().ok().map(Cell::Integer),
            Kind::Float => text.parse().ok().map(Cell::Float),
            Kind::Boolean => text.parse().ok().map(Cell::Boolean),
        };
        let (name, kind) = (&column.name, column.kind);
        parsed.ok_or_else(|| format!("field `{name}` is `{text}`, expected a 64-bit {kind}"))
    };
    record.iter().zip(columns).map(cell).collect()
}
