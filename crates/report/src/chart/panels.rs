//! Plots on top of one another that share their horizontal axis.

use super::axis::range;
use super::frame::{Plan, Side};
use super::plot::Plot;
use super::xy::not_shown;
use super::{Axis, Reference, Series, Size, Svg};

/// Several quantities over one axis, such as a loss and, below it, what was changed on the way: each has
/// a plot and a vertical axis of its own. Values without a place are treated as by an
/// [`XyChart`](super::XyChart).
#[derive(Debug, Clone, PartialEq)]
pub struct Panels {
    /// What it shows; empty for none.
    pub title: String,
    /// The horizontal axis of all panels.
    pub x: Axis,
    /// From the top.
    pub panels: Vec<Panel>,
    /// How wide, in CSS pixels.
    pub width: u32,
}

impl Default for Panels {
    fn default() -> Self {
        let (title, x, panels) = (String::new(), Axis::default(), Vec::new());
        Self { title, x, panels, width: Size::WIDE.width }
    }
}

/// One plot of [`Panels`]. The series of all panels share a legend and are told apart throughout.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Lines to compare with. A diagonal is drawn as far as both axes reach.
    pub references: Vec<Reference>,
    /// How high the plot is, in CSS pixels; at least 60, at most 2,000.
    pub height: u32,
}

impl Default for Panel {
    fn default() -> Self {
        let (y, series, references) = (Axis::default(), Vec::new(), Vec::new());
        Self { y, series, references, height: 220 }
    }
}

impl Panels {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let nothing = [Panel::default()]; // so that a chart without panels says that it has no data
        let panels = if self.panels.is_empty() { &nothing } else { self.panels.as_slice() };
        let mut first = 0;
        let plots = panels.iter().map(|panel| {
            let Panel { y, series, references, .. } = panel;
            let plot = Plot { x: &self.x, y, series, references, first };
            first += series.len();
            plot
        });
        let plots: Vec<Plot> = plots.collect();
        let x_range = range(plots.iter().flat_map(|it| it.values().0), self.x.scale);
        let y_range = |plot: &Plot| range(plot.values().1.into_iter(), plot.y.scale);
        let side = |axis: &Axis, range| Side::Numbers { axis: axis.clone(), range };
        let sides = plots.iter().map(|it| side(it.y, y_range(it)));
        let heights = panels.iter().map(|it| f64::from(it.height.clamp(60, 2_000)));
        let counts = plots.iter().map(Plot::count);
        let (points, shown) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let plan = Plan {
            title: &self.title,
            width: self.width,
            height: None,
            legend: plots.iter().flat_map(Plot::legend).collect(),
            remark: not_shown(points, shown),
            right: 32.0,
            x: side(&self.x, x_range),
            plots: sides.zip(heights).collect(),
        };
        let (mut canvas, frames) = plan.draw();
        for (plot, frame) in plots.iter().zip(frames) {
            plot.draw(&mut canvas, frame, (x_range, y_range(plot)));
        }
        canvas.finish(&plots.iter().map(Plot::describe).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;
    use crate::Mark;

    #[test]
    fn one_value_is_at_one_place_in_every_panel() {
        let panel = |label: &str, points: [(f64, f64); 2]| Panel {
            y: Axis::linear(label),
            series: vec![Series::new(label, Mark::Points, points)],
            ..Panel::default()
        };
        // The second panel has wider labels and begins later.
        let panels =
            vec![panel("a", [(0.0, 1.0), (9.0, 2.0)]), panel("b", [(3.0, 1e-9), (9.0, 2e-9)])];
        let svg = Panels { x: Axis::linear("step"), panels, ..Panels::default() }.to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let last_x = |colour: &str| {
            let is_mark = |it: &roxmltree::Node| it.attribute("fill") == Some(colour);
            let path = document.descendants().rfind(is_mark).unwrap();
            let start = path.attribute("d").unwrap().rsplit('M').next().unwrap();
            start.split_once(' ').unwrap().0.to_owned()
        };
        assert_eq!(last_x("#0072b2"), last_x("#d55e00"));
        // Numbers stand below the last panel alone.
        let texts = document.descendants().filter(|it| it.has_tag_name("text"));
        assert_eq!(texts.filter(|it| it.text() == Some("4")).count(), 1);
    }
}
