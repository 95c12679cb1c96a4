//! Results as tables.

use report::{Cell, Column, Kind, Table};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spectral::ChangeColumns;

use super::SpectralError;
use super::record::Variant;
use super::study::{Coverage, Matrix};

/// What a row is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Identity {
    tensor: String,
    variant: String,
    name: String,
    longname: String,
    layer_type: String,
    rows: i64,
    cols: i64,
}

/// Columns that follow all others.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Closing {
    collapsed_because: String,
}

/// A row a matrix and variant, the original first.
pub(super) fn matrices(matrices: &[Matrix]) -> Result<Table, SpectralError> {
    let rows: Vec<(&Matrix, &Variant)> = matrices
        .iter()
        .flat_map(|matrix| matrix.record.variants.iter().map(move |variant| (matrix, variant)))
        .collect();
    let identities = rows.iter().map(|(matrix, variant)| identity(matrix, variant));
    let closings = rows.iter().map(|(_, variant)| Closing {
        collapsed_because: words(variant.reasons.iter().map(ToString::to_string)),
    });
    let changes: Vec<_> = rows.iter().map(|(_, variant)| variant.change.clone()).collect();
    let columns: Vec<_> = rows.iter().map(|(_, variant)| variant.columns.clone()).collect();
    let estimates: Vec<_> = rows.iter().map(|(_, variant)| variant.estimates.clone()).collect();
    let columns = known(&table(&columns)?)?;
    beside(&[
        table(&identities.collect::<Vec<_>>())?,
        columns,
        table(&estimates)?,
        optional::<ChangeColumns>(changes)?,
        table(&closings.collect::<Vec<_>>())?,
    ])
}

fn identity(matrix: &Matrix, variant: &Variant) -> Identity {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let short = matrix.name.trim_end_matches(".weight");
    Identity {
        tensor: matrix.name.clone(),
        variant: variant.name.clone(),
        name: short.rsplit('.').next().unwrap_or(short).to_owned(),
        longname: short.to_owned(),
        layer_type: matrix.layer_type.to_owned(),
        rows: count(matrix.shape[0]),
        cols: count(matrix.shape[1]),
    }
}

/// A row a tensor, whatever became of it.
pub(super) fn coverage(coverage: &[Coverage]) -> Result<Table, SpectralError> {
    table(coverage)
}

pub(super) fn words(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

pub(super) fn table<T: Serialize + DeserializeOwned>(rows: &[T]) -> Result<Table, SpectralError> {
    Ok(Table::from_rows(rows)?)
}

/// Rows some of which are not there: all their cells are empty.
fn optional<T: Serialize + DeserializeOwned>(rows: Vec<Option<T>>) -> Result<Table, SpectralError> {
    let is_there: Vec<bool> = rows.iter().map(Option::is_some).collect();
    let there = Table::from_rows(&rows.into_iter().flatten().collect::<Vec<_>>())?;
    let mut all = Table::new(there.columns().to_vec())?;
    let mut filled = there.rows().iter();
    for is_there in is_there {
        let cells = if is_there { filled.next().cloned() } else { None };
        all.push(cells.unwrap_or_else(|| vec![Cell::Empty; there.columns().len()]))?;
    }
    Ok(all)
}

/// Without the numbers of matrices that have no spectrum.
fn known(columns: &Table) -> Result<Table, SpectralError> {
    let kept = ["has_esd", "status", "fit_status"];
    let place = columns.columns().iter().position(|it| it.name == "has_esd");
    let mut all = Table::new(columns.columns().to_vec())?;
    for row in columns.rows() {
        let has_spectrum = place.is_none_or(|it| row[it] == Cell::Boolean(true));
        let cells = row.iter().zip(columns.columns()).map(|(cell, column)| {
            let keep = has_spectrum || kept.contains(&column.name.as_str());
            if keep { cell.clone() } else { Cell::Empty }
        });
        all.push(cells.collect())?;
    }
    Ok(all)
}

/// Tables of as many rows, side by side.
fn beside<const N: usize>(tables: &[Table; N]) -> Result<Table, SpectralError> {
    let columns: Vec<Column> = tables.iter().flat_map(Table::columns).cloned().collect();
    let mut all = Table::new(columns)?;
    for row in 0..tables[0].rows().len() {
        all.push(tables.iter().flat_map(|table| table.rows()[row].clone()).collect())?;
    }
    Ok(all)
}

/// A table of figures that have names.
pub(super) fn named(
    head: [&str; 2],
    rows: impl IntoIterator<Item = (String, f64)>,
) -> Result<Table, SpectralError> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let mut table = Table::new(vec![column(head[0], Kind::Text), column(head[1], Kind::Float)])?;
    for (name, value) in rows {
        table.push(vec![Cell::Text(name), Cell::Float(value)])?;
    }
    Ok(table)
}
