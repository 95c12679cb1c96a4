//! Lines and points on two numeric axes.

use kuva::render::render::TextAnchor;

use super::axis::range;
use super::frame::{Frame, INK, Plan, Sample, Side};
use super::marks::{Area, dashes, marker, polyline, whisker};
use super::text::{fit, text_width};
use super::thin::thin;
use super::{Axis, Scale, Size, Svg, colour};
use crate::spelling::compact;

/// Series of points on two numeric axes, with reference lines.
///
/// A value that has no place (NaN, infinite, zero on a logarithmic axis) is left out and the number of
/// such points is written above the plot; a line has a gap there. Lines are thinned to what a pixel
/// shows.
#[derive(Debug, Clone, PartialEq)]
pub struct XyChart {
    /// What it shows; empty for none.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the bottom, except that lines alone are above all else.
    pub series: Vec<Series>,
    /// Lines to compare with, drawn below the series.
    pub references: Vec<Reference>,
    /// How large.
    pub size: Size,
}

impl Default for XyChart {
    fn default() -> Self {
        let (x, y) = (Axis::default(), Axis::default());
        let (series, references) = (Vec::new(), Vec::new());
        Self { title: String::new(), x, y, series, references, size: Size::HALF }
    }
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; without one it has no entry.
    pub name: String,
    /// How the points are shown.
    pub mark: Mark,
    /// The points. A line runs through them in this order.
    pub points: Vec<Point>,
}

impl Series {
    /// A series of `points`, which may be pairs of numbers.
    pub fn new<P: Into<Point>>(
        name: impl Into<String>,
        mark: Mark,
        points: impl IntoIterator<Item = P>,
    ) -> Self {
        let points = points.into_iter().map(Into::into).collect();
        Self { name: name.into(), mark, points }
    }
}

/// How a series is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line. Vertical intervals are shaded from point to point.
    Line,
    /// Markers, with intervals as whiskers.
    Points,
    /// Both, with intervals as whiskers.
    LineAndPoints,
}

/// A point, with intervals around it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Its place on the horizontal axis.
    pub x: f64,
    /// Its place on the vertical axis.
    pub y: f64,
    /// From where to where it may be on the horizontal axis.
    pub x_interval: Option<(f64, f64)>,
    /// From where to where it may be on the vertical axis.
    pub y_interval: Option<(f64, f64)>,
    /// What it is: shown with its values when it is pointed at. Empty for none.
    pub name: String,
}

impl From<(f64, f64)> for Point {
    fn from((x, y): (f64, f64)) -> Self {
        Self { x, y, ..Self::default() }
    }
}

/// Something to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// A line upwards at this place of the horizontal axis.
    Vertical {
        /// Where.
        at: f64,
        /// What stands beside it.
        label: String,
    },
    /// A line across at this place of the vertical axis.
    Horizontal {
        /// Where.
        at: f64,
        /// What stands above it.
        label: String,
    },
    /// A shaded interval of the vertical axis.
    Between {
        /// Its lower end.
        from: f64,
        /// Its upper end.
        to: f64,
        /// What stands in it.
        label: String,
    },
    /// Where both values are the same. Both axes then have the same range.
    Diagonal {
        /// What stands beside it.
        label: String,
    },
}

