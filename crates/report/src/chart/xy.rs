//! Lines and points on two numeric axes.

use super::frame::{Plan, Side};
use super::plot::Plot;
use super::{Axis, Reference, Series, Size, Svg};

/// Series of points on two numeric axes, with reference lines.
///
/// A value that has no place (NaN, infinite, zero on a logarithmic axis) is left out and the number of
/// such points is written above the plot; a line has a gap there. Lines are thinned to what a pixel
/// shows.
#[derive(Debug, Clone, PartialEq)]
pub struct XyChart {
    /// What it shows; empty for none. A long one has up to three lines.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the bottom, except that steps are below all else and lines above.
    pub series: Vec<Series>,
    /// Lines to compare with, drawn below the series.
    pub references: Vec<Reference>,
    /// How large. What would leave too little for the plot is exceeded.
    pub size: Size,
}

impl Default for XyChart {
    fn default() -> Self {
        let (x, y) = (Axis::default(), Axis::default());
        let (series, references) = (Vec::new(), Vec::new());
        Self { title: String::new(), x, y, series, references, size: Size::HALF }
    }
}

impl XyChart {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let plot = self.plot();
        let (points, shown) = plot.count();
        let ranges = plot.ranges();
        let plan = Plan {
            title: &self.title,
            width: self.size.width,
            height: Some(self.size.height),
            legend: plot.legend().collect(),
            remark: not_shown(points, shown),
            right: 32.0,
            x: Side::Numbers { axis: self.x.clone(), range: ranges.0 },
            plots: vec![(Side::Numbers { axis: self.y.clone(), range: ranges.1 }, 1.0)],
        };
        let (mut canvas, frames) = plan.draw();
        for frame in frames {
            plot.draw(&mut canvas, frame, ranges);
        }
        canvas.finish(&plot.describe())
    }

    fn plot(&self) -> Plot<'_> {
        let (x, y, series, references) = (&self.x, &self.y, &self.series, &self.references);
        Plot { x, y, series, references, first: 0 }
    }
}

