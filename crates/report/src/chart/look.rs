//! What series are told apart by: colour, and the shape of markers, dashes and hatching.

use kuva::plot::ColorMap;

use super::marks::SHAPES;

/// Okabe and Ito's colours, which remain apart for every kind of colour vision, without the yellow,
/// which does not show on white.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The colour of text.
pub(crate) const INK: &str = "currentColor";

/// What a series is drawn with.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Look {
    /// What its place in the chart gives it.
    #[default]
    Place,
    /// Colour and shape of this number, so that what a series stands for looks the same in every chart
    /// of a page. The first 36 are apart, by colour, shape or both.
    Number(usize),
    /// The colour at this place, from 0 to 1, of a ramp from dark blue to green, for series that have an
    /// order, such as layers; the shape is that of the place, so that neighbours are apart.
    Ramp(f64),
    /// The colour of text, and the first shape: for what the others are compared with.
    Ink,
}

/// A colour and a shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    pub(crate) colour: String,
    pub(crate) shape: usize,
}

impl Look {
    /// The pen of the series at `place`.
    pub(crate) fn pen(self, place: usize) -> Pen {
        let (colour, shape) = match self {
            Self::Place => return Self::Number(place).pen(place),
            // Where the colours begin again, the shapes are shifted.
            Self::Number(it) => {
                (COLOURS[it % COLOURS.len()].to_owned(), (it % SHAPES + it / SHAPES) % SHAPES)
            }
            Self::Ramp(share) => (ramp(share), place % SHAPES),
            Self::Ink => (INK.to_owned(), 0),
        };
        Pen { colour, shape }
    }
}

/// The part of viridis that shows on white and on black.
fn ramp(share: f64) -> String {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let (red, green, blue) = ColorMap::Viridis.map_rgb(0.18 + 0.54 * share).unwrap_or_default();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn thirty_six_series_are_apart() {
        let pens = (0..36).map(|it| Look::Place.pen(it)).map(|it| (it.colour, it.shape));
        assert_eq!(pens.collect::<HashSet<_>>().len(), 36);
        assert_eq!(Look::Place.pen(7), Look::Number(7).pen(0));
        assert_eq!(Look::Number(usize::MAX).pen(0).colour, COLOURS[3]); // 2^64 - 1 = 6 k + 3
    }

    #[test]
    fn twelve_layers_are_apart_and_neighbours_twice() {
        let pens: Vec<_> = (0..12).map(|it| Look::Ramp(it as f64 / 11.0).pen(it)).collect();
        assert_eq!(pens.iter().map(|it| &it.colour).collect::<HashSet<_>>().len(), 12);
        assert!(pens.windows(2).all(|it| it[0].shape != it[1].shape));
        assert_eq!(ramp(f64::NAN), ramp(-1.0));
        assert_eq!(ramp(2.0), ramp(1.0));
    }
}
