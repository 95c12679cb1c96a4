//! Outlines, as the path language of SVG: lines, markers, whiskers, hatching.

use std::fmt::Write as _;

/// How many markers, dashes and hatchings there are.
pub(crate) const SHAPES: usize = 6;

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// The dashes of `shape`. The first is solid.
pub(crate) fn dashes(shape: usize) -> Option<String> {
    let patterns = [None, Some("7 3"), Some("2 2"), Some("9 3 2 3"), Some("12 4"), Some("4 2 1 2")];
    patterns[shape % SHAPES].map(str::to_owned)
}

/// The corners of a line that keeps its value until the next of `points`.
pub(crate) fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let corners = points.windows(2).flat_map(|it| [it[0], (it[1].0, it[0].1)]);
    corners.chain(points.last().copied()).collect()
}

/// A line through `points`.
pub(crate) fn polyline(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if index == 0 { 'M' } else { ' ' }, tenths(*x), tenths(*y));
    }
    path
}

/// A line to the right.
pub(crate) fn across(x: f64, y: f64, length: f64) -> String {
    format!("M{} {}h{}", tenths(x), tenths(y), tenths(length))
}

/// A line downwards.
pub(crate) fn upright(x: f64, y: f64, length: f64) -> String {
    format!("M{} {}v{}", tenths(x), tenths(y), tenths(length))
}

/// The marker of `shape` around `(x, y)`: circle, square, triangle, diamond, cross, triangle
/// on its head.
pub(crate) fn marker(shape: usize, x: f64, y: f64) -> String {
    let (x, y) = (tenths(x), tenths(y));
    match shape % SHAPES {
        0 => format!("M{x} {y}m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z"),
        1 => format!("M{x} {y}m-3 -3h6v6h-6z"),
        2 => format!("M{x} {y}m0 -4l4 7h-8z"),
        3 => format!("M{x} {y}m0 -4.5l4 4.5l-4 4.5l-4 -4.5z"),
        4 => format!("M{x} {y}m-3.5 -3.5l7 7m0 -7l-7 7"),
        _ => format!("M{x} {y}m0 4l4 -7h-8z"),
    }
}

/// How wide the outline of a marker is. A cross is nothing else.
pub(crate) fn stroke(shape: usize) -> f64 {
    if shape % SHAPES == 4 { 2.2 } else { 1.2 }
}

/// A whisker from `from` to `to` on one axis, at `at` on the other, with its caps.
pub(crate) fn whisker(from: f64, to: f64, at: f64, is_vertical: bool) -> String {
    let [start, end, before] = [from, to, at - 3.0].map(tenths);
    let at = tenths(at);
    if is_vertical {
        format!("M{at} {start}V{end}M{before} {start}h6M{before} {end}h6")
    } else {
        format!("M{start} {at}H{end}M{start} {before}v6M{end} {before}v6")
    }
}

/// The hatching of `shape` over `area`: none, rising, falling, both, upright, level.
pub(crate) fn hatching(shape: usize, area: Area) -> String {
    let (rising, falling, upright, level) = match shape % SHAPES {
        0 => return String::new(),
        1 => (true, false, false, false),
        2 => (false, true, false, false),
        3 => (true, true, false, false),
        4 => (false, false, true, false),
        _ => (false, false, false, true),
    };
    let Area { x, y, width, height } = area;
    let mut path = String::new();
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        let _ = write!(path, "M{} {} {} {}", tenths(x1), tenths(y1), tenths(x2), tenths(y2));
    };
    // A diagonal enters at the left or the lower edge, `offset` along both, and leaves at the other two.
    for offset in multiples(width + height, 7.0) {
        let (from, to) = ((offset - height).max(0.0), offset.min(width));
        if rising {
            line(x + from, y + offset - from, x + to, y + offset - to);
        }
        if falling {
            line(x + from, y + height - offset + from, x + to, y + height - offset + to);
        }
    }
    for offset in multiples(if upright { width } else { 0.0 }, 5.0) {
        line(x + offset, y, x + offset, y + height);
    }
    for offset in multiples(if level { height } else { 0.0 }, 5.0) {
        line(x, y + offset, x + width, y + offset);
    }
    path
}

/// Multiples of `step` below `end`, from `step` on.
fn multiples(end: f64, step: f64) -> impl Iterator<Item = f64> {
    (1_u16..).map(move |index| f64::from(index) * step).take_while(move |&it| it < end)
}

/// A coordinate to a tenth of a pixel, without zeros that say nothing.
pub(crate) fn tenths(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_hand() {
        assert_eq!(polyline(&[(0.0, 1.25), (-0.01, 100.0)]), "M0 1.2 0 100");
        assert_eq!(whisker(10.0, 20.0, 5.0, true), "M5 10V20M2 10h6M2 20h6");
        assert_eq!(whisker(10.0, 20.0, 5.0, false), "M10 5H20M10 2v6M20 2v6");
        let area = Area { x: 0.0, y: 0.0, width: 10.0, height: 4.0 };
        // Rising: y = 7 - x within the area runs from (3, 4) to (7, 0).
        assert_eq!(hatching(1, area), "M3 4 7 0");
        // Falling: its mirror image.
        assert_eq!(hatching(2, area), "M3 0 7 4");
        assert_eq!(hatching(4, area), "M5 0 5 4");
        let corners = [(0.0, 9.0), (5.0, 9.0), (5.0, 2.0), (6.0, 2.0), (6.0, 1.0)];
        assert_eq!(steps(&[(0.0, 9.0), (5.0, 2.0), (6.0, 1.0)]), corners);
        assert_eq!((steps(&[]), steps(&[(1.0, 1.0)])), (vec![], vec![(1.0, 1.0)]));
    }
}
