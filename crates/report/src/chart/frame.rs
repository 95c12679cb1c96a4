//! The frame of a chart: title, legend, axes, and the way from values to pixels.
//!
//! `kuva` lays out the axes and writes the SVG. What it does not do is done here: a legend above the
//! plot, names in titles, values below $10^{-10}$ on a logarithmic axis (it clamps there, so values are
//! drawn multiplied by a power of ten and the tick labels divide again), and no mark of its version in
//! the file.

use kuva::backend::svg::SvgBackend;
use kuva::render::axis::{add_axes_and_grid, add_labels_and_title};
use kuva::render::layout::{AxisLabelOverlap, ComputedLayout, Layout};
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor};
use kuva::render::theme::Theme;
use maud::Render as _;

use super::axis::{factor, ticks};
use super::marks::{Area, dashes, hatching, marker, tenths};
use super::text::{fit, text_width};
use super::{Axis, Scale, Size, Svg, colour};
use crate::spelling::shorten;

pub(crate) const INK: &str = "currentColor";
const FONTS: &str = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif";
const TITLE: u32 = 14;
const SMALL: u32 = 11;

/// One of the two axes.
pub(crate) enum Side {
    /// Numbers.
    Numbers { axis: Axis, range: (f64, f64) },
    /// Names, at 1, 2, ...
    Names { label: String, names: Vec<String> },
}

/// What stands for a series in the legend.
#[derive(Clone, Copy)]
pub(crate) enum Sample {
    Line,
    Marker,
    LineAndMarker,
    Swatch,
}

/// What a frame is made from.
pub(crate) struct Plan<'a> {
    pub(crate) title: &'a str,
    /// The height grows by what slanted names below the plot take.
    pub(crate) size: Size,
    pub(crate) x: Side,
    pub(crate) y: Side,
    /// Series by index, name and sample.
    pub(crate) legend: Vec<(usize, &'a str, Sample)>,
    /// A remark after the legend; empty for none.
    pub(crate) remark: String,
    /// What is kept free to the right of the plot, in pixels.
    pub(crate) right: f64,
}

/// A scene with a frame in it.
pub(crate) struct Frame<'a> {
    title: &'a str,
    scene: Scene,
    at: ComputedLayout,
    factors: (f64, f64),
}

impl<'a> Frame<'a> {
    pub(crate) fn new(plan: &Plan<'a>) -> Self {
        let (width, height) = plan.size.clamped();
        let mut layout = Layout::new((0.0, 1.0), (0.0, 1.0));
        layout = layout.with_width(width).with_height(height).with_font_family(FONTS);
        layout = layout.with_label_size(12).with_tick_size(SMALL);
        layout = layout.with_x_label_overlap(AxisLabelOverlap::Thin).with_theme(Theme {
            axis_color: INK.into(),
            tick_color: INK.into(),
            text_color: INK.into(),
            grid_color: "#8884".into(),
            ..Theme::light()
        });
        let factors =
            (set_x(&mut layout, &plan.x, width), set_y(&mut layout, &plan.y, width, height));
        let entries = legend_rows(&plan.legend, &plan.remark, width - 24.0);
        let legend_top = if plan.title.is_empty() { 8.0 } else { 34.0 };
        let top = legend_top + 18.0 * entries.len() as f64 + 10.0;
        layout.force_margin_top = Some(top);
        layout.height = layout.height.map(|height| height.max(top + 130.0)); // some is for the plot
        layout.force_margin_right = Some(plan.right);

        let at = ComputedLayout::from_layout(&layout);
        let mut scene = Scene::new(at.width, at.height).with_background(None);
        scene.text_color = Some(INK.to_owned());
        scene.font_family = Some(FONTS.to_owned());
        add_axes_and_grid(&mut scene, &at, &layout);
        add_labels_and_title(&mut scene, &at, &layout);
        let mut names = named(layout.y_categories.as_deref(), &plan.y);
        names.extend(named(layout.x_categories.as_deref(), &plan.x));
        name_ticks(&mut scene, &names);

        let mut frame = Self { title: plan.title, scene, at, factors };
        let title = fit(plan.title, TITLE, width - 32.0);
        frame.add_text(16.0, 24.0, &title, TITLE, TextAnchor::Start, None, INK);
        for (row, entries) in entries.into_iter().enumerate() {
            frame.legend_row(legend_top + 18.0 * row as f64 + 6.0, entries);
        }
        frame
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        self.at.map_x(value * self.factors.0)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.at.map_y(value * self.factors.1)
    }

    /// The plot within the axes.
    pub(crate) fn area(&self) -> Area {
        let (width, height) = (self.at.plot_width(), self.at.plot_height());
        Area { x: self.at.margin_left, y: self.at.margin_top, width, height }
    }

    /// A path, filled if there is a fill.
    pub(crate) fn path(&mut self, d: String, stroke: &str, width: f64, fill: Option<(&str, f64)>) {
        self.styled_path(d, stroke, width, fill, None);
    }

