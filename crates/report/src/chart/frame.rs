//! The frame of a chart: one plot or several on top of one another, with their axes, and the way from
//! values to pixels.

use kuva::render::render::TextAnchor;

use super::axis::Axis;
use super::canvas::{Canvas, SMALL};
use super::legend::{Entry, Heading};
use super::look::INK;
use super::marks::{Area, across, tenths, upright};
use super::text::{fit, fit_all, text_width};
use super::{Scale, Size};

/// The colour of lines between the axes.
pub(crate) const GRID: &str = "#8884";
/// The least height of a plot.
const LOWEST: f64 = 120.0;
/// Between one plot and the next.
const BETWEEN: f64 = 22.0;
/// The height of names and numbers below a plot that stand level.
const LEVEL: f64 = 24.0;
/// From one number of an axis to the next: along a horizontal and upwards along a vertical one.
const ALONG: f64 = 70.0;
const UPWARD: f64 = 36.0;
/// The widest name below a plot.
const WIDEST: f64 = 150.0;

/// One of the two axes.
pub(crate) enum Side {
    /// Numbers.
    Numbers { axis: Axis, range: (f64, f64) },
    /// Names, at 1, 2, ...
    Names { label: String, names: Vec<String> },
}

/// What a frame is made from.
pub(crate) struct Plan<'a> {
    pub(crate) title: &'a str,
    pub(crate) width: u32,
    /// Of the whole chart; `None` if that is what the plots need.
    pub(crate) height: Option<u32>,
    pub(crate) legend: Vec<Entry<'a>>,
    /// A remark after the legend; empty for none.
    pub(crate) remark: String,
    /// What is kept free to the right of the plots, in pixels.
    pub(crate) right: f64,
    pub(crate) x: Side,
    /// The vertical axis and the height of each plot, in pixels, or, where the height of the chart is
    /// given, in proportion.
    pub(crate) plots: Vec<(Side, f64)>,
}

/// A plot: where it is, and how values get there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Within the axes.
    pub(crate) area: Area,
    x: Place,
    y: Place,
}

/// From values to pixels: `from` is at `start`.
#[derive(Debug, Clone, Copy)]
struct Place {
    scale: Scale,
    from: f64,
    per_unit: f64,
    start: f64,
}

impl Frame {
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.x.of(value)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.y.of(value)
    }
}

impl Place {
    fn of(&self, value: f64) -> f64 {
        self.start + (self.scale.along(value) - self.from) * self.per_unit
    }
}

impl Plan<'_> {
    /// Draws what is around the plots.
    pub(crate) fn draw(&self) -> (Canvas, Vec<Frame>) {
        let size = Size { width: self.width, height: self.height.unwrap_or(0) };
        let (width, height) = size.clamped();
        let heading = Heading::new(self.title, &self.legend, &self.remark, width);
        let total: f64 = self.plots.iter().map(|it| it.1).sum();
        let between = BETWEEN * (self.plots.len() as f64 - 1.0);
        let below = |ticks: f64| ticks + if self.x.label().is_empty() { 6.0 } else { 26.0 };
        let free = height - heading.height() - between - below(LEVEL);
        let share = match self.height {
            Some(_) => free.max(LOWEST * self.plots.len() as f64) / total.max(1.0),
            None => 1.0,
        };

        let names_width = (0.4 * width).min(230.0);
        let labels = self.plots.iter().map(|(side, height)| {
            let ticks = Ticks::of(side, names_width, share * height / UPWARD);
            ticks.widest() + 12.0 + if side.label().is_empty() { 8.0 } else { 26.0 }
        });
        let mut left = labels.fold(40.0, f64::max);
        let x_names = Ticks::of(&self.x, WIDEST, 0.0);
        let slant = x_names.slant(width - left - self.right);
        let mut ticks_height = LEVEL;
        if slant == Slant::Rising {
            ticks_height = 20.0 + 0.65 * x_names.widest(); // by which the chart becomes higher
            left = left.max(0.77 * x_names.widest() + 4.0); // the first name begins to the left
        }
        let whole = heading.height() + share * total + between + below(ticks_height);
        let mut canvas = Canvas::new(self.title, width, whole.ceil());
        heading.draw(&mut canvas);

        let mut frames = Vec::new();
        let mut y = heading.height();
        for (index, (side, height)) in self.plots.iter().enumerate() {
            let width = (width - left - self.right).max(10.0);
            let area = Area { x: left, y, width, height: share * height };
            let frame = Frame {
                area,
                x: self.x.place(area.x, area.width),
                y: side.upward_place(area.y, area.height),
            };
            let is_last = index + 1 == self.plots.len();
            draw_x(&mut canvas, frame, &self.x, slant, is_last.then_some(ticks_height));
            draw_y(&mut canvas, frame, side, names_width);
            canvas.path(axes(area), INK, 1.0, None);
            frames.push(frame);
            y += area.height + BETWEEN;
        }
        (canvas, frames)
    }
}

/// The two lines at the left and at the lower edge.
fn axes(Area { x, y, width, height }: Area) -> String {
    let [left, top, bottom, right] = [x, y, y + height, x + width].map(tenths);
    format!("M{left} {top}V{bottom}H{right}")
}

/// How names stand below a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slant {
    Level,
    Rising,
}

/// What is marked on a side.
struct Ticks {
    ticks: Vec<Tick>,
    are_names: bool,
}

