//! How many bytes a token takes on disk.

use crate::TokenizerIdentity;

/// Little-endian, two bytes if the vocabulary allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Two,
    Four,
}

impl TokenizerIdentity {
    pub(crate) fn width(&self) -> Width {
        if self.vocab_size <= 1 << 16 { Width::Two } else { Width::Four }
    }
}

impl Width {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "tokens are below the vocabulary size")]
    pub(crate) fn encode(self, tokens: impl Iterator<Item = u32>) -> Vec<u8> {
        match self {
            Self::Two => tokens.flat_map(|token| (token as u16).to_le_bytes()).collect(),
            Self::Four => tokens.flat_map(u32::to_le_bytes).collect(),
        }
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let width = match self {
            Self::Two => 2,
            Self::Four => 4,
        };
        bytes.chunks_exact(width).map(|token| match *token {
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            [a, b] => u16::from_le_bytes([a, b]).into(),
            _ => 0,
        })
    }
}
