//! Bytes as tokens: 256 of them, and 256 as the separator.

use serde::{Deserialize, Serialize};

use crate::{Error, Fault, LoadTokenizer, Sha256Hash, Tokenizer, TokenizerIdentity};

/// Token $i$ is the byte $i$; 256 separates documents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Byte {}

const EOT: u32 = 256;

impl LoadTokenizer for Byte {
    fn load(&self) -> Result<Box<dyn Tokenizer>, Error> {
        Ok(Box::new(ByteTokenizer(TokenizerIdentity {
            name: "byte".into(),
            vocab_size: EOT + 1,
            eot: EOT,
            sha256: Sha256Hash::of(&[b"sublora tokenizer byte 1"]),
        })))
    }
}

struct ByteTokenizer(TokenizerIdentity);

impl Tokenizer for ByteTokenizer {
    fn identity(&self) -> &TokenizerIdentity {
        &self.0
    }

    fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), Fault> {
        out.extend(text.bytes().map(u32::from));
        Ok(())
    }

    fn decode(&self, tokens: &[u32], out: &mut Vec<u8>) -> Result<(), Error> {
        for &token in tokens.iter().filter(|&&token| token != EOT) {
            let byte = u8::try_from(token)
                .map_err(|_| Error::Decode { token, vocab_size: self.0.vocab_size })?;
            out.push(byte);
        }
        Ok(())
    }
}
