//! A quantised vector as one self-delimiting string of bytes, and back.
//!
//! # Format
//! Bits, most significant first:
//! 1. $d$ and $L$, each in Elias gamma, and one bit: 0 for Krichevsky–Trofimov, 1 for counts;
//! 2. the centroids, fp16, in increasing order;
//! 3. with counts only: the number of binary digits of each of the first $L - 1$ counts, as symbols
//!    of one range-coded stream under Krichevsky–Trofimov over $0, \dots, \lfloor \log_2 d \rfloor +
//!    1$; then, of each count above 1, its digits but the leading one. The last count is what is left;
//! 4. the $d$ symbols, one range-coded stream;
//! 5. zeros up to a whole byte.
//!
//! The encoder writes both forms and keeps the shorter, the first of two equally long. The decoder
//! accepts nothing else: one vector has one string, and no string is the beginning of another.

use half::f16;

use crate::bits::{BitReader, BitString};
use crate::entropy_model::{KnownCounts, KrichevskyTrofimov};
use crate::{Codebook, CodebookError, DecodeError, range_coder};

/// A codebook and the symbol of every coefficient: what a quantiser makes and a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CodedVector {
    codebook: Codebook,
    /// `[d]`, each below the number of levels.
    symbols: Vec<u8>,
}

/// Where the bits of a coded vector go. All of them are measured on the string itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLength {
    /// Dimension, number of levels and choice of entropy model.
    pub header: usize,
    /// Centroids.
    pub codebook: usize,
    /// Table of counts. 0 where Krichevsky–Trofimov, which has none, was shorter.
    pub counts: usize,
    /// Range-coded symbols.
    pub symbols: usize,
    /// Zeros up to a whole byte.
    pub padding: usize,
}

impl CodeLength {
    /// All bits: eight times the number of bytes.
    pub fn total(&self) -> usize {
        self.header + self.codebook + self.counts + self.symbols + self.padding
    }
}

impl CodedVector {
    /// The most coefficients a string can hold.
    pub const MAX_DIMENSION: u32 = 1 << 30;

    /// Joins a codebook and symbols, `[d]`.
    ///
    /// # Errors
    /// If there are no or too many symbols, or one names no centroid.
    pub fn new(codebook: Codebook, symbols: Vec<u8>) -> Result<Self, CodebookError> {
        check_dimension(symbols.len())?;
        let levels = codebook.len();
        if let Some(index) = symbols.iter().position(|&it| usize::from(it) >= levels) {
            return Err(CodebookError::SymbolOutOfRange { index, symbol: symbols[index], levels });
        }
        Ok(Self { codebook, symbols })
    }

    /// Rounds `centroids`, `[levels]`, to fp16, gives every value, `[d]`, its nearest one in what is
    /// left, and drops the levels that no value chose.
    ///
    /// # Errors
    /// If there are no or too many values or centroids, or any is not finite.
    pub fn nearest(values: &[f32], centroids: &[f64]) -> Result<Self, CodebookError> {
        check_dimension(values.len())?;
        let codebook = Codebook::round(centroids)?;
        let symbols = codebook.assign(values)?;
        let counts = count(&symbols, codebook.len());
        let used = |level: &usize| counts[*level] > 0;
        let kept: Vec<usize> = (0..codebook.len()).filter(used).collect();
        let centroids: Vec<f16> = kept.iter().map(|&it| codebook.centroids()[it]).collect();
        let renamed = |&symbol: &u8| kept.partition_point(|&it| it < usize::from(symbol)) as u8;
        Self::new(Codebook::new(centroids)?, symbols.iter().map(renamed).collect())
    }

    /// The levels.
    pub fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    /// The symbol of every coefficient, `[d]`.
    pub fn symbols(&self) -> &[u8] {
        &self.symbols
    }

    /// How often each level occurs, `[levels]`.
    pub fn counts(&self) -> Vec<u64> {
        count(&self.symbols, self.codebook.len()).into_iter().map(u64::from).collect()
    }

    /// The coefficients a decoder sees, `[d]`, exact in `f32`.
    pub fn dequantize(&self) -> Vec<f32> {
        let levels: Vec<f32> = self.codebook.centroids().iter().map(|it| it.to_f32()).collect();
        self.symbols.iter().map(|&symbol| levels[usize::from(symbol)]).collect()
    }

