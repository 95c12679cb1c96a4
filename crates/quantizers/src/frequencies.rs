//! Integer frequencies of an alphabet, as the entropy coder sees them.
//!
//! # Definition
//! With frequencies $f_0, \dots, f_{L-1}$, their partial sums $C_k = \sum_{j<k} f_j$ and total
//! $T = C_L$, symbol $k$ owns the integers $F_k \le q < F_{k+1}$ of $[0, 2^{32})$, where
//! $$ F_k = \lfloor 2^{32} C_k / T \rfloor . $$
//! The symbol that owns $q$ is the one with $C_k \le \lfloor ((q + 1) T - 1) / 2^{32} \rfloor <
//! C_{k+1}$. Both sides compute this in integers; a symbol of frequency 0 owns nothing, and one of
//! frequency at least 1 owns something as long as $T \le 2^{32}$. The rounding costs less than
//! $2^{-32} T / f_k$ of a symbol's probability.

use std::borrow::Borrow;
use std::num::NonZeroU32;

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};

/// Bits of a quantised probability.
pub(crate) const PRECISION: usize = 32;

/// Frequencies with their total, which stays below $2^{32}$.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frequencies {
    each: Vec<u32>,
    total: u64,
    /// How many symbols have a frequency above 0.
    possible: usize,
}

impl Frequencies {
    /// # Panics
    /// If the total reaches $2^{32}$.
    pub(crate) fn new(each: Vec<u32>) -> Self {
        let total = each.iter().copied().map(u64::from).sum();
        assert!(total < 1 << PRECISION, "frequencies sum to {total}");
        let possible = each.iter().filter(|&&it| it > 0).count();
        Self { each, total, possible }
    }

    /// The only symbol with a frequency above 0, if there is only one. It needs no code.
    pub(crate) fn certain(&self) -> Option<u8> {
        let only = || self.each.iter().position(|&it| it > 0);
        if self.possible == 1 { only().map(|symbol| symbol as u8) } else { None }
    }

    /// Raises the frequency of `symbol`, which is above 0.
    pub(crate) fn raise(&mut self, symbol: u8, by: u32) {
        self.each[usize::from(symbol)] += by;
        self.total += u64::from(by);
    }

    /// Takes one from the frequency of `symbol`, which is above 0.
    pub(crate) fn take(&mut self, symbol: u8) {
        let frequency = &mut self.each[usize::from(symbol)];
        *frequency -= 1;
        self.total -= 1;
        if *frequency == 0 {
            self.possible -= 1;
        }
    }

    /// $F_k$ and $F_{k+1} - F_k$ for the symbol whose frequencies below it sum to `below`.
    fn slot(&self, below: u64, frequency: u32) -> Option<(u32, NonZeroU32)> {
        let left = (below << PRECISION) / self.total;
        let right = ((below + u64::from(frequency)) << PRECISION) / self.total;
        Some((u32::try_from(left).ok()?, NonZeroU32::new(u32::try_from(right - left).ok()?)?))
    }
}

impl EntropyModel<PRECISION> for Frequencies {
    type Symbol = u8;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Frequencies {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl Borrow<u8>,
    ) -> Option<(u32, NonZeroU32)> {
        let (before, rest) = self.each.split_at_checked(usize::from(*symbol.borrow()))?;
        self.slot(before.iter().copied().map(u64::from).sum(), *rest.first()?)
    }
}

impl DecoderModel<PRECISION> for Frequencies {
    fn quantile_function(&self, quantile: u32) -> (u8, u32, NonZeroU32) {
        let target = ((u64::from(quantile) + 1) * self.total - 1) >> PRECISION;
        let mut below = 0;
        for (symbol, &frequency) in self.each.iter().enumerate() {
            if target < below + u64::from(frequency) {
                let (left, width) =
                    self.slot(below, frequency).expect("the symbol is possible and not certain");
                return (symbol as u8, left, width);
            }
            below += u64::from(frequency);
        }
        unreachable!("the target is below the total")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_tile_the_range_and_are_found_again() {
        for each in [vec![1, 1, 1], vec![0, 5, 0, 1, 0], vec![1; 255], vec![1, u32::MAX - 2, 1]] {
            let frequencies = Frequencies::new(each.clone());
            let mut next = 0;
            for symbol in (0..each.len() as u8).filter(|&it| each[usize::from(it)] > 0) {
                let (left, width) = frequencies.left_cumulative_and_probability(symbol).unwrap();
                assert_eq!(u64::from(left), next);
                next += u64::from(width.get());
                let last = (next - 1) as u32;
                assert_eq!(frequencies.quantile_function(left), (symbol, left, width));
                assert_eq!(frequencies.quantile_function(last), (symbol, left, width));
            }
            assert_eq!(next, 1 << 32, "{each:?}");
        }
    }

    #[test]
    fn impossible_symbols_have_no_slot() {
        let frequencies = Frequencies::new(vec![2, 0, 3]);
        assert_eq!(frequencies.left_cumulative_and_probability(1), None);
        assert_eq!(frequencies.left_cumulative_and_probability(3), None);
    }

    #[test]
    fn the_last_possible_symbol_is_certain() {
        let mut frequencies = Frequencies::new(vec![0, 1, 2]);
        assert_eq!(frequencies.certain(), None);
        frequencies.take(1);
        assert_eq!(frequencies.certain(), Some(2));
    }
}
