//! Axes: how values are spread over one, over which range, and which of them are marked.

use kuva::render::render_utils::generate_ticks;

use crate::spelling::compact;

/// How an axis runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equally far apart.
    #[default]
    Linear,
    /// Equal ratios are. Zero and negative values have no place on it and are counted, not drawn.
    Log,
}

impl Scale {
    /// Whether `value` has a place. The bounds keep everything that is computed from two values finite.
    pub(crate) fn admits(self, value: f64) -> bool {
        match self {
            Self::Linear => value.abs() < 1e140,
            Self::Log => value > 1e-140 && value < 1e140,
        }
    }

    /// How far along the axis `value` is, in units of its own.
    pub(crate) fn along(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// The ends of an interval that both have a place.
    pub(crate) fn drawable(self, interval: Option<(f64, f64)>) -> Option<(f64, f64)> {
        interval.filter(|it| self.admits(it.0) && self.admits(it.1))
    }
}

/// An axis: what it measures, and how it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// How it runs.
    pub scale: Scale,
    /// The values to mark, such as the bit-widths that there are; what is outside the range of the data
    /// is not. Where none is left, round values are marked.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, ticks: Vec::new() }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log, ticks: Vec::new() }
    }

    /// The axis with marks at these values.
    #[must_use]
    pub fn with_ticks(self, ticks: impl IntoIterator<Item = f64>) -> Self {
        Self { ticks: ticks.into_iter().collect(), ..self }
    }

    /// The values that are marked within `range`, from the lowest, with their labels: about `target`,
    /// and at least two round ones.
    pub(crate) fn marks(&self, range: (f64, f64), target: usize) -> Vec<(f64, String)> {
        let is_within = |it: &f64| (range.0..=range.1).contains(it) && self.scale.admits(*it);
        let mut chosen: Vec<f64> = self.ticks.iter().copied().filter(is_within).collect();
        chosen.sort_by(f64::total_cmp);
        if !chosen.is_empty() {
            return chosen.into_iter().map(|it| (it, compact(it, 6))).collect();
        }
        let decades = range.1.log10() - range.0.log10();
        match self.scale {
            Scale::Log if decades > 0.7 => log_marks(range, decades, target),
            _ => linear_marks(range, target),
        }
    }
}

/// Labelled with as many digits as tell two of them apart.
fn linear_marks(range: (f64, f64), target: usize) -> Vec<(f64, String)> {
    let step = (range.1 - range.0) / 10.0;
    let label = |value: f64| {
        let value = if value.abs() < 1e-6 * step { 0.0 } else { value };
        let digits = (value.abs() / step).max(1.0).log10().ceil() + 2.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 17")]
        compact(value, digits.min(17.0) as usize)
    };
    generate_ticks(range.0, range.1, target).into_iter().map(|it| (it, label(it))).collect()
}

/// 1, 2 and 5 of each decade, or where there are many, every decade, or every second, and so on.
fn log_marks(range: (f64, f64), decades: f64, target: usize) -> Vec<(f64, String)> {
    let factors: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    #[expect(clippy::cast_possible_truncation, reason = "between -140 and 140")]
    let [first, last, every] =
        [range.0.log10().floor(), range.1.log10().ceil(), (decades / target.max(1) as f64).ceil()]
            .map(|it| it as i32);
    let exponents = (first..=last).filter(|it| it.rem_euclid(every.max(1)) == 0);
    let values =
        exponents.flat_map(|it| factors.iter().map(move |factor| factor * 10_f64.powi(it)));
    let is_within = |it: &f64| (range.0 * (1.0 - 1e-9)..=range.1 * (1.0 + 1e-9)).contains(it);
    values.filter(is_within).map(|it| (it, compact(it, 1))).collect()
}

/// The smallest range with room around `values`.
pub(crate) fn range(values: impl Iterator<Item = f64>, scale: Scale) -> (f64, f64) {
    let values = values.filter(|&value| scale.admits(value));
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), it| (a.min(it), b.max(it)));
    match scale {
        _ if low > high => (if scale == Scale::Log { 0.1 } else { 0.0 }, 1.0),
        Scale::Linear if high - low <= 1e-9 * low.abs().max(high.abs()) => {
            let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low - room, high + room)
        }
        Scale::Linear => (low - 0.04 * (high - low), high + 0.04 * (high - low)),
        Scale::Log if high - low <= 1e-9 * high => (low / 1.25, high * 1.25),
        Scale::Log => {
            let room = (high / low).powf(0.04);
            (low / room, high * room)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_hand() {
        let range = |values: &[f64], scale| range(values.iter().copied(), scale);
        assert_eq!(range(&[], Scale::Linear), (0.0, 1.0));
        assert_eq!(range(&[f64::NAN, 0.0], Scale::Log), (0.1, 1.0));
        assert_eq!(range(&[0.0, 100.0], Scale::Linear), (-4.0, 104.0)); // 4 % on each side
        assert_eq!(range(&[0.0], Scale::Linear), (-1.0, 1.0));
        assert_eq!(range(&[-20.0; 3], Scale::Linear), (-22.0, -18.0));
        assert_eq!(range(&[1.0], Scale::Log), (0.8, 1.25));
        let (low, high) = range(&[1e-20, 1e-10], Scale::Log);
        assert!((low.log10() + 20.4).abs() < 1e-9 && (high.log10() + 9.6).abs() < 1e-9);
    }

    fn labels(axis: &Axis, range: (f64, f64)) -> Vec<String> {
        axis.marks(range, 5).into_iter().map(|it| it.1).collect()
    }

    #[test]
    fn marks_by_hand() {
        let (linear, log) = (Axis::linear(""), Axis::log(""));
        assert_eq!(labels(&linear, (-0.01, 1.04)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(
            labels(&linear, (1e6, 1e6 + 1.0)),
            ["1000000", "1000000.2", "1000000.4", "1000000.6", "1000000.8", "1000001"]
        );
        assert_eq!(labels(&log, (0.5, 20.0)), ["0.5", "1", "2", "5", "10", "20"]);
        // Less than a factor of five: as on a linear axis.
        assert_eq!(
            labels(&log, (3900.0, 9100.0)),
            ["4000", "5000", "6000", "7000", "8000", "9000"]
        );
        // Of 30 decades every sixth, which is the fifth part.
        assert_eq!(labels(&log, (1e-20, 1e10)), ["1e−18", "1e−12", "1e−6", "1", "1000000"]);
    }

    #[test]
    fn an_axis_of_many_decades_has_labels() {
        // 150 decades, of which every thirtieth.
        let expected = ["1e−120", "1e−90", "1e−60", "1e−30", "1"];
        assert_eq!(labels(&Axis::log(""), (1e-140, 1e10)), expected);
    }

    #[test]
    fn chosen_values_are_marked_where_there_are_any() {
        let axis = Axis::log("bits").with_ticks([8.0, 2.0, 3.0, 4.0, 16.0, f64::NAN]);
        assert_eq!(labels(&axis, (1.9, 8.4)), ["2", "3", "4", "8"]);
        assert_eq!(labels(&axis, (20.0, 110.0)), ["20", "50", "100"]);
    }
}
