//! What stands above a plot: the title, a sample of each series with its name, and a remark.

use kuva::render::render::TextAnchor;

use super::canvas::{Canvas, SMALL, Sample, TITLE};
use super::look::{INK, Pen};
use super::text::{fit, fit_all, text_width, wrap};

/// The most lines of a title.
const LINES: usize = 3;
/// The widest name in a legend.
const WIDEST: f64 = 420.0;
/// From the start of a sample to its name.
const SAMPLE: f64 = 32.0;
/// Between an entry and the next.
const GAP: f64 = 20.0;
const MARGIN: f64 = 16.0;

/// A series in the legend.
pub(crate) struct Entry<'a> {
    pub(crate) pen: Pen,
    pub(crate) sample: Sample,
    pub(crate) name: &'a str,
}

/// What stands above a plot, broken into lines.
pub(crate) struct Heading<'a> {
    title: Vec<String>,
    rows: Vec<Vec<Item<'a>>>,
}

/// An entry of the legend, or the remark, and where it begins.
struct Item<'a> {
    x: f64,
    entry: Option<&'a Entry<'a>>,
    text: String,
}

impl<'a> Heading<'a> {
    /// For a chart that is `width` pixels wide.
    pub(crate) fn new(title: &str, legend: &'a [Entry<'a>], remark: &str, width: f64) -> Self {
        let room = width - 1.5 * MARGIN;
        let names: Vec<&str> = legend.iter().map(|it| it.name).collect();
        let names = fit_all(&names, SMALL, (room - SAMPLE).min(WIDEST));
        let entries = legend.iter().map(Some).zip(names);
        let remark = (!remark.is_empty()).then(|| (None, fit(remark, SMALL, room)));
        let (mut rows, mut left) = (Vec::<Vec<Item>>::new(), 0.0);
        for (entry, text) in entries.chain(remark) {
            let needed = text_width(&text, SMALL) + if entry.is_some() { SAMPLE } else { 0.0 };
            if rows.is_empty() || left < needed {
                rows.push(Vec::new());
                left = room;
            }
            if let Some(row) = rows.last_mut() {
                row.push(Item { x: MARGIN + room - left, entry, text });
            }
            left -= needed + GAP;
        }
        Self { title: wrap(title, TITLE, width - 2.0 * MARGIN, LINES), rows }
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() { 8.0 } else { 16.0 + 18.0 * self.title.len() as f64 }
    }

    /// In pixels, from the upper edge of the chart to that of the plot.
    pub(crate) fn height(&self) -> f64 {
        self.title_height() + 18.0 * self.rows.len() as f64 + 10.0
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        for (index, line) in self.title.iter().enumerate() {
            canvas.title_text(MARGIN, 24.0 + 18.0 * index as f64, line);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = self.title_height() + 18.0 * index as f64 + 6.0;
            for Item { x, entry, text } in row {
                let Some(entry) = entry else {
                    canvas.text(*x, y + 4.0, text, TextAnchor::Start, INK);
                    continue;
                };
                canvas.sample(&entry.pen, entry.sample, *x, y);
                canvas.named(entry.name, text, |it| {
                    it.text(x + SAMPLE, y + 4.0, text, TextAnchor::Start, INK);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::*;

    #[test]
    fn twelve_layers_and_the_rest_have_three_lines_in_half_a_page() {
        let names: Vec<String> =
            (0..12).map(|it| format!("layer {it}")).chain(["misc".to_owned()]).collect();
        let entry =
            |(place, name)| Entry { pen: Look::Place.pen(place), sample: Sample::Line, name };
        let legend: Vec<_> = names.iter().map(String::as_str).enumerate().map(entry).collect();
        let heading = Heading::new("Gates", &legend, "not shown: 1 of 2 points", 500.0);
        let texts = |row: &Vec<Item>| row.iter().map(|it| it.text.clone()).collect::<Vec<_>>();
        let rows: Vec<_> = heading.rows.iter().map(texts).collect();
        assert_eq!(rows.concat()[..13], names);
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 4]);
        // One line of a title is 34 pixels, three of the legend 54, and the gap to the plot 10.
        assert!((heading.height() - 98.0).abs() < 1e-9);
        assert!((Heading::new("", &[], "", 500.0).height() - 18.0).abs() < 1e-9);
    }
}
