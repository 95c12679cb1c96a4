//! Axes: how values are spread over one, over which range, and how its ticks are labelled.

use std::sync::Arc;

use kuva::render::layout::TickFormat;

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
}

/// An axis: what it measures, and how it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// How it runs.
    pub scale: Scale,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log }
    }
}

/// The smallest range with room around `values` in which an axis has at least two ticks.
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
        Scale::Log if high / low < 20.0 => (one_two_five(low, false), one_two_five(high, true)),
        Scale::Log => {
            let room = (high / low).powf(0.04);
            (low / room, high * room)
        }
    }
}

/// The nearest of 1, 2, 5, 10, 20, ... strictly above or below `value`.
fn one_two_five(value: f64, is_above: bool) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0].map(|it| it * decade);
    if is_above {
        steps.into_iter().find(|&it| it > 1.000_001 * value).unwrap_or(20.0 * decade)
    } else {
        steps.into_iter().rev().find(|&it| it < 0.999_999 * value).unwrap_or(0.5 * decade)
    }
}

/// The power of ten that lifts a logarithmic range above what `kuva` can draw.
pub(crate) fn factor(scale: Scale, range: (f64, f64)) -> f64 {
    match scale {
        Scale::Log if range.0 < 1e-8 => 10_f64.powf((1e-6 / range.0).log10().ceil()).min(1e300),
        _ => 1.0,
    }
}

/// How ticks are labelled: with as many digits as tell two of them apart, and, where a logarithmic axis
/// has many decades, only some of them.
pub(crate) fn ticks(scale: Scale, range: (f64, f64), factor: f64) -> TickFormat {
    TickFormat::Custom(Arc::new(move |value| {
        let value = value / factor;
        match scale {
            Scale::Linear => {
                let step = (range.1 - range.0).abs() / 10.0;
                let value = if value.abs() < 1e-6 * step { 0.0 } else { value };
                let digits = (value.abs() / step).max(1.0).log10().ceil() + 2.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 17"
                )]
                compact(value, digits.min(17.0) as usize)
            }
            Scale::Log => {
                let decades = (range.1 / range.0).log10();
                let every = (decades / 8.0).ceil().max(1.0);
                let exponent = value.log10();
                let is_shown = decades < 4.0 || (exponent.round() / every).fract() == 0.0;
                if is_shown { compact(value, 1) } else { String::new() }
            }
        }
    }))
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
        assert_eq!(range(&[3.0, 4.0], Scale::Log), (2.0, 5.0)); // two ticks at least
        assert_eq!(range(&[1.0], Scale::Log), (0.5, 2.0));
        let (low, high) = range(&[1e-20, 1e-10], Scale::Log);
        assert!((low.log10() + 20.4).abs() < 1e-9 && (high.log10() + 9.6).abs() < 1e-9);
    }

    #[test]
    fn tick_labels_by_hand() {
        let label = |range, scale, value: f64| ticks(scale, range, 1.0).format(value);
        assert_eq!(label((0.0, 1.3), Scale::Linear, 1.25), "1.25");
        assert_eq!(label((0.0, 1.0), Scale::Linear, 0.1 + 0.2), "0.3");
        assert_eq!(label((-1.0, 1.0), Scale::Linear, -1e-17), "0");
        assert_eq!(label((1e6, 1e6 + 2.0), Scale::Linear, 1_000_000.5), "1000000.5");
        assert_eq!(label((0.5, 20.0), Scale::Log, 0.5), "0.5");
        // Of 30 decades, every fourth.
        assert_eq!(label((1e-20, 1e10), Scale::Log, 1e-4), "0.0001");
        assert_eq!(label((1e-20, 1e10), Scale::Log, 1e-5), "");
    }
}
