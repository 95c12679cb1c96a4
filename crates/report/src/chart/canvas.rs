//! What is drawn on: lines, areas and texts in pixels, which become one SVG element. `kuva` writes it.

use kuva::backend::svg::SvgBackend;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor};
use maud::Render as _;

use super::Svg;
use super::look::{INK, Pen};
use super::marks::{Area, dashes, hatching, marker, stroke, tenths};
use crate::names::clean;

const FONTS: &str = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif";

/// The size of titles.
pub(crate) const TITLE: u32 = 14;
/// The size of all other text.
pub(crate) const SMALL: u32 = 11;

/// What stands for a series in the legend.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample {
    Line,
    Marker,
    LineAndMarker,
    Swatch,
}

/// An area of pixels with things on it.
pub(crate) struct Canvas {
    title: String,
    scene: Scene,
}

impl Canvas {
    pub(crate) fn new(title: &str, width: f64, height: f64) -> Self {
        let mut scene = Scene::new(width, height).with_background(None);
        scene.text_color = Some(INK.to_owned());
        scene.font_family = Some(FONTS.to_owned());
        Self { title: clean(title), scene }
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

    /// A rectangle in the colour and hatching of a series.
    pub(crate) fn swatch(&mut self, area: Area, pen: &Pen) {
        self.rectangle(area, &pen.colour, None);
        self.path(hatching(pen.shape, area), "#fff9", 1.0, None);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, anchor: TextAnchor, ink: &str) {
        self.add_text((x, y), text, SMALL, anchor, None, ink);
    }

    /// Text in the size of a title.
    pub(crate) fn title_text(&mut self, x: f64, y: f64, text: &str) {
        self.add_text((x, y), text, TITLE, TextAnchor::Start, None, INK);
    }

    /// Text that reads upwards, centred on `(x, y)`.
    pub(crate) fn upward_text(&mut self, x: f64, y: f64, text: &str) {
        self.add_text((x, y), text, SMALL, TextAnchor::Middle, Some(-90.0), INK);
    }

    /// Text that rises to its end, which is at `(x, y)`.
    pub(crate) fn slanted_text(&mut self, x: f64, y: f64, text: &str) {
        self.add_text((x, y), text, SMALL, TextAnchor::End, Some(-40.0), INK);
    }

    fn add_text(
        &mut self,
        (x, y): (f64, f64),
        text: &str,
        size: u32,
        anchor: TextAnchor,
        rotate: Option<f64>,
        ink: &str,
    ) {
        if !text.is_empty() {
            // Between dollar signs `kuva` would see mathematics.
            let content = text.replace('$', "\\$");
            let (bold, color) = (false, Some(ink.into()));
            self.scene.add(Primitive::Text { x, y, content, size, anchor, rotate, bold, color });
        }
    }

    /// Draws what has `title` as its tooltip and its name for a screen reader.
    pub(crate) fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        let (transform, title) = (None, Some(clean(title)));
        self.scene.add(Primitive::GroupStart { transform, title, extra_attrs: None });
        draw(self);
        self.scene.add(Primitive::GroupEnd);
    }

    /// Draws what shows `shown` of a name: with all of it as a title, if that is more.
    pub(crate) fn named(&mut self, full: &str, shown: &str, draw: impl FnOnce(&mut Self)) {
        if clean(full) == shown {
            draw(self);
        } else {
            self.titled(full, draw);
        }
    }

    /// What stands for a series in the legend, 26 pixels wide, from `x` on.
    pub(crate) fn sample(&mut self, pen: &Pen, sample: Sample, x: f64, y: f64) {
        let Pen { colour, shape } = pen;
        if matches!(sample, Sample::Line | Sample::LineAndMarker) {
            self.dashed(format!("M{} {}h26", tenths(x), tenths(y)), colour, 2.0, dashes(*shape));
        }
        if matches!(sample, Sample::Marker | Sample::LineAndMarker) {
            self.path(marker(*shape, x + 13.0, y), colour, stroke(*shape), Some((colour, 1.0)));
        }
        if matches!(sample, Sample::Swatch) {
            self.swatch(Area { x: x + 4.0, y: y - 6.0, width: 22.0, height: 12.0 }, pen);
        }
    }

    /// Writes that there is nothing to be seen in `area`.
    pub(crate) fn no_data(&mut self, area: Area) {
        let (x, y) = (area.x + area.width / 2.0, area.y + area.height / 2.0 + 4.0);
        self.text(x, y, "no data", TextAnchor::Middle, INK);
    }

    /// The chart, for which `description` stands where it is not seen.
    pub(crate) fn finish(mut self, description: &str) -> Svg {
        self.scene.has_tooltips = false; // they need no style sheet
        let svg = SvgBackend::new().render_scene(&self.scene);
        let body = svg.split_once('>').map_or("", |(_, body)| body);
        let body = match body.strip_prefix("<!--").and_then(|it| it.split_once("-->")) {
            Some((_version, body)) => body,
            None => body,
        };
        let label = format!("{}: {}", self.title, clean(description));
        let (width, height) = (self.scene.width, self.scene.height);
        let (title, label) = (self.title.render().into_string(), label.render().into_string());
        let element = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{label}\" \
             font-family=\"{FONTS}\" fill=\"{INK}\"><title>{title}</title>{body}"
        );
        Svg { element, height }
    }
}
