#![doc = include_str!("../README.md")]

mod cells;
mod chart;
mod columns;
mod error;
mod page;
mod spelling;
mod table;
mod write_csv;
mod write_json;
mod write_parquet;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use chart::{
    Axis, BarChart, BarSeries, ColourScale, HeatMap, Mark, Point, Reference, Scale, Series, Size,
    Svg, XyChart,
};
pub use error::Error;
pub use page::{Page, Section};
pub use spelling::significant;
pub use table::{Cell, Column, Kind, Table};

use spelling::spell;