    pub(crate) fn dashed(&mut self, d: String, stroke: &str, width: f64, dash: Option<String>) {
        self.styled_path(d, stroke, width, None, dash);
    }

    fn styled_path(
        &mut self,
        d: String,
        stroke: &str,
        stroke_width: f64,
        fill: Option<(&str, f64)>,
        stroke_dasharray: Option<String>,
    ) {
        if d.is_empty() {
            return;
        }
        let (fill, opacity) = (fill.map(|it| it.0.into()), fill.map(|it| it.1));
        let stroke = stroke.into();
        let path = PathData { d, fill, stroke, stroke_width, opacity, stroke_dasharray };
        self.scene.add(Primitive::Path(Box::new(path)));
    }

    pub(crate) fn rectangle(&mut self, area: Area, fill: &str, opacity: Option<f64>) {
        let Area { x, y, width, height } = area;
        let (fill, stroke, stroke_width) = (fill.into(), None, None);
        let rectangle =
            Primitive::Rect { x, y, width, height, fill, stroke, stroke_width, opacity };
        self.scene.add(rectangle);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, anchor: TextAnchor, ink: &str) {
        self.add_text(x, y, text, SMALL, anchor, None, ink);
    }

    /// Text that reads upwards, centred on `(x, y)`.
    pub(crate) fn upward_text(&mut self, x: f64, y: f64, text: &str) {
        self.add_text(x, y, text, SMALL, TextAnchor::Middle, Some(-90.0), INK);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the attributes of one element")]
    fn add_text(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        size: u32,
        anchor: TextAnchor,
        rotate: Option<f64>,
        ink: &str,
    ) {
        if !text.is_empty() {
            let (content, bold, color) = (literal(text), false, Some(ink.into()));
            self.scene.add(Primitive::Text { x, y, content, size, anchor, rotate, bold, color });
        }
    }

    /// Draws what has `title` as its tooltip and its name for a screen reader.
    pub(crate) fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        self.scene.add(group(title));
        draw(self);
        self.scene.add(Primitive::GroupEnd);
    }

    /// The chart, for which `description` stands where it is not seen.
    pub(crate) fn finish(mut self, description: &str) -> Svg {
        let area = self.area();
        if description.is_empty() {
            let (x, y) = (area.x + area.width / 2.0, area.y + area.height / 2.0);
            self.text(x, y, "no data", TextAnchor::Middle, INK);
        }
        self.scene.has_tooltips = false; // they need no style sheet
        let svg = SvgBackend::new().render_scene(&self.scene);
        let body = svg.split_once('>').map_or("", |(_, body)| body);
        let body = match body.strip_prefix("<!--").and_then(|it| it.split_once("-->")) {
            Some((_version, body)) => body,
            None => body,
        };
        let title = shorten(self.title, usize::MAX);
        let label = match description {
            "" => format!("{title}: no data"),
            _ => format!("{title}: {}", shorten(description, usize::MAX)),
        };
        let (width, height) = (self.scene.width, self.scene.height);
        let (title, label) = (title.render().into_string(), label.render().into_string());
        let element = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{label}\" \
             font-family=\"{FONTS}\" fill=\"{INK}\"><title>{title}</title>{body}"
        );
        Svg { element, height }
    }

    fn legend_row(&mut self, y: f64, entries: Vec<Entry<'_>>) {
        let mut x = 16.0;
        for entry in entries {
            let Entry { series, text, full, width } = entry;
            if let Some((index, sample)) = series {
                self.sample(index, sample, x, y);
                x += 32.0;
            }
            if text == full {
                self.text(x, y + 4.0, &text, TextAnchor::Start, INK);
            } else {
                self.titled(full, |it| it.text(x, y + 4.0, &text, TextAnchor::Start, INK));
            }
            x += width;
        }
    }

    fn sample(&mut self, index: usize, sample: Sample, x: f64, y: f64) {
        let ink = colour(index);
        if matches!(sample, Sample::Line | Sample::LineAndMarker) {
            self.dashed(format!("M{} {}h26", tenths(x), tenths(y)), ink, 2.0, dashes(index));
        }
        if matches!(sample, Sample::Marker | Sample::LineAndMarker) {
            self.path(marker(index, x + 13.0, y), ink, 1.2, Some((ink, 1.0)));
        }
        if matches!(sample, Sample::Swatch) {
            let area = Area { x: x + 4.0, y: y - 6.0, width: 22.0, height: 12.0 };
            self.rectangle(area, ink, None);
            self.path(hatching(index, area), "#fff", 1.0, None);
        }
    }
}

/// An entry of the legend. `width` is that of the text and the gap after it.
struct Entry<'a> {
    series: Option<(usize, Sample)>,
    text: String,
    full: &'a str,
    width: f64,
}

