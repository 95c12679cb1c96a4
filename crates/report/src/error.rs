//! What can be wrong with a table. Charts and pages take anything.

use crate::Kind;

/// A table cannot be built or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two columns of one name.
    #[error("column `{name}` appears twice, expected distinct names")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// A row with more or fewer cells than the table has columns.
    #[error("row {row} has {found} cells, expected {expected}")]
    CellCount {
        /// Its index, from 0.
        row: usize,
        /// How many it has.
        found: usize,
        /// How many columns there are.
        expected: usize,
    },
    /// A value of another kind than that of its column.
    #[error("row {row} of column `{column}` is of kind {found}, expected {expected}")]
    CellKind {
        /// The index of the row, from 0.
        row: usize,
        /// The column.
        column: String,
        /// The kind of the value.
        found: Kind,
        /// The kind of the column.
        expected: Kind,
    },
    /// A view of a table wants numbers where there are none.
    #[error("there is no column `{name}` of numbers")]
    NoNumbers {
        /// The name of the column.
        name: String,
    },
    /// A row type that is no flat struct, or a value that no cell holds.
    #[error("`{row_type}` is no row of a table: {reason}")]
    Row {
        /// The Rust name of the type.
        row_type: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The CSV writer refused.
    #[error("cannot write CSV: {0}")]
    Csv(#[from] csv::Error),
    /// The Parquet writer refused.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}