impl XyChart {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let points: usize = self.series.iter().map(|series| series.points.len()).sum();
        let shown =
            self.series.iter().flat_map(|it| &it.points).filter(|it| self.admits(it)).count();
        let hidden = match points - shown {
            0 => String::new(),
            hidden => format!("not shown: {hidden} of {points} points"),
        };
        let (x_range, y_range) = self.ranges();
        let named = self.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
        let mut frame = Frame::new(&Plan {
            title: &self.title,
            size: self.size,
            x: Side::Numbers { axis: self.x.clone(), range: x_range },
            y: Side::Numbers { axis: self.y.clone(), range: y_range },
            legend: named.map(|(index, it)| (index, it.name.as_str(), it.mark.sample())).collect(),
            remark: hidden,
            right: 32.0,
        });
        for (index, reference) in self.references.iter().enumerate() {
            self.reference(&mut frame, index, reference);
        }
        // A line alone, such as a fit, is drawn over the points that it has to be seen beside.
        let is_line = |series: &Series| series.mark == Mark::Line;
        let (lines, others): (Vec<_>, Vec<_>) =
            self.series.iter().enumerate().partition(|(_, series)| is_line(series));
        for (index, series) in others.into_iter().chain(lines) {
            self.lines(&mut frame, index, series);
            self.markers(&mut frame, index, series);
        }
        let series: Vec<&str> = self.series.iter().map(|it| it.name.as_str()).collect();
        let (x, y) = (&self.x.label, &self.y.label);
        frame.finish(&match shown {
            0 => String::new(),
            _ => format!("{y} against {x}, {shown} points; {}", series.join(", ")),
        })
    }

    fn admits(&self, point: &Point) -> bool {
        self.x.scale.admits(point.x) && self.y.scale.admits(point.y)
    }

    /// The ends of an interval that both have a place.
    fn drawable(scale: Scale, interval: Option<(f64, f64)>) -> Option<(f64, f64)> {
        interval.filter(|it| scale.admits(it.0) && scale.admits(it.1))
    }

    fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for point in self.series.iter().flat_map(|it| &it.points).filter(|it| self.admits(it)) {
            let (x, y) = (point.x_interval, point.y_interval);
            xs.extend(Self::drawable(self.x.scale, x).iter().flat_map(|it| [it.0, it.1]));
            ys.extend(Self::drawable(self.y.scale, y).iter().flat_map(|it| [it.0, it.1]));
            xs.push(point.x);
            ys.push(point.y);
        }
        let mut is_square = false;
        for reference in &self.references {
            match reference {
                Reference::Vertical { at, .. } => xs.push(*at),
                Reference::Horizontal { at, .. } => ys.push(*at),
                Reference::Between { from, to, .. } => ys.extend([*from, *to]),
                Reference::Diagonal { .. } => is_square = true,
            }
        }
        if is_square {
            xs.extend_from_slice(&ys);
            ys.clone_from(&xs);
        }
        (range(xs.into_iter(), self.x.scale), range(ys.into_iter(), self.y.scale))
    }

    fn reference(&self, frame: &mut Frame, index: usize, reference: &Reference) {
        let Area { x, y, width, height } = frame.area();
        let (right, bottom) = (x + width, y + height);
        let dash = || Some("5 4".to_owned());
        match reference {
            Reference::Vertical { at, label } if self.x.scale.admits(*at) => {
                let place = frame.x(*at);
                frame.dashed(format!("M{place:.1} {y}V{bottom}"), INK, 1.2, dash());
                let text = fit(label, 11, width / 2.0);
                let is_left = place + text_width(&text, 11) + 8.0 > right;
                let (anchor, gap) =
                    if is_left { (TextAnchor::End, -5.0) } else { (TextAnchor::Start, 5.0) };
                frame.text(place + gap, y + 12.0 + 14.0 * index as f64, &text, anchor, INK);
            }
            Reference::Horizontal { at, label } if self.y.scale.admits(*at) => {
                let place = frame.y(*at);
                frame.dashed(format!("M{x} {place:.1}H{right}"), INK, 1.2, dash());
                let text = fit(label, 11, width - 8.0);
                frame.text(right - 4.0, place - 4.0, &text, TextAnchor::End, INK);
            }
            Reference::Between { from, to, label }
                if self.y.scale.admits(*from) && self.y.scale.admits(*to) =>
            {
                let (top, low) = (frame.y(from.max(*to)), frame.y(from.min(*to)));
                let band = Area { x, y: top, width, height: low - top };
                frame.rectangle(band, "#888", Some(0.14));
                let text = fit(label, 11, width - 8.0);
                frame.text(x + 6.0, top + 13.0, &text, TextAnchor::Start, INK);
            }
            Reference::Diagonal { label } => {
                frame.dashed(format!("M{x} {bottom}L{right} {y}"), INK, 1.2, dash());
                let text = fit(label, 11, width / 2.0);
                let below = (text_width(&text, 11) + 12.0) * height / width + 16.0;
                frame.text(right - 6.0, y + below, &text, TextAnchor::End, INK);
            }
            Reference::Vertical { .. }
            | Reference::Horizontal { .. }
            | Reference::Between { .. } => {}
        }
    }

    fn lines(&self, frame: &mut Frame, index: usize, series: &Series) {
        if series.mark == Mark::Points {
            return;
        }
        for run in series.points.split(|point| !self.admits(point)) {
            if series.mark == Mark::Line {
                let interval = |it: &Point| Self::drawable(self.y.scale, it.y_interval);
                for run in run.split(|point| interval(point).is_none()) {
                    let ends = run.iter().filter_map(|it| Some((frame.x(it.x), interval(it)?)));
                    let ends: Vec<_> =
                        ends.map(|(x, it)| (x, frame.y(it.0), frame.y(it.1))).collect();
                    let mut outline = thin(&ends.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>());
                    outline.extend(thin(
                        &ends.iter().rev().map(|it| (it.0, it.2)).collect::<Vec<_>>(),
                    ));
                    frame.path(polyline(&outline), "none", 0.0, Some((colour(index), 0.2)));
                }
            }
            let line: Vec<_> = run.iter().map(|it| (frame.x(it.x), frame.y(it.y))).collect();
            let path = match thin(&line).as_slice() {
                [(x, y)] => format!("M{x:.1} {y:.1}m-3 0h6"), // a point alone still shows
                line => polyline(line),
            };
            frame.dashed(path, colour(index), 2.0, dashes(index));
        }
    }

    fn markers(&self, frame: &mut Frame, index: usize, series: &Series) {
        if series.mark == Mark::Line {
            return;
        }
        let ink = colour(index);
        let (mut whiskers, mut markers) = (String::new(), String::new());
        let mut seen = std::collections::HashSet::new();
        let mut named = Vec::new();
        for point in series.points.iter().filter(|it| self.admits(it)) {
            let (x, y) = (frame.x(point.x), frame.y(point.y));
            if let Some(it) = Self::drawable(self.y.scale, point.y_interval) {
                whiskers += &whisker(frame.y(it.0), frame.y(it.1), x, true);
            }
            if let Some(it) = Self::drawable(self.x.scale, point.x_interval) {
                whiskers += &whisker(frame.x(it.0), frame.x(it.1), y, false);
            }
            let shape = marker(index, x, y);
            if !point.name.is_empty() {
                named.push((point, shape));
            } else if seen.insert([x, y].map(|it| (it / 2.0).round().to_bits())) {
                markers += &shape; // of those within two pixels, the first
            }
        }
        frame.path(whiskers, ink, 1.0, None);
        frame.path(markers, ink, 1.2, Some((ink, 0.7)));
        for (point, shape) in named {
            frame.titled(&point.describe(), |it| it.path(shape, ink, 1.2, Some((ink, 0.7))));
        }
    }
}

