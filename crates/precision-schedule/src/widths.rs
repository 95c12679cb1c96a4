//! The widths that a schedule may choose.
//!
//! # Definition
//! A set of widths $w_0 < \dots < w_n$. A schedule is a curve $v(t)$ between $w_0$ and $w_n$, and the
//! width of a step is the one nearest to $v$. Of two at the same distance it is the even one, if exactly
//! one of them is even, and otherwise the lower one. On consecutive integers this is rounding to nearest
//! with ties to even.
//!
//! Distances that differ by less than $10^{-9}$ are the same distance: no rounding error of a cosine
//! decides a tie.
//!
//! # Notes on the reference implementation
//! CPT rounds to integers with `numpy.rint`, which is this rule on consecutive integers. Public
//! switchable-precision code takes the first of the nearest widths of a list, so the lower one of every
//! tie.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ScheduleError;

/// Below this, two distances are one.
const TIE: f64 = 1e-9;

/// Bit-widths in rising order, at least one, each of them 2 to 18 or 32. The default is 3 to 8, CPT's
/// for CIFAR.
///
/// ```toml
/// widths = [4, 6, 8]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Widths(Vec<u32>);

impl Default for Widths {
    fn default() -> Self {
        Self::consecutive(3, 8)
    }
}

impl Widths {
    /// The full precision of a network without quantisers.
    pub const FULL: u32 = 32;

    /// `widths`, if they are a set to choose from.
    ///
    /// # Errors
    /// [`ScheduleError::NoWidth`], [`ScheduleError::Width`] or [`ScheduleError::Order`].
    pub fn new(widths: impl IntoIterator<Item = u32>) -> Result<Self, ScheduleError> {
        let widths: Vec<u32> = widths.into_iter().collect();
        if widths.is_empty() {
            return Err(ScheduleError::NoWidth);
        }
        if let Some(&bits) = widths.iter().find(|&&bits| !matches!(bits, 2..=18 | Self::FULL)) {
            return Err(ScheduleError::Width { bits });
        }
        if let Some(&[previous, bits]) = widths.array_windows().find(|[low, high]| low >= high) {
            return Err(ScheduleError::Order { previous, bits });
        }
        Ok(Self(widths))
    }

    /// `low` to `high`, which are widths.
    pub(crate) fn consecutive(low: u32, high: u32) -> Self {
        Self((low..=high).collect())
    }

    /// The widths, in rising order.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// The lowest width.
    pub fn lowest(&self) -> u32 {
        self.0[0]
    }

    /// The highest width.
    pub fn highest(&self) -> u32 {
        self.0[self.0.len() - 1]
    }

    /// Whether `bits` is one of them.
    pub fn contains(&self, bits: u32) -> bool {
        self.0.binary_search(&bits).is_ok()
    }

    /// Those between 16 bits and full precision. A simulation in `f32`, with its 24 bits of mantissa,
    /// can hardly tell them from full precision.
    pub fn beyond_simulation(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied().filter(|bits| (17..Self::FULL).contains(bits))
    }

    /// The width nearest to `value`; the ends of the set beyond them, and the lowest for NaN.
    pub fn nearest(&self, value: f64) -> u32 {
        let above = self.0.partition_point(|&bits| f64::from(bits) < value);
        let (Some(low), Some(&high)) = (above.checked_sub(1), self.0.get(above)) else {
            return if above == 0 { self.lowest() } else { self.highest() };
        };
        let low = self.0[low];
        // Of the distances, value - low and high - value.
        let difference = 2.0 * value - f64::from(low) - f64::from(high);
        let takes_low = if difference.abs() < TIE {
            low.is_multiple_of(2) || !high.is_multiple_of(2) // the even one, or the lower
        } else {
            difference < 0.0
        };
        if takes_low { low } else { high }
    }

    /// The width nearest to the place that is `share` of the way from the lowest to the highest.
    pub(crate) fn at(&self, share: f64) -> u32 {
        let (low, high) = (f64::from(self.lowest()), f64::from(self.highest()));
        self.nearest(low + (high - low) * share)
    }

