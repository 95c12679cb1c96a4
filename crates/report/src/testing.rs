//! What several test modules use.

use crate::{Cell, Column, Kind, Table};

/// Every kind of cell, with what is hard to write in each format.
pub(crate) fn every_kind_of_cell() -> Table {
    let kinds = [
        ("name", Kind::Text),
        ("count", Kind::Integer),
        ("value", Kind::Float),
        ("flag", Kind::Boolean),
    ];
    let columns = kinds.map(|(name, kind)| Column { name: name.to_owned(), kind });
    let mut table = Table::new(columns.to_vec()).unwrap();
    let text = |it: &str| Cell::Text(it.to_owned());
    let rows = [
        [text("a, \"b\""), Cell::Integer(-3), Cell::Float(0.1), Cell::Boolean(true)],
        // 2^53 + 1, which no double holds.
        [
            text("<&>"),
            Cell::Integer(9_007_199_254_740_993),
            Cell::Float(f64::NAN),
            Cell::Boolean(false),
        ],
        [Cell::Empty, Cell::Empty, Cell::Float(f64::INFINITY), Cell::Empty],
        [text("é"), Cell::Integer(0), Cell::Float(f64::NEG_INFINITY), Cell::Empty],
        [text("x"), Cell::Integer(1), Cell::Float(1e-7), Cell::Empty],
    ];
    for row in rows {
        table.push(row.to_vec()).unwrap();
    }
    table
}
