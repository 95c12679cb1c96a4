//! The quantities whose mix-up voids a bound, a type each: code lengths in bits, divergences in
//! nats, failure probabilities and loss ranges. A value of these types is legal by construction.

use std::f64::consts::LN_2;
use std::iter::Sum;
use std::num::NonZeroU64;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::BoundError;

/// A length in bits: finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Bits(f64);

/// A length in nats: finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Nats(f64);

fn length(value: f64) -> Result<f64, BoundError> {
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(BoundError::Length(value)) }
}

impl Bits {
    /// No bits.
    pub const ZERO: Self = Self(0.0);

    /// A length of `value` bits.
    ///
    /// # Errors
    /// If it is negative, infinite or not a number.
    pub fn new(value: f64) -> Result<Self, BoundError> {
        length(value).map(Self)
    }

    /// A length of `count` whole bits.
    pub fn whole(count: u64) -> Self {
        Self(count as f64)
    }

    /// The number of bits.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The same length in nats: $\ln 2$ for each bit.
    pub fn to_nats(self) -> Nats {
        Nats(self.0 * LN_2)
    }
}

impl Nats {
    /// A length of `value` nats.
    ///
    /// # Errors
    /// If it is negative, infinite or not a number.
    pub fn new(value: f64) -> Result<Self, BoundError> {
        length(value).map(Self)
    }

    /// The number of nats.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The same length in bits: $1 / \ln 2$ for each nat.
    pub fn to_bits(self) -> Bits {
        Bits((self.0 / LN_2).min(f64::MAX))
    }
}

impl Add for Bits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).min(f64::MAX))
    }
}

impl Sum for Bits {
    fn sum<I: Iterator<Item = Self>>(lengths: I) -> Self {
        lengths.fold(Self::ZERO, Add::add)
    }
}

impl TryFrom<f64> for Bits {
    type Error = BoundError;

    fn try_from(value: f64) -> Result<Self, BoundError> {
        Self::new(value)
    }
}

impl From<Bits> for f64 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl TryFrom<f64> for Nats {
    type Error = BoundError;

    fn try_from(value: f64) -> Result<Self, BoundError> {
        Self::new(value)
    }
}

impl From<Nats> for f64 {
    fn from(nats: Nats) -> Self {
        nats.0
    }
}

/// The probability that a statement fails: in (0, 1).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct FailureProbability(f64);

impl FailureProbability {
    /// A failure probability of `value`.
    ///
    /// # Errors
    /// If it is not a number in (0, 1).
    pub fn new(value: f64) -> Result<Self, BoundError> {
        if value > 0.0 && value < 1.0 {
            Ok(Self(value))
        } else {
            Err(BoundError::Probability(value))
        }
    }

    /// The probability.
    pub fn get(self) -> f64 {
        self.0
    }

    /// $\ln(1/\delta)$.
    pub fn ln_inverse(self) -> Nats {
        Nats(-self.0.ln())
    }

    /// One of `parts` equal parts, so that statements that fail with this much each fail together
    /// with at most the whole: bound families, metrics or units that are quoted side by side.
    ///
    /// # Errors
    /// If a part is too small for an `f64`.
    pub fn split(self, parts: NonZeroU64) -> Result<Self, BoundError> {
        Self::new(self.0 / parts.get() as f64)
    }
}

impl TryFrom<f64> for FailureProbability {
    type Error = BoundError;

    fn try_from(value: f64) -> Result<Self, BoundError> {
        Self::new(value)
    }
}

impl From<FailureProbability> for f64 {
    fn from(delta: FailureProbability) -> Self {
        delta.0
    }
}

/// The interval $[a, b]$ in which every loss lies: finite, $a < b$.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRange {
    low: f64,
    high: f64,
}

impl LossRange {
    /// The range of an error rate.
    pub const UNIT: Self = Self { low: 0.0, high: 1.0 };

    /// The range from `low` to `high`.
    ///
    /// # Errors
    /// If an end or the width is not finite, or the width is not positive.
    pub fn new(low: f64, high: f64) -> Result<Self, BoundError> {
        if low < high && (high - low).is_finite() {
            Ok(Self { low, high })
        } else {
            Err(BoundError::Range { low, high })
        }
    }

    /// $a$.
    pub fn low(self) -> f64 {
        self.low
    }

    /// $b$.
    pub fn high(self) -> f64 {
        self.high
    }

    /// $\Delta = b - a$.
    pub fn width(self) -> f64 {
        self.high - self.low
    }

    /// $(x - a) / \Delta$, the loss `x` on the scale of an error rate.
    pub(crate) fn to_unit(self, x: f64) -> f64 {
        ((x - self.low) / self.width()).clamp(0.0, 1.0)
    }

    /// $a + \Delta u$, the inverse of [`Self::to_unit`].
    pub(crate) fn at(self, u: f64) -> f64 {
        self.low + self.width() * u
    }

    /// Refuses the first of `values` that is not a number of this range.
    pub(crate) fn check(self, what: &'static str, values: &[f64]) -> Result<(), BoundError> {
        let Self { low, high } = self;
        match values.iter().position(|value| !(low..=high).contains(value)) {
            None => Ok(()),
            Some(index) => Err(BoundError::Value { what, index, value: values[index], low, high }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_nats_convert_explicitly() {
        let bits = Bits::new(3.0).unwrap();
        assert!((bits.to_nats().get() - 3.0 * LN_2).abs() < 1e-15);
        assert!((bits.to_nats().to_bits().get() - 3.0).abs() < 1e-15);
        assert_eq!([Bits::whole(2), Bits::new(0.5).unwrap()].into_iter().sum::<Bits>().get(), 2.5);
    }

    #[test]
    fn illegal_numbers_are_refused() {
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Bits::new(value), Err(BoundError::Length(_))), "{value}");
            assert!(matches!(Nats::new(value), Err(BoundError::Length(_))), "{value}");
        }
        for value in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            let delta = FailureProbability::new(value);
            assert!(matches!(delta, Err(BoundError::Probability(_))), "{value}");
        }
        for (low, high) in
            [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)]
        {
            assert!(matches!(LossRange::new(low, high), Err(BoundError::Range { .. })));
        }
        assert!(serde_json::from_str::<FailureProbability>("1.5").is_err());
        assert!(serde_json::from_str::<Bits>("-1").is_err());
    }

    #[test]
    fn parts_of_a_failure_probability_sum_to_it() {
        let delta = FailureProbability::new(0.05).unwrap();
        let four = NonZeroU64::new(4).unwrap();
        assert_eq!(delta.split(four).unwrap().get(), 0.0125);
        let tiny = FailureProbability::new(f64::MIN_POSITIVE).unwrap();
        assert!(matches!(tiny.split(NonZeroU64::MAX), Err(BoundError::Probability(_))));
    }
}
