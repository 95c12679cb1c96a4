//! How many bits a code has.

use serde::{Deserialize, Serialize};

use crate::QuantizerError;

/// Bits of a code: 1 to 16, or 32 for values that are left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct BitWidth(u8);

impl BitWidth {
    /// 32 bits: the identity, bit for bit.
    pub const FULL: Self = Self(32);

    /// `bits`, if it is a width.
    ///
    /// # Errors
    /// Anything but 1 to 16 and 32.
    pub fn new(bits: u8) -> Result<Self, QuantizerError> {
        match bits {
            1..=16 | 32 => Ok(Self(bits)),
            _ => Err(QuantizerError::Width(bits)),
        }
    }

    /// The number of bits.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Whether values are left as they are.
    pub fn is_full(self) -> bool {
        self == Self::FULL
    }
}

impl TryFrom<u8> for BitWidth {
    type Error = QuantizerError;

    fn try_from(bits: u8) -> Result<Self, QuantizerError> {
        Self::new(bits)
    }
}

impl From<BitWidth> for u8 {
    fn from(width: BitWidth) -> Self {
        width.0
    }
}

impl std::fmt::Display for BitWidth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_1_to_16_and_32() {
        let widths: Vec<u8> = (0..=u8::MAX).filter(|&bits| BitWidth::new(bits).is_ok()).collect();
        assert_eq!(widths, (1..=16).chain([32]).collect::<Vec<_>>());
    }

    #[test]
    fn a_width_is_read_and_written_as_its_number() {
        #[derive(Serialize, Deserialize)]
        struct Settings {
            bits: BitWidth,
        }
        let settings: Settings = toml::from_str("bits = 4").unwrap();
        assert_eq!(settings.bits, BitWidth(4));
        assert_eq!(toml::to_string(&settings).unwrap(), "bits = 4\n");
        for wrong in [0, 17, 31, 33] {
            let error = toml::from_str::<Settings>(&format!("bits = {wrong}")).err().unwrap();
            let expected = format!("{wrong} bits, expected 1 to 16, or 32 for none");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}
