//! Whole numbers below known limits, in a fixed number of bits each.
//!
//! # Format
//! A number below $n$ is $\lceil \log_2 n \rceil$ bits, most significant first, none where $n = 1$; the
//! last byte is filled with zeros. Whoever knows the limits knows the length.

use crate::DecodeError;
use crate::bits::{BitReader, BitString};

/// The bytes of `numbers`, each with what it is below.
///
/// # Panics
/// If a number is not below its limit.
pub fn write_choices(numbers: impl IntoIterator<Item = (u64, u64)>) -> Vec<u8> {
    let mut bits = BitString::default();
    for (number, below) in numbers {
        assert!(number < below, "{number} is not below {below}");
        bits.push(number, width(below));
    }
    bits.into_bytes()
}

/// The numbers that fill `bytes`, with these limits, each at least 1.
///
/// # Errors
/// [`DecodeError`] for any bytes that [`write_choices`] does not write with these limits.
pub fn read_choices(bytes: &[u8], below: &[u64]) -> Result<Vec<u64>, DecodeError> {
    let mut bits = BitReader::new(bytes);
    let read = |(index, &below): (usize, &u64)| match bits.read(width(below))? {
        value if value < below => Ok(value),
        value => Err(DecodeError::ChoiceAboveLimit { index, value, below }),
    };
    let numbers = below.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let used = bits.position().div_ceil(8);
    if used < bytes.len() {
        return Err(DecodeError::TrailingBytes { bytes: bytes.len() - used });
    }
    let written = write_choices(numbers.iter().copied().zip(below.iter().copied()));
    if written == bytes { Ok(numbers) } else { Err(DecodeError::NotCanonical) }
}

fn width(below: u64) -> u32 {
    u64::BITS - below.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_by_hand() {
        // 10 of 0..1001: 10 bits, 0000001010. 1 of 0..2: 1. 0 of 0..1: nothing. 4 of 0..5: 100.
        let numbers = [(10, 1_001), (1, 2), (0, 1), (4, 5)];
        let bytes = write_choices(numbers);
        assert_eq!(bytes, [0b0000_0010, 0b1011_0000]);
        assert_eq!(read_choices(&bytes, &[1_001, 2, 1, 5]), Ok(vec![10, 1, 0, 4]));
        assert_eq!(write_choices([]), []);
        assert_eq!(read_choices(&[], &[]), Ok(vec![]));
        let whole = [(u64::MAX - 1, u64::MAX)];
        assert_eq!(read_choices(&write_choices(whole), &[u64::MAX]), Ok(vec![u64::MAX - 1]));
    }

    #[test]
    fn other_bytes_are_refused() {
        let below = [1_001, 5];
        let error = |bytes: &[u8]| read_choices(bytes, &below).unwrap_err();
        assert_eq!(error(&[0]), DecodeError::Truncated { bits: 8 });
        assert_eq!(error(&[0, 0, 0]), DecodeError::TrailingBytes { bytes: 1 });
        assert_eq!(error(&[0, 1]), DecodeError::NotCanonical); // the padding
        let above = DecodeError::ChoiceAboveLimit { index: 0, value: 1_023, below: 1_001 };
        assert_eq!(error(&[0xFF, 0xC0]), above);
    }
}
