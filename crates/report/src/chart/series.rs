//! Points that belong together, and what they are compared with.

use super::Look;

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; without one it has no entry.
    pub name: String,
    /// How the points are shown.
    pub mark: Mark,
    /// The points. A line runs through them in this order.
    pub points: Vec<Point>,
    /// What it is drawn with.
    pub look: Look,
}

impl Series {
    /// A series of `points`, which may be pairs of numbers.
    pub fn new<P: Into<Point>>(
        name: impl Into<String>,
        mark: Mark,
        points: impl IntoIterator<Item = P>,
    ) -> Self {
        let points = points.into_iter().map(Into::into).collect();
        Self { name: name.into(), mark, points, look: Look::default() }
    }

    /// The Pareto frontier of `points`, as steps in the colour of text: those points than which no other
    /// is lower on one axis and not higher on the other. NaN is on no frontier.
    pub fn frontier(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut points: Vec<_> =
            points.into_iter().filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut lowest = f64::INFINITY;
        points.retain(|&(_, y)| {
            let is_lower = y < lowest;
            lowest = lowest.min(y);
            is_lower
        });
        Self::new(name, Mark::Steps, points).look(Look::Ink)
    }

    /// The series, drawn with `look`.
    #[must_use]
    pub fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }
}

/// How a series is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line. Vertical intervals are shaded from point to point.
    Line,
    /// A line that keeps the value of a point until the next one, and then steps to that. Intervals are
    /// not drawn.
    Steps,
    /// Markers, with intervals as whiskers.
    Points,
    /// Both, with intervals as whiskers.
    LineAndPoints,
}

/// A point, with intervals around it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Its place on the horizontal axis.
    pub x: f64,
    /// Its place on the vertical axis.
    pub y: f64,
    /// From where to where it may be on the horizontal axis.
    pub x_interval: Option<(f64, f64)>,
    /// From where to where it may be on the vertical axis.
    pub y_interval: Option<(f64, f64)>,
    /// What it is: shown with its values when it is pointed at. Empty for none.
    pub name: String,
}

impl From<(f64, f64)> for Point {
    fn from((x, y): (f64, f64)) -> Self {
        Self { x, y, ..Self::default() }
    }
}

/// Something to compare with. None is drawn where there is no data.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// A line upwards at this place of the horizontal axis.
    Vertical {
        /// Where.
        at: f64,
        /// What stands beside it.
        label: String,
    },
    /// A line across at this place of the vertical axis.
    Horizontal {
        /// Where.
        at: f64,
        /// What stands above it.
        label: String,
    },
    /// A shaded interval of the vertical axis.
    Between {
        /// Its lower end.
        from: f64,
        /// Its upper end.
        to: f64,
        /// What stands in it.
        label: String,
    },
    /// Where both values are the same. Both axes of an [`XyChart`](super::XyChart) then have the same
    /// range.
    Diagonal {
        /// What stands beside it.
        label: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontier_is_what_nothing_is_better_than() {
        let frontier = |points: &[(f64, f64)]| -> Vec<_> {
            let series = Series::frontier("", points.iter().copied());
            series.points.into_iter().map(|it| (it.x, it.y)).collect()
        };
        // (2, 7) is beaten by (1, 6), (3, 5) by (3, 4), and (4, 4) is no lower than (3, 4).
        let points = [(4.0, 4.0), (1.0, 6.0), (3.0, 5.0), (2.0, 7.0), (3.0, 4.0), (9.0, 1.0)];
        assert_eq!(frontier(&points), [(1.0, 6.0), (3.0, 4.0), (9.0, 1.0)]);
        assert_eq!(frontier(&[(f64::NAN, 0.0), (0.0, f64::NAN), (1.0, 1.0)]), [(1.0, 1.0)]);
        assert_eq!(frontier(&[(1.0, 1.0), (1.0, 1.0)]), [(1.0, 1.0)]);
        assert_eq!(frontier(&[]), []);
    }
}