    /// The one string of this vector.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode().0
    }

    /// How long it is, and what takes the room.
    pub fn length(&self) -> CodeLength {
        self.encode().1
    }

    /// Reads a string that fills `bytes`.
    ///
    /// # Errors
    /// If [`Self::read_prefix`] fails or does not come to the end.
    pub fn from_bytes(bytes: &[u8], max_dimension: u32) -> Result<Self, DecodeError> {
        let (vector, used) = Self::read_prefix(bytes, max_dimension)?;
        match bytes.len() - used {
            0 => Ok(vector),
            bytes => Err(DecodeError::TrailingBytes { bytes }),
        }
    }

    /// Reads the string at the beginning of `bytes`, and says how many bytes it has. Takes memory and
    /// time in proportion to the dimension, which is at most `max_dimension`, and to the input.
    ///
    /// # Errors
    /// If `bytes` begin with no string that [`Self::to_bytes`] writes, or the dimension is too large.
    pub fn read_prefix(bytes: &[u8], max_dimension: u32) -> Result<(Self, usize), DecodeError> {
        let mut bits = BitReader::new(bytes);
        let max = max_dimension.min(Self::MAX_DIMENSION);
        let dimension = match bits.read_gamma()? {
            Ok(it) if it <= max => it,
            other => {
                let dimension = other.map_or_else(|least| least, u64::from);
                return Err(DecodeError::DimensionAboveLimit { dimension, max });
            }
        };
        let levels = match bits.read_gamma()? {
            Ok(it) if it as usize <= Codebook::MAX_LEVELS => it as usize,
            other => {
                let levels = other.map_or_else(|least| least, u64::from);
                return Err(DecodeError::LevelCount { levels });
            }
        };
        let has_counts = bits.read(1)? == 1;
        let centroids: Result<Vec<f16>, DecodeError> =
            (0..levels).map(|_| Ok(f16::from_bits(bits.read(16)? as u16))).collect();
        let codebook = Codebook::new(centroids?)?;
        let symbols = if has_counts {
            let counts = read_counts(&mut bits, dimension, levels)?;
            range_coder::decode(&mut bits, KnownCounts::new(&counts), dimension as usize)?
        } else {
            range_coder::decode(&mut bits, KrichevskyTrofimov::new(levels), dimension as usize)?
        };
        let vector = Self { codebook, symbols };
        let used = bits.position().div_ceil(8);
        if vector.to_bytes() == bytes[..used] {
            Ok((vector, used))
        } else {
            Err(DecodeError::NotCanonical)
        }
    }

    fn encode(&self) -> (Vec<u8>, CodeLength) {
        let levels = self.codebook.len();
        let mut adaptive = BitString::default();
        range_coder::encode(&self.symbols, KrichevskyTrofimov::new(levels), &mut adaptive);
        let counts = count(&self.symbols, levels);
        let (mut table, mut enumerative) = (BitString::default(), BitString::default());
        write_counts(&counts, &mut table);
        range_coder::encode(&self.symbols, KnownCounts::new(&counts), &mut enumerative);
        let has_counts = table.len() + enumerative.len() < adaptive.len();

        let mut bits = BitString::default();
        bits.push_gamma(self.symbols.len() as u32);
        bits.push_gamma(levels as u32);
        bits.push(u64::from(has_counts), 1);
        let header = bits.len();
        for centroid in self.codebook.centroids() {
            bits.push(u64::from(centroid.to_bits()), 16);
        }
        let codebook = bits.len() - header;
        let (counts, symbols) =
            if has_counts { (table, enumerative) } else { (BitString::default(), adaptive) };
        bits.extend(&counts);
        bits.extend(&symbols);
        let padding = bits.len().next_multiple_of(8) - bits.len();
        let (counts, symbols) = (counts.len(), symbols.len());
        (bits.into_bytes(), CodeLength { header, codebook, counts, symbols, padding })
    }
}

fn check_dimension(len: usize) -> Result<(), CodebookError> {
    let max = CodedVector::MAX_DIMENSION as usize;
    match len {
        0 => Err(CodebookError::NoValues),
        len if len > max => Err(CodebookError::TooManyValues { len, max }),
        _ => Ok(()),
    }
}

fn count(symbols: &[u8], levels: usize) -> Vec<u32> {
    let mut counts = vec![0; levels];
    for &symbol in symbols {
        counts[usize::from(symbol)] += 1;
    }
    counts
}

/// The number of binary digits, 0 for 0.
fn digits(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

fn write_counts(counts: &[u32], bits: &mut BitString) {
    let dimension: u32 = counts.iter().sum();
    let first = &counts[..counts.len() - 1];
    let lengths: Vec<u8> = first.iter().map(|&count| digits(count) as u8).collect();
    let model = KrichevskyTrofimov::new(digits(dimension) as usize + 1);
    range_coder::encode(&lengths, model, bits);
    for (&count, &length) in first.iter().zip(&lengths) {
        bits.push(u64::from(count), u32::from(length).saturating_sub(1));
    }
}

fn read_counts(
    bits: &mut BitReader<'_>,
    dimension: u32,
    levels: usize,
) -> Result<Vec<u32>, DecodeError> {
    let model = KrichevskyTrofimov::new(digits(dimension) as usize + 1);
    let lengths = range_coder::decode(bits, model, levels - 1)?;
    let (mut counts, mut sum) = (Vec::with_capacity(levels), 0);
    for (level, length) in lengths.into_iter().enumerate() {
        let count = match u32::from(length).checked_sub(1) {
            None => 0,
            Some(low) => 1 << low | bits.read(low)?,
        };
        sum += count;
        if sum > u64::from(dimension) {
            return Err(DecodeError::CountsExceedDimension { level, sum, dimension });
        }
        counts.push(count as u32);
    }
    counts.push(dimension - sum as u32);
    Ok(counts)
}

#[cfg(test)]
mod tests;
