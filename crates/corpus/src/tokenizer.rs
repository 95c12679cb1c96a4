//! What a corpus needs of a tokenizer.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AnyTokenizer, Byte, Error, Fault, Gpt2, Json, Sha256Hash};

/// The settings of a tokenizer, as they stand in a configuration file.
pub trait LoadTokenizer {
    /// The tokenizer itself, ready for use on many threads.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Tokenizer`] if its file is absent, damaged or has no separator.
    fn load(&self) -> Result<Box<dyn Tokenizer>, Error>;
}

/// Text to tokens and back.
pub trait Tokenizer: Send + Sync {
    /// What a certificate says about it.
    fn identity(&self) -> &TokenizerIdentity;

    /// Appends the tokens of `text`, without a separator.
    ///
    /// # Errors
    /// [`Fault::Tokenizer`] if the text has no encoding.
    fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), Fault>;

    /// Appends the bytes of `tokens`, separators left out. Whole documents decode to UTF-8, cut ones
    /// may not.
    ///
    /// # Errors
    /// [`Error::Decode`] at a token outside the vocabulary.
    fn decode(&self, tokens: &[u32], out: &mut Vec<u8>) -> Result<(), Error>;
}

/// A tokenizer by name, size and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerIdentity {
    /// Its registry name.
    pub name: String,
    /// Tokens are below it, the separator included.
    pub vocab_size: u32,
    /// The separator: one follows every document, none is inside.
    pub eot: u32,
    /// Of its definition: the merge table, or the whole `tokenizer.json` and the separator.
    pub sha256: Sha256Hash,
}

/// `byte`, `gpt2`, or the path of a `tokenizer.json`.
impl FromStr for AnyTokenizer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "byte" => Ok(Byte {}.into()),
            "gpt2" => Ok(Gpt2 {}.into()),
            path if Path::new(path).extension().is_some_and(|it| it == "json") => {
                Ok(Json { path: path.into(), eot: None }.into())
            }
            _ => Err(Error::UnknownTokenizer { name: name.into() }),
        }
    }
}
