//! Any tokenizer of a Hugging Face `tokenizer.json`.
//!
//! The separator is the token called `eot`, or else `<|endoftext|>` or `</s>`. Special tokens that a
//! document spells out are encoded as ordinary text, and no special token is added. Truncation and
//! padding, which such a file may ask for, are switched off: a document is encoded whole.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Fault, LoadTokenizer, Sha256Hash, Tokenizer, TokenizerIdentity};

/// A `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Json {
    /// The file.
    pub path: PathBuf,
    /// The token that separates documents; by default `<|endoftext|>` or `</s>`.
    pub eot: Option<String>,
}

impl LoadTokenizer for Json {
    fn load(&self) -> Result<Box<dyn Tokenizer>, Error> {
        let refuse =
            |reason: String| Error::Tokenizer { name: self.path.display().to_string(), reason };
        let file = std::fs::read(&self.path).map_err(Error::io("read", &self.path))?;
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(&file).map_err(|error| refuse(error.to_string()))?;
        tokenizer.set_encode_special_tokens(true);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| refuse(error.to_string()))?;

        let names: &[&str] = match &self.eot {
            Some(eot) => &[eot],
            None => &["<|endoftext|>", "</s>"],
        };
        let eot = names
            .iter()
            .find_map(|name| tokenizer.token_to_id(name))
            .ok_or_else(|| refuse(format!("it has no token {}", names.join(" or "))))?;
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(eot);
        let vocab_size = largest
            .checked_add(1)
            .ok_or_else(|| refuse(format!("token {largest} is too large a number")))?;
        let identity = TokenizerIdentity {
            name: "json".into(),
            vocab_size,
            eot,
            sha256: Sha256Hash::of(&[b"sublora tokenizer json 1", &eot.to_le_bytes(), &file]),
        };
        Ok(Box::new(JsonTokenizer { identity, tokenizer }))
    }
}

struct JsonTokenizer {
    identity: TokenizerIdentity,
    tokenizer: tokenizers::Tokenizer,
}

impl Tokenizer for JsonTokenizer {
    fn identity(&self) -> &TokenizerIdentity {
        &self.identity
    }

    fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), Fault> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| Fault::Tokenizer(error.to_string()))?;
        out.extend(encoding.get_ids());
        Ok(())
    }

    fn decode(&self, tokens: &[u32], out: &mut Vec<u8>) -> Result<(), Error> {
        let vocab_size = self.identity.vocab_size;
        let text: Vec<u32> =
            tokens.iter().copied().filter(|&token| token != self.identity.eot).collect();
        if let Some(&token) =
            text.iter().find(|&&token| self.tokenizer.id_to_token(token).is_none())
        {
            return Err(Error::Decode { token, vocab_size });
        }
        let decoded = self.tokenizer.decode(&text, false).map_err(|error| Error::Tokenizer {
            name: self.identity.name.clone(),
            reason: error.to_string(),
        })?;
        out.extend(decoded.into_bytes());
        Ok(())
    }
}