impl Mark {
    fn sample(self) -> Sample {
        match self {
            Self::Line => Sample::Line,
            Self::Points => Sample::Marker,
            Self::LineAndPoints => Sample::LineAndMarker,
        }
    }
}

impl Point {
    /// Name and values, for the title.
    fn describe(&self) -> String {
        let value = |value, interval: Option<(f64, f64)>| match interval {
            None => compact(value, 4),
            Some((low, high)) => {
                let [value, low, high] = [value, low, high].map(|it| compact(it, 4));
                format!("{value} [{low}, {high}]")
            }
        };
        let (x, y) = (value(self.x, self.x_interval), value(self.y, self.y_interval));
        format!("{}: {x}; {y}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;

    fn chart(mark: Mark, points: impl IntoIterator<Item = (f64, f64)>) -> XyChart {
        let axis = || Axis::log("value");
        let series = vec![Series::new("", mark, points)];
        XyChart { x: axis(), y: axis(), series, ..XyChart::default() }
    }

    /// The outlines in the colour of the first series.
    fn outlines(svg: &Svg) -> Vec<String> {
        let document = Document::parse(svg.as_str()).unwrap();
        let is_first = |it: &Node| it.attribute("stroke") == Some(colour(0));
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
        let (x, y) = XyChart { series, references, ..XyChart::default() }.ranges();
        assert_eq!(x, y);
        assert_eq!(x, (-4.0, 104.0)); // 4 % beyond 0 and 100
    }
}
