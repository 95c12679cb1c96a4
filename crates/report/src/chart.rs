//! The charts, and what they share: the finished element and its size.

mod axis;
mod bars;
mod by_category;
mod canvas;
mod dots;
mod frame;
mod heat_map;
mod legend;
mod look;
mod marks;
mod panels;
mod plot;
mod series;
mod text;
mod thin;
mod xy;

pub use axis::{Axis, Scale};
pub use bars::BarChart;
pub use by_category::{CategorySeries, Estimate};
pub use dots::DotPlot;
pub use heat_map::{ColourScale, HeatMap};
pub use look::Look;
pub use panels::{Panel, Panels};
pub use series::{Mark, Point, Reference, Series};
pub(crate) use text::text_width;
pub use xy::XyChart;

/// A chart: one SVG element, complete, with a title, and without scripts, styles, fonts, links or ids,
/// so that any number of them stand in one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    element: String,
    height: f64,
}

impl Svg {
    /// The element, which is also a whole file.
    pub fn as_str(&self) -> &str {
        &self.element
    }

    /// In CSS pixels.
    pub(crate) fn height(&self) -> f64 {
        self.height
    }
}

/// Width and height in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// At least 240; less is taken for that.
    pub width: u32,
    /// At least 160; less is taken for that.
    pub height: u32,
}

impl Size {
    /// Across a page.
    pub const WIDE: Self = Self { width: 1100, height: 400 };
    /// Two to a row, on screen and on paper.
    pub const HALF: Self = Self { width: 500, height: 340 };

    fn clamped(self) -> (f64, f64) {
        (f64::from(self.width.clamp(240, 10_000)), f64::from(self.height.clamp(160, 100_000)))
    }
}
