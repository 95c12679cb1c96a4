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
