//! Bars, side by side or stacked.

use kuva::render::render::TextAnchor;

use super::by_category::{height, lane, legend, pens, side};
use super::canvas::{Canvas, SMALL, Sample};
use super::frame::{Frame, Plan, Side};
use super::look::{INK, Pen};
use super::marks::{Area, whisker};
use super::text::text_width;
use super::{Axis, CategorySeries, Estimate, Scale, Size, Svg};
use crate::significant;

/// Horizontal bars, one group a category, so that long names have room. Values stand in the bars or
/// beside them. The height follows from the number of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct BarChart {
    /// What it shows; empty for none.
    pub title: String,
    /// What a value is, with the unit.
    pub value_label: String,
    /// The names of the groups, from the top.
    pub categories: Vec<String>,
    /// What each group consists of.
    pub series: Vec<CategorySeries>,
    /// Whether the bars of a group are parts of a whole and stand end to end, with their sum after
    /// them: negative ones to the left of zero, positive ones to the right. Intervals are drawn only where
    /// they do not.
    pub stacked: bool,
    /// How wide, in CSS pixels.
    pub width: u32,
}

impl Default for BarChart {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: String::new(),
            categories: Vec::new(),
            series: Vec::new(),
            stacked: false,
            width: Size::WIDE.width,
        }
    }
}

/// A bar: of which series, from where to where, and what it stands for.
struct Bar {
    series: usize,
    from: f64,
    to: f64,
    estimate: Estimate,
}

impl BarChart {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let groups: Vec<Vec<Bar>> = (0..self.categories.len()).map(|it| self.group(it)).collect();
        let ends = groups.iter().flatten().flat_map(|bar| {
            let interval = bar.estimate.interval.filter(|_| !self.stacked);
            [bar.from, bar.to].into_iter().chain(interval.into_iter().flat_map(|it| [it.0, it.1]))
        });
        let (low, high) = ends.fold((0.0, 0.0), |(a, b): (f64, f64), it| (a.min(it), b.max(it)));
        let high = if low < high { high } else { 1.0 };
        let room = 60.0 / (f64::from(self.width) - 300.0).max(120.0) * (high - low); // for a value
        let range = (if low < 0.0 { low - room } else { 0.0 }, high + room);
        let (lanes, lane_height) =
            if self.stacked { (1, 30.0) } else { (self.series.len().max(1), 18.0) };
        let plan = Plan {
            title: &self.title,
            width: self.width,
            height: None,
            legend: legend(&self.series, Sample::Swatch),
            remark: String::new(),
            right: 32.0,
            x: Side::Numbers { axis: Axis::linear(self.value_label.as_str()), range },
            plots: vec![(side(&self.categories), height(groups.len(), lanes, lane_height))],
        };
        let (mut canvas, frames) = plan.draw();
        let pens = pens(&self.series);
        for frame in frames {
            if groups.iter().all(Vec::is_empty) {
                canvas.no_data(frame.area);
                return canvas.finish("no data");
            }
            for (index, group) in groups.iter().enumerate() {
                for bar in group {
                    self.draw(&mut canvas, frame, index, bar, &pens[bar.series]);
                }
                if self.stacked && !group.is_empty() {
                    total(&mut canvas, frame, index, group);
                }
            }
            let Area { y, height, .. } = frame.area;
            canvas.path(format!("M{:.1} {y}v{height}", frame.x(0.0)), INK, 1.0, None);
        }
        let names: Vec<&str> = self.series.iter().map(|it| it.name.as_str()).collect();
        canvas.finish(&format!("{} by category; {}", self.value_label, names.join(", ")))
    }

    /// The bars of a category.
    fn group(&self, category: usize) -> Vec<Bar> {
        let (mut positive, mut negative) = (0.0, 0.0);
        let values = self.series.iter().map(|it| it.drawable(category, Scale::Linear));
        let values = values.enumerate().filter_map(|(series, it)| Some((series, it?)));
        values
            .map(|(series, estimate)| {
                let value = estimate.value;
                let end = if value < 0.0 { &mut negative } else { &mut positive };
                let from = if self.stacked { *end } else { 0.0 };
                *end = from + value;
                Bar { series, from, to: from + value, estimate }
            })
            .collect()
    }

    fn draw(&self, canvas: &mut Canvas, frame: Frame, category: usize, bar: &Bar, pen: &Pen) {
        let (index, lanes) = if self.stacked { (0, 1) } else { (bar.series, self.series.len()) };
        let (top, bottom) = lane(category, index, lanes);
        let (y, bottom) = (frame.y(top), frame.y(bottom));
        let (left, right) = (frame.x(bar.from.min(bar.to)), frame.x(bar.from.max(bar.to)));
        let area = Area { x: left, y, width: right - left, height: 0.95 * (bottom - y) };
        let middle = y + area.height / 2.0;
        let (name, series) = (&self.categories[category], &self.series[bar.series].name);
        canvas.titled(&format!("{name}, {series}: {}", bar.estimate.describe()), |canvas| {
            canvas.swatch(area, pen);
            let value = significant(bar.estimate.value, 3);
            if self.stacked {
                value_within(canvas, area, &value);
                return;
            }
            let mut end = bar.to;
            if let Some((low, high)) = bar.estimate.interval {
                let outline = whisker(frame.x(low), frame.x(high), middle, false);
                canvas.path(outline.clone(), "#fff", 3.5, None); // so that it shows on any colour
                canvas.path(outline, "#000", 1.4, None);
                end = if bar.to < 0.0 { end.min(low) } else { end.max(high) };
            }
            value_beside(canvas, bar.to, frame.x(end), middle + 4.0, &value);
        });
    }
}

