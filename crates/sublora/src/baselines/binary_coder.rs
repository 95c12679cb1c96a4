//! Range coding of binary decisions whose probabilities are learned on the way, and numbers made of
//! such decisions.
//!
//! # Definition
//! A decision that came out $c_0$ times 0 and $c_1$ times 1 is 1 with probability
//! $(c_1 + 1/2) / (c_0 + c_1 + 1)$: Krichevsky and Trofimov's estimate. A number is written with one
//! such [`Bit`] per place of its binarisation.
//!
//! The same function describes a number to the encoder and to the decoder, through [`Coder::bit`]:
//! the encoder takes the value it is given, the decoder ignores it and returns the one it reads.

use std::borrow::Borrow;
use std::num::NonZeroU32;

use constriction::backends::Cursor;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};

const PRECISION: usize = 24;

/// Twice the counts of both outcomes of a decision, plus one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit([u32; 2]);

impl Default for Bit {
    fn default() -> Self {
        Self([1, 1])
    }
}

impl Bit {
    /// Counts are halved where they reach $2^{22}$, so that both outcomes keep a probability.
    fn observe(&mut self, bit: bool) {
        self.0[usize::from(bit)] += 2;
        if self.0[0] + self.0[1] > 1 << 22 {
            self.0 = self.0.map(|count| (count >> 1) | 1);
        }
    }

    /// The 24-bit probability of 0.
    #[expect(clippy::cast_possible_truncation, reason = "less than 2^24")]
    fn split(self) -> u32 {
        let [zeros, ones] = self.0.map(u64::from);
        ((zeros << PRECISION) / (zeros + ones)) as u32
    }

    fn slot(self, bit: bool) -> (u32, NonZeroU32) {
        let split = self.split();
        let (left, width) = if bit { (split, (1 << PRECISION) - split) } else { (0, split) };
        (left, NonZeroU32::new(width).expect("both counts are at least 1 of at most 2^22"))
    }
}

impl EntropyModel<PRECISION> for Bit {
    type Symbol = bool;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Bit {
    fn left_cumulative_and_probability(&self, bit: impl Borrow<bool>) -> Option<(u32, NonZeroU32)> {
        Some(self.slot(*bit.borrow()))
    }
}

impl DecoderModel<PRECISION> for Bit {
    fn quantile_function(&self, quantile: u32) -> (bool, u32, NonZeroU32) {
        let bit = quantile >= self.split();
        let (left, width) = self.slot(bit);
        (bit, left, width)
    }
}

/// The bytes are no code of a predictor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The number of bytes is no multiple of four.
    #[error("code of {0} bytes, expected a multiple of 4")]
    Length(usize),
    /// The bits lie outside every codeword.
    #[error("the code stands for nothing")]
    NoCodeword,
    /// A number is beyond what the encoder writes.
    #[error("the code holds a number out of range")]
    OutOfRange,
    /// More exponents than the format allows.
    #[error("the code holds more than {max} exponents")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// The bytes decode, but the encoder would have written others.
    #[error("the code is not in canonical form")]
    NotCanonical,
}

/// An encoder or a decoder.
pub(super) trait Coder {
    /// Writes `bit`, or reads one.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> Result<bool, DecodeError>;
}

/// Writes.
#[derive(Default)]
pub(super) struct Encoder(DefaultRangeEncoder);

impl Coder for Encoder {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> Result<bool, DecodeError> {
        let Ok(()) = self.0.encode_symbol(bit, *model) else {
            unreachable!("both bits are possible")
        };
        model.observe(bit);
        Ok(bit)
    }
}

impl Encoder {
    /// Whole words, little-endian.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let words = self.0.into_compressed().unwrap_or_else(|infallible| match infallible {});
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

/// Reads.
pub(super) struct Decoder(DefaultRangeDecoder);

impl Decoder {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(DecodeError::Length(bytes.len()));
        }
        let words = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let words = Cursor::new_at_write_beginning(words);
        DefaultRangeDecoder::with_backend(words).map(Self).map_err(|_| DecodeError::NoCodeword)
    }
}

impl Coder for Decoder {
    fn bit(&mut self, model: &mut Bit, _bit: bool) -> Result<bool, DecodeError> {
        let bit = self.0.decode_symbol(*model).map_err(|_invalid| DecodeError::NoCodeword)?;
        model.observe(bit);
        Ok(bit)
    }
}

/// A number below $2^{32} - 1$ by Elias' gamma code of the number plus one, its length in unary.
#[derive(Debug, Clone, Default)]
pub(super) struct Gamma {
    more: [Bit; 32],
    /// The highest place below the leading one.
    top: [Bit; 32],
}

impl Gamma {
    pub(super) fn code(&mut self, coder: &mut impl Coder, number: u32) -> Result<u32, DecodeError> {
        let places = (number + 1).ilog2() as usize;
        let mut read = 0;
        while coder.bit(&mut self.more[read], read < places)? {
            read += 1;
            if read == self.more.len() {
                return Err(DecodeError::OutOfRange);
            }
        }
        let mut value = 1_u32;
        for place in (0..read).rev() {
            let bit = (number + 1) >> place & 1 == 1;
            let mut even = Bit::default();
            let model = if place + 1 == read { &mut self.top[read] } else { &mut even };
            value = value << 1 | u32::from(coder.bit(model, bit)?);
        }
        Ok(value - 1)
    }
}
