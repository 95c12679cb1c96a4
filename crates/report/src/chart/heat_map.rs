//! A grid of values as colours.

use kuva::plot::ColorMap;
use kuva::render::render::TextAnchor;
use kuva::render::render_utils::generate_ticks;

use super::canvas::{Canvas, SMALL};
use super::frame::{Frame, Plan, Side};
use super::look::INK;
use super::marks::{Area, hatching};
use super::text::{fit, fit_all, text_width};
use super::{Scale, Size, Svg};
use crate::significant;
use crate::spelling::compact;

/// From how many rows on the names of the columns stand above the plot, too.
const MANY_ROWS: usize = 25;

/// Rows and columns of values, each a coloured cell, with its value in it where there is room and as
/// its title always. A cell without a finite value is grey and hatched. The height follows from the
/// number of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// What it shows; empty for none.
    pub title: String,
    /// What a value is, with the unit: stands beside the scale of colours.
    pub value_label: String,
    /// What the rows are; empty for none.
    pub row_label: String,
    /// What the columns are; empty for none.
    pub column_label: String,
    /// The names of the rows, from the top.
    pub rows: Vec<String>,
    /// The names of the columns, from the left.
    pub columns: Vec<String>,
    /// The values, by row and column. What is missing is a cell without a value; what has neither row
    /// nor column is not drawn.
    pub values: Vec<Vec<Option<f64>>>,
    /// From values to colours.
    pub scale: ColourScale,
    /// The values at the ends of the scale, the lower first, such as 0 and 1 for shares; values beyond
    /// have the colour of the end. `None`, or what is no such range: what the values span.
    pub range: Option<(f64, f64)>,
    /// How wide, in CSS pixels.
    pub width: u32,
}

impl Default for HeatMap {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: String::new(),
            row_label: String::new(),
            column_label: String::new(),
            rows: Vec::new(),
            columns: Vec::new(),
            values: Vec::new(),
            scale: ColourScale::Diverging,
            range: None,
            width: Size::WIDE.width,
        }
    }
}

/// From values to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourScale {
    /// Orange below the middle, white there, purple above. The middle is zero, unless a range is given.
    Diverging,
    /// From light to dark blue, from the smallest to the largest value.
    Sequential,
}

impl HeatMap {
    /// Draws it.
    pub fn to_svg(&self) -> Svg {
        let is_empty = self.rows.is_empty() || self.columns.is_empty();
        let (low, high) = self.range();
        let names = |label: &str, names: &[String]| Side::Names {
            label: label.to_owned(),
            names: if is_empty { vec![String::new()] } else { names.to_vec() },
        };
        let row_height = if self.rows.len() > 60 { 15.0 } else { 20.0 };
        let plan = Plan {
            title: &self.title,
            width: self.width,
            height: None,
            legend: Vec::new(),
            remark: String::new(),
            right: 110.0,
            x: names(&self.column_label, &self.columns),
            plots: vec![(
                names(&self.row_label, &self.rows),
                (self.rows.len() as f64 * row_height).clamp(80.0, 90_000.0),
            )],
        };
        let (mut canvas, frames) = plan.draw();
        for frame in frames {
            if is_empty {
                canvas.no_data(frame.area);
                return canvas.finish("no data");
            }
            self.cells(&mut canvas, frame, (low, high));
            if self.rows.len() > MANY_ROWS {
                self.names_above(&mut canvas, frame);
            }
            self.key(&mut canvas, frame, (low, high));
        }
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let [low, high] = [low, high].map(|it| compact(it, 3));
        canvas.finish(&format!(
            "{}, {rows} rows by {columns} columns, colours from {low} to {high}",
            self.value_label
        ))
    }

    fn cells(&self, canvas: &mut Canvas, frame: Frame, range: (f64, f64)) {
        for (row, name) in self.rows.iter().enumerate() {
            for (column, column_name) in self.columns.iter().enumerate() {
                let value = self.value(row, column);
                let shown = value.map_or("no value".to_owned(), |it| compact(it, 4));
                canvas.titled(&format!("{name}, {column_name}: {shown}"), |canvas| {
                    let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
                    let (left, top) = (frame.x(x), frame.y(y));
                    let (width, height) = (frame.x(x + 1.0) - left, frame.y(y + 1.0) - top);
                    let gap = (0.2 * width.min(height)).clamp(0.0, 0.5);
                    let (x, y) = (left + gap, top + gap);
                    let area = Area { x, y, width: width - 2.0 * gap, height: height - 2.0 * gap };
                    self.cell(canvas, area, value, range);
                });
            }
        }
    }

