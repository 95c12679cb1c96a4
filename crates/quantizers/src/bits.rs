//! A string of bits, most significant first, and the Elias gamma code for positive integers.
//!
//! Elias gamma of $x \ge 1$ with $\lfloor \log_2 x \rfloor = k$ is $k$ zeros, then the $k + 1$ binary
//! digits of $x$: $2k + 1$ bits, prefix-free (P. Elias, *Universal codeword sets and representations
//! of the integers*, IEEE Trans. Inf. Theory 21, 1975).

use crate::DecodeError;

/// A growing string of bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BitString {
    bytes: Vec<u8>,
    len: usize,
}

impl BitString {
    /// Length in bits.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends the `bits` lowest bits of `value`, at most 64.
    pub(crate) fn push(&mut self, value: u64, bits: u32) {
        let mut left = bits as usize;
        while left > 0 {
            let free = 8 - self.len % 8;
            if free == 8 {
                self.bytes.push(0);
            }
            let take = left.min(free);
            let chunk = (value >> (left - take)) as u8 & (0xFF >> (8 - take));
            self.bytes[self.len / 8] |= chunk << (free - take);
            self.len += take;
            left -= take;
        }
    }

    /// Appends the Elias gamma code of `value`, which is at least 1.
    pub(crate) fn push_gamma(&mut self, value: u32) {
        self.push(u64::from(value), 2 * value.ilog2() + 1);
    }

    /// Appends another string.
    pub(crate) fn extend(&mut self, other: &BitString) {
        let mut reader = BitReader::new(&other.bytes);
        let mut left = other.len;
        while left > 0 {
            let bits = left.min(32);
            let chunk = reader.read(bits as u32).expect("the string holds its length");
            self.push(chunk, bits as u32);
            left -= bits;
        }
    }

    /// The bytes, the last one padded with zeros.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A place in a slice of bytes.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bits read so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next `bits` bits, at most 64, as a number.
    pub(crate) fn read(&mut self, bits: u32) -> Result<u64, DecodeError> {
        if self.position + bits as usize > 8 * self.bytes.len() {
            return Err(DecodeError::Truncated { bits: 8 * self.bytes.len() });
        }
        Ok(self.read_padded(bits))
    }

    /// The number behind the next Elias gamma code; `Err` of a lower limit if it is above `u32::MAX`.
    pub(crate) fn read_gamma(&mut self) -> Result<Result<u32, u64>, DecodeError> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros == 32 {
                return Ok(Err(1 << 32));
            }
        }
        let low = self.read(zeros)?;
        Ok(Ok(u32::try_from(1 << zeros | low).expect("at most 32 digits")))
    }

    /// The rest as words of 32 bits, the last one padded with zeros. The place does not move.
    pub(crate) fn words(&self) -> Vec<u32> {
        let mut ahead = self.clone();
        let bits = 8 * self.bytes.len() - self.position;
        (0..bits.div_ceil(32)).map(|_| ahead.read_padded(32) as u32).collect()
    }

    /// Moves past `expected`, which must come next.
    pub(crate) fn skip(&mut self, expected: &BitString) -> Result<(), DecodeError> {
        if self.position + expected.len > 8 * self.bytes.len() {
            return Err(DecodeError::Truncated { bits: 8 * self.bytes.len() });
        }
        let mut other = BitReader::new(&expected.bytes);
        let mut left = expected.len;
        while left > 0 {
            let bits = left.min(64) as u32;
            if self.read_padded(bits) != other.read_padded(bits) {
                return Err(DecodeError::NotCanonical);
            }
            left -= bits as usize;
        }
        Ok(())
    }

    fn read_padded(&mut self, bits: u32) -> u64 {
        let mut value = 0;
        let mut left = bits as usize;
        while left > 0 {
            let (byte, offset) = (self.position / 8, self.position % 8);
            let take = left.min(8 - offset);
            let byte = self.bytes.get(byte).copied().unwrap_or(0);
            let chunk = byte << offset >> (8 - take);
            value = value << take | u64::from(chunk);
            self.position += take;
            left -= take;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_codes_of_small_numbers() {
        let mut bits = BitString::default();
        for value in [1, 2, 3, 4, 11] {
            bits.push_gamma(value); // 1 010 011 00100 0001011
        }
        assert_eq!(bits.len(), 1 + 3 + 3 + 5 + 7);
        assert_eq!(bits.into_bytes(), [0b1010_0110, 0b0100_0001, 0b0110_0000]);
    }

    #[test]
    fn gamma_codes_are_read_back() {
        let numbers = [1, 2, 3, 255, 256, 50_000, (1 << 30) + 1, u32::MAX];
        let mut bits = BitString::default();
        for value in numbers {
            bits.push_gamma(value);
        }
        let bytes = bits.into_bytes();
        let mut reader = BitReader::new(&bytes);
        assert_eq!(numbers.map(|_| reader.read_gamma().unwrap().unwrap()), numbers);
        let bytes = [0; 100];
        assert_eq!(BitReader::new(&bytes).read_gamma(), Ok(Err(1 << 32)));
        let end = DecodeError::Truncated { bits: 16 };
        assert_eq!(BitReader::new(&bytes[..2]).read_gamma(), Err(end));
    }

    #[test]
    fn a_string_is_skipped_only_where_it_stands() {
        let mut word = BitString::default();
        word.push(0b101, 3);
        let mut text = BitString::default();
        text.extend(&word);
        text.extend(&word);
        text.push(u64::MAX, 64);
        assert_eq!(text.len(), 70);
        let bytes = text.into_bytes();
        let mut reader = BitReader::new(&bytes);
        reader.skip(&word).unwrap();
        assert_eq!(
            reader.words(),
            [0b1011_1111_1111_1111_1111_1111_1111_1111, u32::MAX, 0xE000_0000]
        );
        reader.skip(&word).unwrap();
        assert_eq!(reader.skip(&word), Err(DecodeError::NotCanonical));
    }
}
