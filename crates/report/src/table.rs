//! Named, typed columns and rows of cells: what CSV, JSON, Parquet and a page are written from.
//!
//! The columns of a table come from the *type* of its rows, never from their values: a run in which
//! nothing was estimated has the same header and the same Parquet schema as one with every cell full.

use std::any::type_name;
use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, cells, columns};

/// What a column holds. Every cell of it may also be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    Text,
    /// A whole number of 64 bits with a sign.
    Integer,
    /// A number of 64 bits, NaN and infinities included.
    Float,
    /// Yes or no.
    Boolean,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
        })
    }
}

/// A column: its name and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name, as it stands in every output.
    pub name: String,
    /// What its cells hold.
    pub kind: Kind,
}

/// A value, or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Empty,
    /// For a column of [`Kind::Text`].
    Text(String),
    /// For a column of [`Kind::Integer`].
    Integer(i64),
    /// For a column of [`Kind::Float`].
    Float(f64),
    /// For a column of [`Kind::Boolean`].
    Boolean(bool),
}

impl Cell {
    /// The kind of the value, `None` without one.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Empty => None,
            Self::Text(_) => Some(Kind::Text),
            Self::Integer(_) => Some(Kind::Integer),
            Self::Float(_) => Some(Kind::Float),
            Self::Boolean(_) => Some(Kind::Boolean),
        }
    }
}