    fn value(&self, row: usize, column: usize) -> Option<f64> {
        let value = self.values.get(row)?.get(column).copied().flatten();
        value.filter(|&it| Scale::Linear.admits(it))
    }

    /// The ends of the scale.
    fn range(&self) -> (f64, f64) {
        let given = Scale::Linear.drawable(self.range).filter(|(low, high)| low < high);
        if let Some(range) = given {
            return range;
        }
        let cells =
            (0..self.rows.len()).flat_map(|row| (0..self.columns.len()).map(move |it| (row, it)));
        let values = cells.filter_map(|(row, column)| self.value(row, column));
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), it| (a.min(it), b.max(it)));
        match self.scale {
            _ if low > high => (-1.0, 1.0),
            ColourScale::Diverging => {
                let far = low.abs().max(high.abs());
                if far > 0.0 { (-far, far) } else { (-1.0, 1.0) }
            }
            ColourScale::Sequential if low < high => (low, high),
            ColourScale::Sequential => (low - 1.0, low + 1.0),
        }
    }

    fn colour(&self, share: f64) -> (u8, u8, u8) {
        let colour = match self.scale {
            ColourScale::Diverging => ColorMap::PurpleOrange.map_rgb(1.0 - share),
            ColourScale::Sequential => ColorMap::Blues.map_rgb(share),
        };
        colour.unwrap_or_default() // only custom maps have none
    }

    fn cell(&self, canvas: &mut Canvas, area: Area, value: Option<f64>, range: (f64, f64)) {
        let Some(value) = value else {
            canvas.rectangle(area, "#bbb", None);
            canvas.path(hatching(1, area), "#777", 1.0, None);
            return;
        };
        let (red, green, blue) =
            self.colour(((value - range.0) / (range.1 - range.0)).clamp(0.0, 1.0));
        canvas.rectangle(area, &format!("#{red:02x}{green:02x}{blue:02x}"), None);
        let text = significant(value, 2);
        if area.width > text_width(&text, SMALL) + 4.0 && area.height > 12.0 {
            let light = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
            let ink = if light > 115.0 { "#000" } else { "#fff" };
            let (x, y) = (area.x + area.width / 2.0, area.y + area.height / 2.0 + 4.0);
            canvas.text(x, y, &text, TextAnchor::Middle, ink);
        }
    }

    /// The names of the columns once more, for whoever does not see the lower end.
    fn names_above(&self, canvas: &mut Canvas, frame: Frame) {
        let room = frame.x(1.5) - frame.x(0.5) - 4.0;
        for (column, text) in fit_all(&self.columns, SMALL, room).iter().enumerate() {
            if text.len() > 4 || *text == self.columns[column] {
                let (x, y) = (frame.x(column as f64 + 1.0), frame.area.y - 5.0);
                canvas.text(x, y, text, TextAnchor::Middle, INK);
            }
        }
    }

    /// The scale of colours, to the right of the plot, and what a cell without a value looks like.
    fn key(&self, canvas: &mut Canvas, frame: Frame, (low, high): (f64, f64)) {
        const STEPS: u8 = 32;
        let plot = frame.area;
        let (x, height) = (plot.x + plot.width + 36.0, plot.height.min(240.0));
        let step = height / f64::from(STEPS);
        for index in 0..STEPS {
            let (red, green, blue) = self.colour(f64::from(index) / f64::from(STEPS - 1));
            let y = plot.y + height - f64::from(index + 1) * step;
            let area = Area { x, y, width: 16.0, height: step + 0.3 };
            canvas.rectangle(area, &format!("#{red:02x}{green:02x}{blue:02x}"), None);
        }
        for tick in generate_ticks(low, high, 4).into_iter().filter(|it| (low..=high).contains(it))
        {
            let y = plot.y + height * (high - tick) / (high - low);
            canvas.path(format!("M{} {y:.1}h4", x + 16.0), INK, 1.0, None);
            let text = compact(if tick.abs() < 1e-9 * (high - low) { 0.0 } else { tick }, 3);
            canvas.text(x + 23.0, y + 4.0, &text, TextAnchor::Start, INK);
        }
        let label = fit(&self.value_label, SMALL, height);
        canvas.upward_text(x - 8.0, plot.y + height / 2.0, &label);
        let has_gaps = (0..self.rows.len())
            .any(|row| (0..self.columns.len()).any(|column| self.value(row, column).is_none()));
        if has_gaps {
            // Below the plot, where the row of the column names is free.
            let area =
                Area { x: x - 20.0, y: plot.y + plot.height + 14.0, width: 16.0, height: 12.0 };
            self.cell(canvas, area, None, (low, high));
            canvas.text(x + 1.0, plot.y + plot.height + 24.0, "no value", TextAnchor::Start, INK);
        }
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    #[test]
    fn a_cell_has_its_colour_its_value_and_its_title() {
        let long = "transformer.h.0.attn.c_attn.weight.of.a.long.name".to_owned();
        let svg = HeatMap {
            rows: vec![long.clone()],
            columns: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            values: vec![vec![Some(-2.0), Some(0.0), Some(2.0), Some(f64::NAN)]],
            ..HeatMap::default()
        }
        .to_svg();
        let document = Document::parse(svg.as_str()).unwrap();
        let cell = |title: &str| {
            let title = document.descendants().find(|it| it.text() == Some(title)).unwrap();
            let cell = title.ancestors().find(|it| it.has_tag_name("g")).unwrap();
            let fill = cell.children().find_map(|it| it.attribute("fill")).unwrap();
            let text = cell.children().find(|it| it.has_tag_name("text"));
            (fill, text.and_then(|it| it.text()))
        };
        let at = |column: &str| format!("{long}, {column}");
        assert_eq!(cell(&format!("{}: −2", at("a"))), ("#7e3a08", Some("−2.0")));
        let (middle, text) = cell(&format!("{}: 0", at("b")));
        assert!(middle.starts_with("#f") && text == Some("0"), "{middle}"); // near white
        assert_eq!(cell(&format!("{}: 2", at("c"))), ("#2d004b", Some("2.0")));
        assert_eq!(cell(&format!("{}: no value", at("d"))), ("#bbbbbb", None));
        let shortened = document.descendants().find(|it| it.text() == Some(&long)).unwrap();
        assert!(shortened.has_tag_name("title"));
    }

    #[test]
    fn a_diverging_scale_reaches_as_far_on_both_sides() {
        let range = |scale, value| {
            let name = || vec![String::new()];
            let values = vec![vec![value]];
            HeatMap { rows: name(), columns: name(), values, scale, ..HeatMap::default() }.range()
        };
        assert_eq!(range(ColourScale::Diverging, Some(-0.5)), (-0.5, 0.5));
        assert_eq!(range(ColourScale::Diverging, None), (-1.0, 1.0));
        assert_eq!(range(ColourScale::Sequential, Some(3.0)), (2.0, 4.0));
    }

    #[test]
    fn a_given_range_is_that_of_the_colours_also_for_values_beyond() {
        let colours = |range| {
            let svg = HeatMap {
                rows: vec!["misc".to_owned()],
                columns: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
                values: vec![[0.0, 0.5, 1.0, 7.0].map(Some).to_vec()],
                range,
                ..HeatMap::default()
            }
            .to_svg();
            let document = Document::parse(svg.as_str()).unwrap();
            let cells = document.descendants().filter(|it| it.has_tag_name("rect")).take(4);
            cells.map(|it| it.attribute("fill").unwrap().to_owned()).collect::<Vec<_>>()
        };
        let [low, middle, high, beyond] = &colours(Some((0.0, 1.0)))[..] else { panic!() };
        assert_eq!((low.as_str(), high.as_str(), beyond), ("#7e3a08", "#2d004b", high));
        assert!(middle.starts_with("#f"), "{middle}"); // near white
        // What is no range is as none: up to 7 on both sides of zero.
        for none in [(1.0, 0.0), (0.0, f64::NAN)] {
            assert_eq!(colours(Some(none)), colours(None));
        }
    }
}
