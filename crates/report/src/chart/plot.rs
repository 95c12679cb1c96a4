//! One plot of an [`XyChart`](super::XyChart) or of [`Panels`](super::Panels): what is drawn in a frame.

use kuva::render::render::TextAnchor;

use super::axis::range;
use super::canvas::{Canvas, SMALL, Sample};
use super::frame::Frame;
use super::legend::Entry;
use super::look::{INK, Pen};
use super::marks::{Area, dashes, marker, polyline, steps, stroke, whisker};
use super::text::{fit, text_width};
use super::thin::thin;
use super::{Axis, Mark, Point, Reference, Series};
use crate::spelling::compact;

type Range = (f64, f64);

/// What one plot shows.
pub(crate) struct Plot<'a> {
    pub(crate) x: &'a Axis,
    pub(crate) y: &'a Axis,
    pub(crate) series: &'a [Series],
    pub(crate) references: &'a [Reference],
    /// The place of the first series in the chart.
    pub(crate) first: usize,
}

impl Plot<'_> {
    /// How many points there are, and how many of them have a place.
    pub(crate) fn count(&self) -> (usize, usize) {
        let points = || self.series.iter().flat_map(|it| &it.points);
        (points().count(), points().filter(|it| self.admits(it)).count())
    }

    /// In words, for whoever does not see it.
    pub(crate) fn describe(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|it| it.name.as_str()).collect();
        let (x, y) = (&self.x.label, &self.y.label);
        match self.count().1 {
            0 => "no data".to_owned(),
            shown => format!("{y} against {x}, {shown} points; {}", names.join(", ")),
        }
    }

    fn admits(&self, point: &Point) -> bool {
        self.x.scale.admits(point.x) && self.y.scale.admits(point.y)
    }

    /// The values that have to be within the ranges of the axes.
    pub(crate) fn values(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for point in self.series.iter().flat_map(|it| &it.points).filter(|it| self.admits(it)) {
            xs.extend(self.x.scale.drawable(point.x_interval).iter().flat_map(|it| [it.0, it.1]));
            ys.extend(self.y.scale.drawable(point.y_interval).iter().flat_map(|it| [it.0, it.1]));
            xs.push(point.x);
            ys.push(point.y);
        }
        if self.count().1 > 0 {
            for reference in self.references {
                match reference {
                    Reference::Vertical { at, .. } => xs.push(*at),
                    Reference::Horizontal { at, .. } => ys.push(*at),
                    Reference::Between { from, to, .. } => ys.extend([*from, *to]),
                    Reference::Diagonal { .. } => {}
                }
            }
        }
        (xs, ys)
    }

    /// The ranges of both axes, for a plot that has a chart for itself.
    pub(crate) fn ranges(&self) -> (Range, Range) {
        let (mut xs, mut ys) = self.values();
        if self.references.iter().any(|it| matches!(it, Reference::Diagonal { .. })) {
            xs.extend_from_slice(&ys);
            ys.clone_from(&xs);
        }
        (range(xs.into_iter(), self.x.scale), range(ys.into_iter(), self.y.scale))
    }

    /// Each series with its pen.
    fn pens(&self) -> impl Iterator<Item = (&Series, Pen)> {
        let places = self.series.iter().enumerate();
        places.map(|(place, series)| (series, series.look.pen(self.first + place)))
    }

    /// The series that have names.
    pub(crate) fn legend(&self) -> impl Iterator<Item = Entry<'_>> {
        let named = self.pens().filter(|(series, _)| !series.name.is_empty());
        named.map(|(series, pen)| Entry { pen, sample: series.mark.sample(), name: &series.name })
    }

    /// Draws everything within the axes, `x_range` and `y_range` of which are shown.
    pub(crate) fn draw(&self, canvas: &mut Canvas, frame: Frame, ranges: (Range, Range)) {
        if self.count().1 == 0 {
            canvas.no_data(frame.area);
            return;
        }
        for (index, reference) in self.references.iter().enumerate() {
            self.reference(canvas, frame, ranges, index, reference);
        }
        let mut pens: Vec<_> = self.pens().collect();
        pens.sort_by_key(|it| it.0.mark.level()); // and otherwise in their order
        for (series, pen) in pens {
            self.lines(canvas, frame, series, &pen);
            self.markers(canvas, frame, series, &pen);
        }
    }

    fn reference(
        &self,
        canvas: &mut Canvas,
        frame: Frame,
        ranges: (Range, Range),
        index: usize,
        reference: &Reference,
    ) {
        let Area { x, width, .. } = frame.area;
        let right = x + width;
        match reference {
            Reference::Vertical { at, label } if self.x.scale.admits(*at) => {
                upward(canvas, frame, *at, label, index);
            }
            Reference::Horizontal { at, label } if self.y.scale.admits(*at) => {
                let place = frame.y(*at);
                canvas.dashed(format!("M{x} {place:.1}H{right}"), INK, 1.2, Some("5 4".to_owned()));
                let text = fit(label, SMALL, width - 8.0);
                canvas.text(right - 4.0, place - 4.0, &text, TextAnchor::End, INK);
            }
            Reference::Between { from, to, label }
                if self.y.scale.admits(*from) && self.y.scale.admits(*to) =>
            {
                let (top, low) = (frame.y(from.max(*to)), frame.y(from.min(*to)));
                let band = Area { x, y: top, width, height: low - top };
                canvas.rectangle(band, "#888", Some(0.14));
                let text = fit(label, SMALL, width - 8.0);
                canvas.text(x + 6.0, top + 13.0, &text, TextAnchor::Start, INK);
            }
            Reference::Diagonal { label } => self.diagonal(canvas, frame, ranges, label),
            Reference::Vertical { .. }
            | Reference::Horizontal { .. }
            | Reference::Between { .. } => {}
        }
    }

    /// Where both values are the same, as far as both axes reach.
    fn diagonal(&self, canvas: &mut Canvas, frame: Frame, ranges: (Range, Range), label: &str) {
        let (from, to) = (ranges.0.0.max(ranges.1.0), ranges.0.1.min(ranges.1.1));
        if self.x.scale != self.y.scale || from >= to {
            return;
        }
        let [(x1, y1), (x2, y2)] = [from, to].map(|it| (frame.x(it), frame.y(it)));
        let dash = Some("5 4".to_owned());
        canvas.dashed(polyline(&[(x1, y1), (x2, y2)]), INK, 1.2, dash);
        // Below the line, however long the label is.
        let text = fit(label, SMALL, (x2 - x1) / 2.0);
        let below = (text_width(&text, SMALL) + 12.0) * (y1 - y2) / (x2 - x1) + 16.0;
        canvas.text(x2 - 6.0, y2 + below, &text, TextAnchor::End, INK);
    }

    fn lines(&self, canvas: &mut Canvas, frame: Frame, series: &Series, pen: &Pen) {
        if series.mark == Mark::Points {
            return;
        }
        for run in series.points.split(|point| !self.admits(point)) {
            if series.mark == Mark::Line {
                self.shade(canvas, frame, run, pen);
            }
            let mut line: Vec<_> = run.iter().map(|it| (frame.x(it.x), frame.y(it.y))).collect();
            if series.mark == Mark::Steps {
                line = steps(&line);
            }
            let path = match thin(&line).as_slice() {
                [(x, y)] => format!("M{x:.1} {y:.1}m-3 0h6"), // a point alone still shows
                line => polyline(line),
            };
            canvas.dashed(path, &pen.colour, 2.0, dashes(pen.shape));
        }
    }

    /// The vertical intervals of a line without gaps.
    fn shade(&self, canvas: &mut Canvas, frame: Frame, run: &[Point], pen: &Pen) {
        let interval = |it: &Point| self.y.scale.drawable(it.y_interval);
        for run in run.split(|point| interval(point).is_none()) {
            let ends = run.iter().filter_map(|it| Some((frame.x(it.x), interval(it)?)));
            let (low, high): (Vec<_>, Vec<_>) =
                ends.map(|(x, it)| ((x, frame.y(it.0)), (x, frame.y(it.1)))).unzip();
            let mut outline = thin(&low);
            outline.extend(thin(&high).into_iter().rev());
            canvas.path(polyline(&outline), "none", 0.0, Some((&pen.colour, 0.2)));
        }
    }

    fn markers(&self, canvas: &mut Canvas, frame: Frame, series: &Series, pen: &Pen) {
        if matches!(series.mark, Mark::Line | Mark::Steps) {
            return;
        }
        let Pen { colour, shape } = pen;
        let (mut whiskers, mut markers) = (String::new(), String::new());
        let mut seen = std::collections::HashSet::new();
        let mut named = Vec::new();
        for point in series.points.iter().filter(|it| self.admits(it)) {
            let (x, y) = (frame.x(point.x), frame.y(point.y));
            if let Some(it) = self.y.scale.drawable(point.y_interval) {
                whiskers += &whisker(frame.y(it.0), frame.y(it.1), x, true);
            }
            if let Some(it) = self.x.scale.drawable(point.x_interval) {
                whiskers += &whisker(frame.x(it.0), frame.x(it.1), y, false);
            }
            let outline = marker(*shape, x, y);
            if !point.name.is_empty() {
                named.push((point, outline));
            } else if seen.insert([x, y].map(|it| (it / 2.0).round().to_bits())) {
                markers += &outline; // of those within two pixels, the first
            }
        }
        canvas.path(whiskers, colour, 1.3, None);
        canvas.path(markers, colour, stroke(*shape), Some((colour, 0.7)));
        for (point, outline) in named {
            canvas.titled(&point.describe(), |it| {
                it.path(outline, colour, stroke(*shape), Some((colour, 0.7)));
            });
        }
    }
}

/// A dashed line upwards at the value `at`, and beside it `label`, below those of `index` others.
pub(crate) fn upward(canvas: &mut Canvas, frame: Frame, at: f64, label: &str, index: usize) {
    let Area { x, y, width, height } = frame.area;
    let place = frame.x(at);
    canvas.dashed(format!("M{place:.1} {y}V{}", y + height), INK, 1.2, Some("5 4".to_owned()));
    let text = fit(label, SMALL, width / 2.0);
    let is_left = place + text_width(&text, SMALL) + 8.0 > x + width;
    let (anchor, gap) = if is_left { (TextAnchor::End, -5.0) } else { (TextAnchor::Start, 5.0) };
    canvas.text(place + gap, y + 12.0 + 14.0 * index as f64, &text, anchor, INK);
}

impl Mark {
    /// Of marks that lie on one another, which is further up: steps, such as a frontier, run below the
    /// points that make them; a line, such as a fit, over those that it has to be seen beside.
    fn level(self) -> u8 {
        match self {
            Self::Steps => 0,
            Self::Points | Self::LineAndPoints => 1,
            Self::Line => 2,
        }
    }

    fn sample(self) -> Sample {
        match self {
            Self::Line | Self::Steps => Sample::Line,
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
