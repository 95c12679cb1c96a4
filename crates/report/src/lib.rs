#![doc = include_str!("../README.md")]

mod cells;
mod chart;
mod columns;
mod error;
mod names;
mod page;
mod spelling;
mod table;
mod view;
mod write_csv;
mod write_json;
mod write_parquet;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use chart::{
    Axis, BarChart, CategorySeries, ColourScale, DotPlot, Estimate, HeatMap, Look, Mark, Panel,
    Panels, Point, Reference, Scale, Series, Size, Svg, XyChart,
};
pub use error::Error;
pub use page::{Page, Section};
pub use spelling::{significant, with_spread};
pub use table::{Cell, Column, Kind, Table};
pub use view::TableView;

use spelling::spell;
