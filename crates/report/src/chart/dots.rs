//! Values by category as dots, on an axis that need not begin at zero.

use kuva::render::render::TextAnchor;

use super::axis::range;
use super::by_category::{height, lane, legend, pens, side};
use super::canvas::{Canvas, Sample};
use super::frame::{Frame, GRID, Plan, Side};
use super::look::{INK, Pen};
use super::marks::{across, marker, stroke, whisker};
use super::plot::upward;
use super::{Axis, CategorySeries, Estimate, Size, Svg};
use crate::significant;

/// A dot for each series in each category, with its interval and its value beside it. Bars begin at zero;
/// where the differences are small beside the values, as those of bounds are, dots show them. The height
/// follows from the number of dots.
#[derive(Debug, Clone, PartialEq)]
pub struct DotPlot {
    /// What it shows; empty for none.
    pub title: String,
    /// What a value is, with the unit, and how its axis runs.
    pub values: Axis,
    /// The names of the groups, from the top.
    pub categories: Vec<String>,
    /// What each group consists of, from the top.
    pub series: Vec<CategorySeries>,
    /// A value to compare with, which the axis then reaches, and what stands beside its line.
    pub reference: Option<(f64, String)>,
    /// How wide, in CSS pixels.
    pub width: u32,
}

impl Default for DotPlot {
    fn default() -> Self {
        Self {
            title: String::new(),
            values: Axis::default(),
            categories: Vec::new(),
            series: Vec::new(),
            reference: None,
            width: Size::WIDE.width,
        }
    }
}

impl DotPlot {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let scale = self.values.scale;
        let drawable = |category| self.series.iter().map(move |it| it.drawable(category, scale));
        let shown = || (0..self.categories.len()).flat_map(drawable).flatten();
        let reference = self.reference.as_ref().filter(|(at, _)| scale.admits(*at));
        let values = shown().flat_map(Estimate::values).chain(reference.map(|(at, _)| *at));
        let range = range(values, scale);
        let lanes = self.series.len().max(1);
        let plan = Plan {
            title: &self.title,
            width: self.width,
            height: None,
            legend: legend(&self.series, Sample::Marker),
            remark: String::new(),
            right: 90.0, // for the value beside the last dot
            x: Side::Numbers { axis: self.values.clone(), range },
            plots: vec![(side(&self.categories), height(self.categories.len(), lanes, 18.0))],
        };
        let (mut canvas, frames) = plan.draw();
        let pens = pens(&self.series);
        for frame in frames {
            if shown().next().is_none() {
                canvas.no_data(frame.area);
                return canvas.finish("no data");
            }
            if let Some((at, label)) = reference {
                upward(&mut canvas, frame, *at, label, 0);
            }
            for (category, name) in self.categories.iter().enumerate() {
                if category > 0 {
                    separate(&mut canvas, frame, category);
                }
                for (index, (series, pen)) in self.series.iter().zip(&pens).enumerate() {
                    let Some(estimate) = series.drawable(category, scale) else { continue };
                    let (top, bottom) = lane(category, index, lanes);
                    let y = frame.y(f64::midpoint(top, bottom));
                    let title = format!("{name}, {}: {}", series.name, estimate.describe());
                    canvas.titled(&title, |it| dot(it, frame, y, estimate, pen));
                }
            }
        }
        let names: Vec<&str> = self.series.iter().map(|it| it.name.as_str()).collect();
        canvas.finish(&format!("{} by category; {}", self.values.label, names.join(", ")))
    }
}

/// A thin line above a category.
fn separate(canvas: &mut Canvas, frame: Frame, category: usize) {
    let y = frame.y(category as f64 + 0.5);
    canvas.path(across(frame.area.x, y, frame.area.width), GRID, 1.0, None);
}

fn dot(canvas: &mut Canvas, frame: Frame, y: f64, estimate: Estimate, pen: &Pen) {
    let Pen { colour, shape } = pen;
    if let Some((low, high)) = estimate.interval {
        canvas.path(whisker(frame.x(low), frame.x(high), y, false), colour, 1.4, None);
    }
    let x = frame.x(estimate.value);
    canvas.path(marker(*shape, x, y), colour, stroke(*shape), Some((colour, 1.0)));
    let end = estimate.values().map(|it| frame.x(it)).fold(x + 3.0, f64::max);
    let text = significant(estimate.value, 4);
    canvas.text(end + 6.0, y + 4.0, &text, TextAnchor::Start, INK);
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    #[test]
    fn dots_stand_under_one_another_where_their_values_are() {
        let estimate = |value| Some(Estimate { value, interval: Some((value - 0.1, value + 0.1)) });
        let svg = DotPlot {
            values: Axis::linear("bits per token"),
            categories: vec!["1000".to_owned(), "2000".to_owned()],
            series: vec![
                CategorySeries::new("uniform", [estimate(6.0), estimate(5.0)]),
                CategorySeries::new("learned", [estimate(5.0), None]),
            ],
            ..DotPlot::default()
        }
        .to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let dot = |title: &str| -> (f64, f64) {
            let title = document.descendants().find(|it| it.text() == Some(title)).unwrap();
            let is_dot = |it: &roxmltree::Node| it.attribute("fill").is_some_and(|it| it != "none");
            let path = title.next_siblings().filter(|it| it.has_tag_name("path")).find(is_dot);
            let start = path.unwrap().attribute("d").unwrap()[1..].split('m').next().unwrap();
            let (x, y) = start.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        let first = dot("1000, uniform: 6.000 [5.900, 6.100]");
        let second = dot("1000, learned: 5.000 [4.900, 5.100]");
        let third = dot("2000, uniform: 5.000 [4.900, 5.100]");
        let [(x1, y1), (x2, y2), (x3, y3)] = [first, second, third];
        assert!((x2 - x3).abs() < 0.05 && x1 > x2 + 100.0, "{x1} {x2} {x3}");
        assert!(y1 < y2 && y2 < y3, "{y1} {y2} {y3}");
    }

    #[test]
    fn the_axis_reaches_what_the_dots_are_compared_with() {
        let line = |reference: Option<(f64, String)>| {
            let series = vec![CategorySeries::new("uniform", [Some(5.0)])];
            let categories = vec!["1000".to_owned()];
            let svg = DotPlot { categories, series, reference, ..DotPlot::default() }.to_svg();
            (svg.as_str().contains("stroke-dasharray"), svg.as_str().contains(">vacuous</text>"))
        };
        let vacuous = |at| Some((at, "vacuous".to_owned()));
        assert_eq!(line(vacuous(8.0)), (true, true));
        assert_eq!(line(None), (false, false));
        assert_eq!(line(vacuous(f64::NAN)), (false, false));
    }
}
