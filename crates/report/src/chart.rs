//! The charts, and what they share: the finished element, sizes, colours.

mod axis;
mod bars;
mod frame;
mod heat_map;
mod marks;
mod text;
mod thin;
mod xy;

pub use axis::{Axis, Scale};
pub use bars::{BarChart, BarSeries};
pub use heat_map::{ColourScale, HeatMap};
#[cfg(test)]
pub(crate) use text::text_width;
pub use xy::{Mark, Point, Reference, Series, XyChart};

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

/// Okabe and Ito's colours, which remain apart for every kind of colour vision, without the yellow,
/// which does not show on white. Series are told apart by dashes, markers and hatching as well.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The colour of series `index`.
fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}
