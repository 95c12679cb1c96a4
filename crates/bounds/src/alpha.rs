//! Smoothing weights $\alpha = \mathrm{odd}/2^b$ with a complete prefix code.
//!
//! # Definition
//! $b \ge 1$ is written in Elias' gamma code, the $2^{b-1}$ odd numerators below $2^b$ in $b - 1$ bits:
//! $$ L_\alpha = (2 \lfloor \log_2 b \rfloor + 1) + (b - 1) = b + 2 \lfloor \log_2 b \rfloor. $$
//! The sum of $2^{-L_\alpha}$ over all weights is 1, so a bound that pays $L_\alpha$ holds for all of
//! them at once, and the weight may be chosen after the losses are seen.
//!
//! # Reference
//! Gamma code: P. Elias, *Universal codeword sets and representations of the integers*, IEEE
//! Transactions on Information Theory 21(2), 1975.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code_length::elias_gamma;
use crate::{Bits, BoundError, Certified};

/// A smoothing weight from the coded grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Alpha {
    numerator: u32,
    exponent: u32,
}

/// An [`Alpha`] on disk, unchecked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    numerator: u32,
    exponent: u32,
}

impl Alpha {
    /// The largest $b$.
    pub const MAX_EXPONENT: u32 = 31;

    /// The weight `numerator / 2^exponent`.
    ///
    /// # Errors
    /// If the numerator is even or the weight not below 1, or the exponent not in 1 to 31.
    pub fn new(numerator: u32, exponent: u32) -> Result<Self, BoundError> {
        let valid = (1..=Self::MAX_EXPONENT).contains(&exponent)
            && numerator % 2 == 1
            && numerator < 1 << exponent;
        if valid {
            Ok(Self { numerator, exponent })
        } else {
            Err(BoundError::Alpha { numerator, exponent })
        }
    }

    /// The odd numerator.
    pub fn numerator(self) -> u32 {
        self.numerator
    }

    /// $b$, the exponent of the denominator.
    pub fn exponent(self) -> u32 {
        self.exponent
    }

    /// The weight itself, exactly.
    pub fn value(self) -> f64 {
        f64::from(self.numerator) / f64::from(1_u32 << self.exponent)
    }

    /// $L_\alpha$.
    pub fn code_length(self) -> Bits {
        Bits::whole(
            elias_gamma(self.exponent.into()).map_or(0, |b| b + u64::from(self.exponent - 1)),
        )
    }

    /// Every weight with an exponent of at most `max_exponent`, in the order of the code.
    pub fn grid(max_exponent: u32) -> impl Iterator<Item = Self> {
        (1..=max_exponent.min(Self::MAX_EXPONENT)).flat_map(|exponent| {
            (1..1 << exponent).step_by(2).map(move |numerator| Self { numerator, exponent })
        })
    }

    /// The weight with the least bound among exponents of at most `max_exponent`, and that bound.
    ///
    /// The risk is convex in the weight. Where the rest of the bound falls with the weight at a constant
    /// code length, as it does for inequalities of Hoeffding's type, parts of the grid are ruled out
    /// unseen and the result is that of trying all $2^b - 1$ weights. For other bounds a better weight
    /// may be missed; what is returned is valid all the same, since every weight is paid for.
    ///
    /// # Errors
    /// The first error of `certify`.
    pub fn search<E>(
        max_exponent: u32,
        certify: impl FnMut(Self) -> Result<Certified, E>,
    ) -> Result<(Self, Certified), E> {
        let finest = max_exponent.clamp(1, Self::MAX_EXPONENT);
        let mut search = Search { certify, seen: HashMap::new(), finest };
        let (mut low, mut high) = (1, (1_u32 << finest) - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if search.at(middle)?.1.risk <= search.at(middle + 1)?.1.risk {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let valley = low;
        let mut best = search.at(1 << (finest - 1))?;
        for exponent in 1..=finest {
            let step = 1 << (finest - exponent);
            let mut open = vec![(step, (1_u32 << finest) - step)];
            while let Some((low, high)) = open.pop() {
                // Multiples of the finest step, both odd at this exponent.
                let nearest = valley.clamp(low, high);
                let rest = search.at(high)?.1;
                if search.at(nearest)?.1.risk + (rest.bound - rest.risk) >= best.1.bound {
                    continue;
                }
                if low == high {
                    best = search.at(low)?;
                    continue;
                }
                let middle = low + (high - low) / (4 * step) * (2 * step);
                open.extend([(middle + 2 * step, high), (low, middle)]);
            }
        }
        Ok(best)
    }
}

/// Certified bounds by numerator over $2^{\mathtt{finest}}$.
struct Search<F> {
    certify: F,
    seen: HashMap<u32, Certified>,
    finest: u32,
}

impl<E, F: FnMut(Alpha) -> Result<Certified, E>> Search<F> {
    fn at(&mut self, numerator: u32) -> Result<(Alpha, Certified), E> {
        let halvings = numerator.trailing_zeros();
        let alpha = Alpha { numerator: numerator >> halvings, exponent: self.finest - halvings };
        if let Some(&certified) = self.seen.get(&numerator) {
            return Ok((alpha, certified));
        }
        let certified = (self.certify)(alpha)?;
        self.seen.insert(numerator, certified);
        Ok((alpha, certified))
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, 1_u32 << self.exponent)
    }
}

impl TryFrom<Parts> for Alpha {
    type Error = BoundError;

    fn try_from(parts: Parts) -> Result<Self, BoundError> {
        Self::new(parts.numerator, parts.exponent)
    }
}

impl From<Alpha> for Parts {
    fn from(alpha: Alpha) -> Self {
        Self { numerator: alpha.numerator, exponent: alpha.exponent }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn code_lengths_are_those_of_the_reference() {
        for (exponent, bits) in
            [(1, 1.0), (2, 4.0), (3, 5.0), (4, 8.0), (5, 9.0), (8, 14.0), (16, 24.0)]
        {
            assert_eq!(Alpha::new(1, exponent).unwrap().code_length().get(), bits, "{exponent}");
        }
    }

    #[test]
    fn the_grid_has_every_weight_once_and_obeys_kraft() {
        let grid: Vec<Alpha> = Alpha::grid(16).collect();
        let distinct: HashSet<u64> = grid.iter().map(|alpha| alpha.value().to_bits()).collect();
        assert_eq!((grid.len(), distinct.len()), (65_535, 65_535)); // 2^16 - 1 multiples of 2^-16
        let kraft: f64 = grid.iter().map(|alpha| (-alpha.code_length().get()).exp2()).sum();
        // Exponent b adds 2^(b-1) 2^-(b + 2 floor(log2 b)) = 2^-(1 + 2 floor(log2 b)):
        // 1/2 + 2/8 + 4/32 + 8/128 + 1/512 up to 16.
        assert_eq!(kraft, 0.939_453_125);
    }

    #[test]
    fn weights_off_the_grid_are_refused() {
        for (numerator, exponent) in [(2, 2), (0, 1), (3, 1), (1, 0), (1, 32), (u32::MAX, 31)] {
            let alpha = Alpha::new(numerator, exponent);
            assert_eq!(alpha, Err(BoundError::Alpha { numerator, exponent }));
        }
        assert!(serde_json::from_str::<Alpha>(r#"{"numerator":2,"exponent":3}"#).is_err());
        let alpha = Alpha::new(3, 3).unwrap();
        assert_eq!((alpha.to_string().as_str(), alpha.value()), ("3/8", 0.375));
        let json = serde_json::to_string(&alpha).unwrap();
        assert_eq!(serde_json::from_str::<Alpha>(&json).unwrap(), alpha);
    }
}
