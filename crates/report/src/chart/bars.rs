//! Bars, side by side or stacked.

use kuva::render::render::TextAnchor;

use super::frame::{Frame, INK, Plan, Sample, Side};
use super::marks::{Area, hatching};
use super::text::text_width;
use super::{Axis, Scale, Size, Svg, colour};
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
    pub series: Vec<BarSeries>,
    /// Whether the bars of a group are parts of a whole and stand end to end, with their sum after
    /// them: negative ones to the left of zero, positive ones to the right.
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

/// A value for each category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend.
    pub name: String,
    /// By category; what is missing or not finite has no bar.
    pub values: Vec<Option<f64>>,
}

/// A bar: of which series, from where to where, and how much.
struct Bar {
    series: usize,
    from: f64,
    to: f64,
    value: f64,
}

impl BarChart {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let groups: Vec<Vec<Bar>> = (0..self.categories.len()).map(|it| self.group(it)).collect();
        let is_empty = groups.iter().all(Vec::is_empty);
        let ends = groups.iter().flatten().flat_map(|bar| [bar.from, bar.to]);
        let (low, high) = ends.fold((0.0, 0.0), |(a, b): (f64, f64), it| (a.min(it), b.max(it)));
        let high = if low < high { high } else { 1.0 };
        let room = 60.0 / (f64::from(self.width) - 300.0).max(120.0) * (high - low); // for a value
        let low_end = if low < 0.0 { low - room } else { 0.0 };
        let lanes = if self.stacked { 1 } else { self.series.len().max(1) };
        let group_height = lanes * if self.stacked { 30 } else { 18 } + 10;
        let height =
            u32::try_from(groups.len() * group_height).unwrap_or(u32::MAX).clamp(60, 90_000);
        let mut frame = Frame::new(&Plan {
            title: &self.title,
            size: Size { width: self.width, height: height + 110 },
            x: Side::Numbers {
                axis: Axis::linear(self.value_label.as_str()),
                range: (low_end, high + room),
            },
            y: Side::Names {
                label: String::new(),
                names: if groups.is_empty() {
                    vec![String::new()]
                } else {
                    self.categories.clone()
                },
            },
            legend: self
                .series
                .iter()
                .enumerate()
                .map(|(index, it)| (index, it.name.as_str(), Sample::Swatch))
                .collect(),
            remark: String::new(),
            right: 32.0,
        });
        for (index, group) in groups.iter().enumerate() {
            self.draw(&mut frame, index, group, lanes);
        }
        let Area { y, height, .. } = frame.area();
        let zero = frame.x(0.0);
        frame.path(format!("M{zero:.1} {y}v{height}"), INK, 1.0, None);
        let series: Vec<&str> = self.series.iter().map(|it| it.name.as_str()).collect();
        let description = format!("{} by category; {}", self.value_label, series.join(", "));
        frame.finish(if is_empty { "" } else { &description })
    }

    /// The bars of a category.
    fn group(&self, category: usize) -> Vec<Bar> {
        let (mut positive, mut negative) = (0.0, 0.0);
        let values =
            self.series.iter().map(|series| series.values.get(category).copied().flatten());
        let values = values.enumerate().filter_map(|(series, value)| Some((series, value?)));
        values
            .filter(|&(_, value)| Scale::Linear.admits(value))
            .map(|(series, value)| {
                let end = if value < 0.0 { &mut negative } else { &mut positive };
                let from = if self.stacked { *end } else { 0.0 };
                *end = from + value;
                Bar { series, from, to: from + value, value }
            })
            .collect()
    }

    fn draw(&self, frame: &mut Frame, category: usize, group: &[Bar], lanes: usize) {
        let lane_height = 0.76 / lanes as f64;
        for bar in group {
            let lane = if self.stacked { 0 } else { bar.series };
            let top = category as f64 + 0.62 + lane as f64 * lane_height;
            let (left, right) = (frame.x(bar.from.min(bar.to)), frame.x(bar.from.max(bar.to)));
            let (y, bottom) = (frame.y(top), frame.y(top + lane_height));
            let area = Area { x: left, y, width: right - left, height: 0.95 * (bottom - y) };
            let value = significant(bar.value, 3);
            let (name, series) = (&self.categories[category], &self.series[bar.series].name);
            frame.titled(&format!("{name}, {series}: {value}"), |frame| {
                frame.rectangle(area, colour(bar.series), None);
                frame.path(hatching(bar.series, area), "#fff9", 1.0, None);
                let width = text_width(&value, 11);
                let middle = y + area.height / 2.0 + 4.0;
                if !self.stacked {
                    value_beside(frame, bar.value, bar.to, middle, &value);
                } else if area.width > width + 8.0 {
                    // On a plate, since hatching runs under it.
                    let x = area.x + area.width / 2.0;
                    let plate = Area {
                        x: x - width / 2.0 - 3.0,
                        y: middle - 11.0,
                        width: width + 6.0,
                        height: 14.0,
                    };
                    frame.rectangle(plate, "#fff", Some(0.85));
                    frame.text(x, middle, &value, TextAnchor::Middle, "#000");
                }
            });
        }
        if self.stacked && !group.is_empty() {
            let sum: f64 = group.iter().map(|bar| bar.value).sum();
            let end = group.iter().map(|bar| bar.to).fold(0.0, f64::max);
            let middle = frame.y(category as f64 + 1.0) + 4.0;
            value_beside(frame, 1.0, end, middle, &significant(sum, 4));
        }
    }
}

/// Writes `text` after the end of a bar, on the side to which it points.
fn value_beside(frame: &mut Frame, direction: f64, end: f64, y: f64, text: &str) {
    let (gap, anchor) =
        if direction < 0.0 { (-5.0, TextAnchor::End) } else { (5.0, TextAnchor::Start) };
    frame.text(frame.x(end) + gap, y, text, anchor, INK);
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    #[test]
    fn parts_stand_end_to_end_on_their_side_of_zero_and_their_sum_after_them() {
        let series = [("a", 2.0), ("b", -1.0), ("c", 3.0), ("d", f64::NAN)]
            .map(|(name, value)| BarSeries { name: name.to_owned(), values: vec![Some(value)] });
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
        let [a, b, c] = ["x, a: 2.00", "x, b: −1.00", "x, c: 3.00"].map(bar);
        assert!((a.1 - c.0).abs() < 0.02 && (b.1 - a.0).abs() < 0.02, "{a:?} {b:?} {c:?}");
        assert!(((c.1 - c.0) - 1.5 * (a.1 - a.0)).abs() < 0.05, "{a:?} {c:?}");
        assert!(
            document.descendants().any(|it| it.has_tag_name("text") && it.text() == Some("4.000"))
        );
    }
}
