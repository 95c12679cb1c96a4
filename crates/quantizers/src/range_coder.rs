//! Symbols to bits and back under any entropy model, by range coding with a self-delimiting end.
//!
//! # Definition
//! Range coding narrows an interval of $[0, 1)$ to width $P$, the product of the (quantised)
//! probabilities of the symbols. We end with the shortest string of bits all of whose continuations
//! lie inside, the lowest of its length: no codeword is the beginning of another, and
//! $$ -\log_2 P \le \text{length} < -\log_2 P + 2 . $$
//! Whoever knows the model and the number of symbols knows where the codeword ends.
//!
//! # Reference
//! R. Pasco, *Source coding algorithms for fast data compression*, 1976, as implemented by the crate
//! `constriction` (R. Bamler, arXiv:2201.01741). Its own ending is meant for whole words; ours
//! replaces it. Words of 32 bits, a state of 128: the interval keeps at least 96 bits, so that what
//! is lost to its integer division by $2^{32}$ stays below $2^{-63}$ bits a symbol.

use constriction::stream::queue::{EncoderSituation, RangeDecoder, RangeEncoder};
use constriction::stream::{Decode, Encode};

use crate::DecodeError;
use crate::bits::{BitReader, BitString};
use crate::entropy_model::EntropyModel;

/// Appends the codeword of `symbols` to `out`.
///
/// # Panics
/// If the model gives one of the symbols the probability 0.
pub(crate) fn encode(symbols: &[u8], mut model: impl EntropyModel, out: &mut BitString) {
    let mut coder = RangeEncoder::<u32, u128>::new();
    let mut is_empty = true;
    for &symbol in symbols {
        if model.frequencies().certain().is_none() {
            coder.encode_symbol(symbol, model.frequencies()).expect("a possible symbol");
            is_empty = false;
        }
        model.observe(symbol);
    }
    if is_empty {
        return;
    }

    // The interval is [lower, lower + range) in units of 2^-(128 + bits written and held back).
    let (words, state, situation) = coder.into_raw_parts();
    let (lower, range) = (state.lower(), state.range().get());
    let gap = |bits: u32| lower.wrapping_neg() & (u128::MAX >> bits); // up to a multiple of 2^(128 - bits)
    let fits = |bits: &u32| gap(*bits) + (1 << (128 - bits)) <= range;
    let bits = (1..=128).find(fits).expect("the range is at least 2^96");
    let (last, carry) = lower.overflowing_add(gap(bits));

    for word in words {
        out.push(u64::from(word), 32);
    }
    if let EncoderSituation::Inverted(held_back, first) = situation {
        let (first, others) = if carry { (first + 1, 0) } else { (first, u32::MAX) };
        out.push(u64::from(first), 32);
        for _ in 1..held_back.get() {
            out.push(u64::from(others), 32);
        }
    }
    out.push((last >> 64) as u64 >> (64 - bits), bits);
}

/// Reads a codeword of `len` symbols, and refuses what [`encode`] would not have written.
pub(crate) fn decode(
    bits: &mut BitReader<'_>,
    model: impl EntropyModel,
    len: usize,
) -> Result<Vec<u8>, DecodeError> {
    let (start, mut ahead) = (bits.clone(), model.clone());
    let mut coder = RangeDecoder::<u32, u128, _>::from_compressed(start.words())
        .unwrap_or_else(|infallible| match infallible {});
    let mut symbols = Vec::with_capacity(len);
    for index in 0..len {
        let symbol = match ahead.frequencies().certain() {
            Some(symbol) => symbol,
            None => coder
                .decode_symbol(ahead.frequencies())
                .map_err(|_invalid| DecodeError::NoCodeword { index })?,
        };
        ahead.observe(symbol);
        symbols.push(symbol);
    }
    let mut codeword = BitString::default();
    encode(&symbols, model, &mut codeword);
    bits.skip(&codeword)?;
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frequencies::Frequencies;

    /// Probabilities 3/8, 2/8, 3/8 forever.
    #[derive(Clone)]
    struct Fixed(Frequencies);

    impl EntropyModel for Fixed {
        fn frequencies(&self) -> &Frequencies {
            &self.0
        }

        fn observe(&mut self, _symbol: u8) {}
    }

    #[test]
    fn words_held_back_for_a_carry_come_out_right() {
        // The middle symbol keeps the interval around 1/2, between 0111... and 1000..., so that no
        // word can be written before a last symbol, or the end, decides.
        let model = Fixed(Frequencies::new(vec![3, 2, 3]));
        for (middles, last) in (0..60).flat_map(|n| [0, 1, 2].map(|last| (n, last))) {
            let mut symbols = vec![1; middles];
            symbols.push(last);
            let mut bits = BitString::default();
            encode(&symbols, model.clone(), &mut bits);
            let ideal = 2.0 * middles as f64 + if last == 1 { 2.0 } else { (8.0_f64 / 3.0).log2() };
            assert!((ideal..ideal + 2.0 + 1e-9).contains(&(bits.len() as f64)), "{symbols:?}");
            let bytes = bits.into_bytes();
            let decoded = decode(&mut BitReader::new(&bytes), model.clone(), symbols.len());
            assert_eq!(decoded, Ok(symbols));
        }
    }
}