    /// Checks that the width of a setting is one of the set.
    pub(crate) fn check(&self, key: impl fmt::Display, bits: u32) -> Result<(), ScheduleError> {
        if self.contains(bits) {
            return Ok(());
        }
        let key = key.to_string();
        Err(ScheduleError::NotConfigured { key, bits, widths: self.clone() })
    }
}

impl TryFrom<Vec<u32>> for Widths {
    type Error = ScheduleError;

    fn try_from(widths: Vec<u32>) -> Result<Self, ScheduleError> {
        Self::new(widths)
    }
}

impl From<Widths> for Vec<u32> {
    fn from(widths: Widths) -> Self {
        widths.0
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths<const N: usize>(widths: [u32; N]) -> Widths {
        Widths::new(widths).unwrap()
    }

    #[test]
    fn ties_go_to_the_even_width_or_else_to_the_lower() {
        for (set, value, expected) in [
            (widths([4, 6, 8]), 5.0, 4), // both even
            (widths([4, 6, 8]), 7.0, 6),
            (widths([2, 3, 5]), 4.0, 3), // both odd
            (widths([2, 3, 5]), 2.5, 2), // 2 is even
            (widths([3, 8]), 5.5, 8),    // 8 is even
            (widths([8, 32]), 20.0, 8),
        ] {
            assert_eq!(set.nearest(value), expected, "{value} in {set}");
            // Rounding errors do not decide, and nothing else is a tie.
            assert_eq!(set.nearest(value - 4e-10), expected, "{value} in {set}");
            assert_eq!(set.nearest(value + 4e-10), expected, "{value} in {set}");
            assert!(set.nearest(value - 1e-8) < set.nearest(value + 1e-8), "{value} in {set}");
        }
    }

    #[test]
    fn consecutive_widths_round_to_nearest_even() {
        let set = Widths::new(2..=18).unwrap();
        for quarter in 8..=72 {
            let value = f64::from(quarter) / 4.0;
            assert_eq!(f64::from(set.nearest(value)), value.round_ties_even(), "{value}");
        }
    }

    #[test]
    fn beyond_the_ends_are_the_ends() {
        let set = widths([4, 6, 32]);
        for (value, expected) in
            [(f64::NEG_INFINITY, 4), (3.9, 4), (32.1, 32), (f64::INFINITY, 32), (f64::NAN, 4)]
        {
            assert_eq!(set.nearest(value), expected, "{value}");
        }
        assert_eq!(widths([7]).nearest(1.0), 7);
        assert_eq!(widths([7]).at(0.5), 7);
    }

    #[test]
    fn what_is_no_set_of_widths() {
        let error = |widths: &[u32]| Widths::new(widths.iter().copied()).unwrap_err();
        assert_eq!(error(&[]), ScheduleError::NoWidth);
        for bits in [0, 1, 19, 31, 33, u32::MAX] {
            assert_eq!(error(&[4, bits]), ScheduleError::Width { bits });
        }
        assert_eq!(error(&[4, 8, 6]), ScheduleError::Order { previous: 8, bits: 6 });
        assert_eq!(error(&[4, 4]), ScheduleError::Order { previous: 4, bits: 4 });
        let every = Widths::new((2..=18).chain([32])).unwrap();
        assert_eq!(every.beyond_simulation().collect::<Vec<_>>(), [17, 18]);
    }

    #[test]
    fn a_set_is_read_and_written_as_a_list() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct File {
            widths: Widths,
        }
        let file = File { widths: widths([4, 6, 8]) };
        assert_eq!(toml::from_str("widths = [4, 6, 8]"), Ok(File { widths: widths([4, 6, 8]) }));
        assert_eq!(toml::to_string(&file).unwrap(), "widths = [4, 6, 8]\n");
        let error = toml::from_str::<File>("widths = [4, 1]").unwrap_err();
        assert_eq!(error.message(), "`widths` has 1, expected 2 to 18 or 32");
    }
}