/// The sum of a stack, after its end.
fn total(canvas: &mut Canvas, frame: Frame, category: usize, group: &[Bar]) {
    let sum: f64 = group.iter().map(|bar| bar.estimate.value).sum();
    let end = group.iter().map(|bar| bar.to).fold(0.0, f64::max);
    let y = frame.y(category as f64 + 1.0) + 4.0;
    value_beside(canvas, 1.0, frame.x(end), y, &significant(sum, 4));
}

/// Writes a value into its bar, if there is room: on a plate, since hatching runs under it.
fn value_within(canvas: &mut Canvas, area: Area, value: &str) {
    let width = text_width(value, SMALL);
    if area.width > width + 8.0 {
        let (x, y) = (area.x + area.width / 2.0, area.y + area.height / 2.0 + 4.0);
        let plate =
            Area { x: x - width / 2.0 - 3.0, y: y - 11.0, width: width + 6.0, height: 14.0 };
        canvas.rectangle(plate, "#fff", Some(0.85));
        canvas.text(x, y, value, TextAnchor::Middle, "#000");
    }
}

/// Writes `text` after the end of a bar, on the side to which it points.
fn value_beside(canvas: &mut Canvas, direction: f64, end: f64, y: f64, text: &str) {
    let (gap, anchor) =
        if direction < 0.0 { (-5.0, TextAnchor::End) } else { (5.0, TextAnchor::Start) };
    canvas.text(end + gap, y, text, anchor, INK);
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    #[test]
    fn parts_stand_end_to_end_on_their_side_of_zero_and_their_sum_after_them() {
        let series = [("a", 2.0), ("b", -1.0), ("c", 3.0), ("d", f64::NAN)]
            .map(|(name, value)| CategorySeries::new(name, [Some(value)]));
        let categories = vec!["x".to_owned()];
        let chart =
            BarChart { categories, series: series.to_vec(), stacked: true, ..Default::default() };
        let ends: Vec<_> = chart.group(0).iter().map(|bar| (bar.from, bar.to)).collect();
        assert_eq!(ends, [(0.0, 2.0), (0.0, -1.0), (2.0, 5.0)]);

        let svg = chart.to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let bar = |title: &str| {
            let title = document.descendants().find(|it| it.text() == Some(title)).unwrap();
            let bar = title.next_siblings().find(|it| it.has_tag_name("rect")).unwrap();
            let number = |name| bar.attribute(name).unwrap().parse::<f64>().unwrap();
            (number("x"), number("x") + number("width"))
        };
        let [a, b, c] = ["x, a: 2.000", "x, b: −1.000", "x, c: 3.000"].map(bar);
        assert!((a.1 - c.0).abs() < 0.02 && (b.1 - a.0).abs() < 0.02, "{a:?} {b:?} {c:?}");
        assert!(((c.1 - c.0) - 1.5 * (a.1 - a.0)).abs() < 0.05, "{a:?} {c:?}");
        assert!(
            document.descendants().any(|it| it.has_tag_name("text") && it.text() == Some("4.000"))
        );
    }
}