/// The remark on points that have no place.
pub(crate) fn not_shown(points: usize, shown: usize) -> String {
    match points - shown {
        0 => String::new(),
        hidden => format!("not shown: {hidden} of {points} points"),
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::super::look::Look;
    use super::*;
    use crate::{Mark, Point};

    fn chart(mark: Mark, points: impl IntoIterator<Item = (f64, f64)>) -> XyChart {
        let axis = || Axis::log("value");
        let series = vec![Series::new("", mark, points)];
        XyChart { x: axis(), y: axis(), series, ..XyChart::default() }
    }

    /// The outlines in the colour of the first series.
    fn outlines(svg: &Svg) -> Vec<String> {
        let document = Document::parse(svg.as_str()).unwrap();
        let is_first =
            |it: &Node| it.attribute("stroke") == Some(Look::Place.pen(0).colour.as_str());
        let paths = document.descendants().filter(is_first);
        paths.map(|it| it.attribute("d").unwrap().to_owned()).collect()
    }

    #[test]
    fn equal_ratios_are_equally_far_apart_on_a_logarithmic_axis_also_far_below_one() {
        for factor in [1.0, 1e-20, 1e20] {
            let [one, thirty, most] = [1.0, 30.0, 900.0].map(|it| it * factor);
            let svg = chart(Mark::Line, [(one, one), (most, thirty), (thirty, most)]).to_svg();
            let path = outlines(&svg).pop().unwrap();
            let numbers: Vec<f64> = path[1..].split(' ').map(|it| it.parse().unwrap()).collect();
            let [x1, y1, x900, y30, x30, y900] = numbers[..] else { panic!("{path}") };
            // Each is rounded to a tenth of a pixel.
            assert!((x30 - x1 - (x900 - x30)).abs() < 0.21 && x30 - x1 > 100.0, "{path}");
            assert!((y1 - y30 - (y30 - y900)).abs() < 0.21 && y1 - y30 > 50.0, "{path}");
        }
        let svg = chart(Mark::Line, [(1e-13, 1e-12), (1e-9, 1e-5)]).to_svg();
        assert!(svg.as_str().contains(">1e−11</text>") && svg.as_str().contains(">1e−9</text>"));
    }

    #[test]
    fn a_point_without_a_place_is_a_gap_and_is_counted() {
        let points = [(1.0, 1.0), (2.0, 2.0), (3.0, 0.0), (4.0, 4.0), (5.0, 5.0)];
        let svg = chart(Mark::Line, points).to_svg();
        assert_eq!(outlines(&svg).len(), 2);
        assert!(svg.as_str().contains(">not shown: 1 of 5 points</text>"));
    }

    #[test]
    fn a_long_line_is_small() {
        let points = (1..50_000).map(|it| (f64::from(it), 1.0 / f64::from(it) + 0.01));
        let svg = chart(Mark::Line, points).to_svg();
        assert!(svg.as_str().len() < 6_000, "{}", svg.as_str().len());
    }

    #[test]
    fn a_named_point_says_what_it_is() {
        let (x_interval, name) = (Some((1.5, 2.5)), "h.0".to_owned());
        let point = Point { x: 2.0, y: 0.123_456, x_interval, y_interval: None, name };
        let series = vec![Series::new("s", Mark::Points, [point])];
        let svg = XyChart { series, ..XyChart::default() }.to_svg();
        assert!(svg.as_str().contains("<title>h.0: 2 [1.5, 2.5]; 0.1235</title>"));
        assert_eq!(outlines(&svg).len(), 3); // in the legend, whisker, marker
    }

    #[test]
    fn both_axes_of_a_diagonal_are_the_same() {
        let references = vec![Reference::Diagonal { label: "same".to_owned() }];
        let series = vec![Series::new("", Mark::Points, [(0.0, 90.0), (10.0, 100.0)])];
        let (x, y) = XyChart { series, references, ..XyChart::default() }.plot().ranges();
        assert_eq!(x, y);
        assert_eq!(x, (-4.0, 104.0)); // 4 % beyond 0 and 100
    }

    #[test]
    fn a_chart_without_data_says_so_and_nothing_else() {
        let references = vec![
            Reference::Diagonal { label: "same".to_owned() },
            Reference::Between { from: 2.0, to: 6.0, label: "range".to_owned() },
        ];
        let svg = XyChart { references, ..XyChart::default() }.to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let is_dashed = |it: Node| it.has_attribute("stroke-dasharray");
        assert!(svg.as_str().contains(">no data</text>") && !document.descendants().any(is_dashed));
        assert!(!svg.as_str().contains(">same<") && !svg.as_str().contains(">range<"));
    }

    #[test]
    fn both_axes_of_150_decades_have_labels() {
        let svg = chart(Mark::Points, [(1e-130, 1e-130), (1e20, 1e20)]).to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let labels = |anchor| {
            let texts =
                document.descendants().filter(|it| it.attribute("text-anchor") == Some(anchor));
            texts.filter(|it| it.text().is_some_and(|it| it.starts_with("1e"))).count()
        };
        assert!(labels("middle") >= 4 && labels("end") >= 4, "{}", svg.as_str());
    }

    #[test]
    fn steps_keep_their_value_until_the_next_point() {
        let svg = chart(Mark::Steps, [(1.0, 100.0), (10.0, 10.0), (100.0, 1.0)]).to_svg();
        let path = outlines(&svg).pop().unwrap();
        let numbers: Vec<&str> = path[1..].split(' ').collect();
        let &[_, y0, x1, y1, x2, y2, x3, y3, x4, _] = &numbers[..] else { panic!("{path}") };
        assert_eq!([y0, x1, y2, x3], [y1, x2, y3, x4], "{path}"); // along, down, along, down
    }
}