/// The legend, broken into rows of `width` pixels.
fn legend_rows<'a>(
    legend: &[(usize, &'a str, Sample)],
    remark: &'a str,
    width: f64,
) -> Vec<Vec<Entry<'a>>> {
    let entries = legend.iter().map(|&(index, name, sample)| (Some((index, sample)), name));
    let remark = (!remark.is_empty()).then_some((None, remark));
    let (mut rows, mut left) = (Vec::<Vec<Entry>>::new(), 0.0);
    for (series, full) in entries.chain(remark) {
        let sample = if series.is_some() { 32.0 } else { 0.0 };
        let text = fit(full, SMALL, (width - sample).min(420.0));
        let text_width = text_width(&text, SMALL) + 20.0;
        if rows.is_empty() || left < sample + text_width - 20.0 {
            rows.push(Vec::new());
            left = width;
        }
        left -= sample + text_width;
        if let Some(row) = rows.last_mut() {
            row.push(Entry { series, text, full, width: text_width });
        }
    }
    rows
}

/// Sets up the horizontal axis and returns what values are to be multiplied by.
fn set_x(layout: &mut Layout, side: &Side, width: f64) -> f64 {
    let (label, range, factor) = match side {
        Side::Numbers { axis, range } => {
            layout.log_x = axis.scale == Scale::Log;
            let factor = factor(axis.scale, *range);
            layout.x_tick_format = ticks(axis.scale, *range, factor);
            (&axis.label, *range, factor)
        }
        Side::Names { label, names } => {
            let names: Vec<_> = names.iter().map(|name| fit(name, SMALL, 150.0)).collect();
            let widest = names.iter().map(|name| text_width(name, SMALL)).fold(0.0, f64::max);
            let range = (0.5, names.len() as f64 + 0.5);
            if widest > 0.6 * width / names.len() as f64 {
                layout.x_tick_rotate = Some(-40.0);
                layout.height = layout.height.map(|height| height + 0.65 * widest);
                if 14.0 * (names.len() as f64) < 0.6 * width {
                    layout.x_label_overlap = AxisLabelOverlap::Allow; // side by side on the slant
                }
            }
            layout.x_categories = Some(names.iter().map(|name| literal(name)).collect());
            (label, range, 1.0)
        }
    };
    layout.x_label = (!label.is_empty()).then(|| literal(&fit(label, 12, 0.45 * width)));
    layout.x_range = (range.0 * factor, range.1 * factor);
    (layout.x_axis_min, layout.x_axis_max) = (Some(layout.x_range.0), Some(layout.x_range.1));
    factor
}

/// As [`set_x`], for the vertical axis. Names run from the top down.
fn set_y(layout: &mut Layout, side: &Side, width: f64, height: f64) -> f64 {
    let (label, range, factor) = match side {
        Side::Numbers { axis, range } => {
            layout.log_y = axis.scale == Scale::Log;
            let factor = factor(axis.scale, *range);
            layout.y_tick_format = ticks(axis.scale, *range, factor);
            (&axis.label, *range, factor)
        }
        Side::Names { label, names } => {
            let widest = (0.4 * width).min(230.0);
            let shown = names.iter().map(|name| literal(&fit(name, SMALL, widest))).collect();
            let range = (names.len() as f64 + 0.5, 0.5);
            layout.y_categories = Some(shown);
            (label, range, 1.0)
        }
    };
    layout.y_label = (!label.is_empty()).then(|| literal(&fit(label, 12, 0.6 * height)));
    layout.y_range = (range.0 * factor, range.1 * factor);
    (layout.y_axis_min, layout.y_axis_max) = (Some(layout.y_range.0), Some(layout.y_range.1));
    factor
}

/// Puts the full name as a title on each tick label that was shortened, and drops the labels that
/// [`ticks`] left blank. `names` are the labels with the full names, in the order in which they are
/// drawn; some may not be, for lack of room.
fn name_ticks(scene: &mut Scene, names: &[(String, &String)]) {
    let mut names = names;
    for element in std::mem::take(&mut scene.elements) {
        let Primitive::Text { content, .. } = &element else {
            scene.elements.push(element);
            continue;
        };
        match names.iter().position(|(shown, _)| shown == content) {
            _ if content.is_empty() => {}
            Some(index) => {
                let (shown, name) = &names[index];
                names = &names[index + 1..];
                if *shown == literal(name) {
                    scene.elements.push(element);
                } else {
                    scene.elements.extend([group(name), element, Primitive::GroupEnd]);
                }
            }
            None => scene.elements.push(element),
        }
    }
}

/// The names of a side beside what `labels` shows of them.
fn named<'a>(labels: Option<&[String]>, side: &'a Side) -> Vec<(String, &'a String)> {
    match side {
        Side::Numbers { .. } => Vec::new(),
        Side::Names { names, .. } => {
            labels.unwrap_or_default().iter().cloned().zip(names).collect()
        }
    }
}

fn group(title: &str) -> Primitive {
    let (transform, title) = (None, Some(shorten(title, usize::MAX)));
    Primitive::GroupStart { transform, title, extra_attrs: None }
}

/// `text` as `kuva` has to be given it: between dollar signs it would see mathematics.
fn literal(text: &str) -> String {
    text.replace('$', "\\$")
}