/// Columns and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    ///
    /// # Errors
    /// [`Error::DuplicateColumn`].
    pub fn new(columns: Vec<Column>) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|column| !seen.insert(&column.name)) {
            return Err(Error::DuplicateColumn { name: twice.name.clone() });
        }
        Ok(Self { columns, rows: Vec::new() })
    }

    /// A table of structs: a column a field, under its serde name and in its order. `None` and the
    /// empty string are empty cells. Fields may be strings, enums of bare variants, integers, floats and `bool`, newtypes of
    /// those, and `Option`s of those; nothing nested, flattened or skipped. The type is asked for its columns
    /// through `Deserialize`, so they do not depend on the rows.
    ///
    /// # Errors
    /// [`Error::Row`] if `T` is no such struct, or an integer exceeds 64 bits with a sign;
    /// [`Error::DuplicateColumn`].
    pub fn from_rows<T: Serialize + DeserializeOwned>(rows: &[T]) -> Result<Self, Error> {
        let refused = |reason: String| Error::Row { row_type: type_name::<T>(), reason };
        let mut table = Self::new(columns::of::<T>().map_err(refused)?)?;
        table.rows = cells::of(rows, &table.columns).map_err(refused)?;
        Ok(table)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::CellCount`], [`Error::CellKind`]. The table is then as it was.
    pub fn push(&mut self, cells: Vec<Cell>) -> Result<(), Error> {
        let row = self.rows.len();
        if cells.len() != self.columns.len() {
            let (found, expected) = (cells.len(), self.columns.len());
            return Err(Error::CellCount { row, found, expected });
        }
        for (cell, column) in cells.iter().zip(&self.columns) {
            if let Some(found) = cell.kind().filter(|&kind| kind != column.kind) {
                let (column, expected) = (column.name.clone(), column.kind);
                return Err(Error::CellKind { row, column, found, expected });
            }
        }
        self.rows.push(cells);
        Ok(())
    }

    /// The same rows with these columns alone, in the order in which they are named. A name that no column has is
    /// passed over.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let place = |name: &&str| self.columns.iter().position(|it| it.name == *name);
        self.at(&names.iter().filter_map(place).collect::<Vec<_>>())
    }

    /// The same without the columns in which every cell is empty.
    #[must_use]
    pub fn without_empty_columns(&self) -> Self {
        let is_full = |place: &usize| self.rows.iter().any(|row| row[*place] != Cell::Empty);
        self.at(&(0..self.columns.len()).filter(is_full).collect::<Vec<_>>())
    }

    /// The columns at these places, which are distinct.
    fn at(&self, places: &[usize]) -> Self {
        let row = |row: &Vec<Cell>| places.iter().map(|&it| row[it].clone()).collect();
        Self {
            columns: places.iter().map(|&it| self.columns[it].clone()).collect(),
            rows: self.rows.iter().map(row).collect(),
        }
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows, in order, each with a cell a column.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Status {
        TooFew,
    }

    #[derive(Serialize, Deserialize)]
    struct Millis(u16);

    #[derive(Serialize, Deserialize)]
    struct Row {
        name: String,
        status: Status,
        #[serde(rename = "D")]
        d: Option<f64>,
        note: Option<String>,
        took: Option<Millis>,
        done: bool,
    }

    fn row(d: Option<f64>) -> Row {
        let (name, status) = ("h.0".to_owned(), Status::TooFew);
        Row { name, status, d, note: None, took: Some(Millis(3)), done: true }
    }

    #[test]
    fn columns_come_from_the_type_and_not_from_the_rows() {
        let columns = Table::from_rows::<Row>(&[]).unwrap().columns;
        let named: Vec<_> = columns.iter().map(|it| (it.name.as_str(), it.kind)).collect();
        let expected = [
            ("name", Kind::Text),
            ("status", Kind::Text),
            ("D", Kind::Float),
            ("note", Kind::Text),
            ("took", Kind::Integer),
            ("done", Kind::Boolean),
        ];
        assert_eq!(named, expected);
        assert_eq!(Table::from_rows(&[row(None)]).unwrap().columns, columns);
    }

    #[test]
    fn a_struct_becomes_a_row_of_cells() {
        let table = Table::from_rows(&[row(Some(0.5)), row(None)]).unwrap();
        let cells = |d| {
            let text = |it: &str| Cell::Text(it.to_owned());
            let took = Cell::Integer(3);
            vec![text("h.0"), text("too-few"), d, Cell::Empty, took, Cell::Boolean(true)]
        };
        assert_eq!(table.rows(), [cells(Cell::Float(0.5)), cells(Cell::Empty)]);
    }

    #[test]
    fn some_of_the_columns() {
        let table = Table::from_rows(&[row(None), row(None)]).unwrap();
        let names = |table: &Table| -> Vec<String> {
            table.columns().iter().map(|it| it.name.clone()).collect()
        };
        let few = table.only(&["done", "missing", "name", "D"]);
        assert_eq!(names(&few), ["done", "name", "D"]);
        let cells = [Cell::Boolean(true), Cell::Text("h.0".to_owned()), Cell::Empty];
        assert_eq!(few.rows(), [cells.clone(), cells]);
        assert_eq!(names(&few.without_empty_columns()), ["done", "name"]);
        assert!(Table::from_rows::<Row>(&[]).unwrap().without_empty_columns().columns().is_empty());
    }

    #[test]
    fn a_type_that_is_no_flat_struct_is_refused() {
        #[derive(Serialize, Deserialize)]
        struct Nested {
            inner: Vec<f64>,
        }
        #[derive(Serialize, Deserialize)]
        struct Flattened {
            #[serde(flatten)]
            inner: Millimetres,
        }
        #[derive(Serialize, Deserialize)]
        struct Millimetres {
            x: f64,
        }
        #[derive(Serialize, Deserialize)]
        struct Large {
            count: u64,
        }
        #[derive(Serialize, Deserialize)]
        struct Skipping {
            #[serde(skip_serializing_if = "Option::is_none")]
            x: Option<f64>,
            y: f64,
        }
        let message = |it: Result<Table, Error>| it.unwrap_err().to_string();
        let nested = message(Table::from_rows::<Nested>(&[]));
        assert!(nested.ends_with("field `inner` is no text, number or boolean"), "{nested}");
        let flattened = message(Table::from_rows::<Flattened>(&[]));
        assert!(flattened.ends_with("it is not a struct of named fields"), "{flattened}");
        let vector = message(Table::from_rows::<Vec<f64>>(&[]));
        assert!(vector.ends_with("it is not a struct of named fields"), "{vector}");
        let large = message(Table::from_rows(&[Large { count: u64::MAX }]));
        let reason = "field `count` is `18446744073709551615`, expected a 64-bit integer";
        assert!(large.ends_with(reason), "{large}");
        let skipping = message(Table::from_rows(&[Skipping { x: None, y: 1.0 }]));
        assert!(
            skipping.ends_with("not written in the order in which they are read"),
            "{skipping}"
        );
        let both = [Skipping { x: Some(1.0), y: 1.0 }, Skipping { x: None, y: 1.0 }];
        let skipping = message(Table::from_rows(&both));
        assert!(
            skipping.ends_with("a row has 1 fields, expected 2: none may be skipped"),
            "{skipping}"
        );
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_and_leaves_the_table_alone() {
        let column = |name: &str| Column { name: name.to_owned(), kind: Kind::Float };
        let twice = Table::new(vec![column("a"), column("a")]).unwrap_err().to_string();
        assert_eq!(twice, "column `a` appears twice, expected distinct names");
        let mut table = Table::new(vec![column("a")]).unwrap();
        let count = table.push(vec![]).unwrap_err().to_string();
        assert_eq!(count, "row 0 has 0 cells, expected 1");
        let kind = table.push(vec![Cell::Integer(1)]).unwrap_err().to_string();
        assert_eq!(kind, "row 0 of column `a` is of kind integer, expected float");
        assert!(table.rows().is_empty());
    }
}