/// A value, what stands beside it, and the whole of that.
struct Tick {
    at: f64,
    shown: String,
    full: String,
}

impl Ticks {
    /// Of a side that has room for `most` numbers; names are at most `widest` pixels wide.
    fn of(side: &Side, widest: f64, most: f64) -> Self {
        match side {
            Side::Numbers { axis, range } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "3 to 10"
                )]
                let target = most.clamp(3.0, 10.0) as usize;
                let marks = axis.marks(*range, target).into_iter();
                let ticks =
                    marks.map(|(at, it)| Tick { at, shown: it.clone(), full: it }).collect();
                Self { ticks, are_names: false }
            }
            Side::Names { names, .. } => {
                let ticks = fit_all(names, SMALL, widest).into_iter().zip(names).enumerate();
                let tick = |(at, (shown, name)): (usize, (String, &String))| Tick {
                    at: at as f64 + 1.0,
                    shown,
                    full: name.clone(),
                };
                Self { ticks: ticks.map(tick).collect(), are_names: true }
            }
        }
    }

    fn widest(&self) -> f64 {
        self.ticks.iter().map(|it| text_width(&it.shown, SMALL)).fold(0.0, f64::max)
    }

    /// Names rise if they have no room side by side, unless they are numbers, of which some are enough.
    fn slant(&self, width: f64) -> Slant {
        let is_wide = self.widest() + 6.0 > width / self.ticks.len() as f64;
        let are_numbers = self.ticks.iter().all(|it| it.full.parse::<f64>().is_ok());
        if self.are_names && is_wide && !are_numbers { Slant::Rising } else { Slant::Level }
    }
}

/// Ticks and grid of the horizontal axis; with `labels`, what that many pixels have room for.
fn draw_x(canvas: &mut Canvas, frame: Frame, side: &Side, slant: Slant, labels: Option<f64>) {
    let Area { x, y, width, height } = frame.area;
    let bottom = y + height;
    let ticks = Ticks::of(side, WIDEST, width / ALONG);
    let mut free = f64::NEG_INFINITY; // from where on there is room for a label
    let mut grid = String::new();
    let mut marks = String::new();
    for Tick { at, shown, full } in &ticks.ticks {
        let place = frame.x(*at);
        let half = match slant {
            Slant::Level => text_width(shown, SMALL) / 2.0 + 3.0,
            Slant::Rising => 7.0,
        };
        if place - half < free {
            continue;
        }
        free = place + half;
        marks += &upright(place, bottom, 5.0);
        if !ticks.are_names {
            grid += &upright(place, y, height);
        }
        if labels.is_some() {
            canvas.named(full, shown, |it| match slant {
                Slant::Level => it.text(place, bottom + 17.0, shown, TextAnchor::Middle, INK),
                Slant::Rising => it.slanted_text(place + 3.0, bottom + 14.0, shown),
            });
        }
    }
    canvas.path(grid, GRID, 1.0, None);
    canvas.path(marks, INK, 1.0, None);
    if let Some(ticks_height) = labels {
        let shown = fit(side.label(), SMALL, width);
        let (middle, y) = (x + width / 2.0, bottom + ticks_height + 12.0);
        canvas
            .named(side.label(), &shown, |it| it.text(middle, y, &shown, TextAnchor::Middle, INK));
    }
}

/// Ticks, grid and label of the vertical axis.
fn draw_y(canvas: &mut Canvas, frame: Frame, side: &Side, widest: f64) {
    let Area { x, y, width, height } = frame.area;
    let ticks = Ticks::of(side, widest, height / UPWARD);
    let mut grid = String::new();
    let mut marks = String::new();
    let room = 10.0; // for a label
    let mut taken: Option<f64> = None;
    for Tick { at, shown, full } in &ticks.ticks {
        let place = frame.y(*at);
        if taken.is_some_and(|it| (it - place).abs() < room) {
            continue;
        }
        taken = Some(place);
        marks += &across(x - 5.0, place, 5.0);
        if !ticks.are_names {
            grid += &across(x, place, width);
        }
        canvas.named(full, shown, |it| it.text(x - 8.0, place + 4.0, shown, TextAnchor::End, INK));
    }
    canvas.path(grid, GRID, 1.0, None);
    canvas.path(marks, INK, 1.0, None);
    let shown = fit(side.label(), SMALL, height + 16.0);
    let at = x - ticks.widest() - 22.0;
    canvas.named(side.label(), &shown, |it| it.upward_text(at, y + height / 2.0, &shown));
}

impl Side {
    fn label(&self) -> &str {
        match self {
            Self::Numbers { axis, .. } => &axis.label,
            Self::Names { label, .. } => label,
        }
    }

    /// From left to right.
    fn place(&self, start: f64, length: f64) -> Place {
        let (scale, (from, to)) = match self {
            Self::Numbers { axis, range } => (axis.scale, *range),
            Self::Names { names, .. } => (Scale::Linear, (0.5, names.len().max(1) as f64 + 0.5)),
        };
        let (from, to) = (scale.along(from), scale.along(to));
        Place { scale, from, per_unit: length / (to - from), start }
    }

    /// Numbers from the bottom up, names from the top down.
    fn upward_place(&self, top: f64, height: f64) -> Place {
        match self {
            Self::Numbers { .. } => self.place(top + height, -height),
            Self::Names { .. } => self.place(top, height),
        }
    }
}
