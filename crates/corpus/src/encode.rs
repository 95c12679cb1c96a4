//! From a raw document to the bytes that go to disk: the part of a build that runs on all threads.

use crate::document_table::Id;
use crate::error::{BadDocument, Fault};
use crate::near_duplicates::MinHasher;
use crate::source::{Content, RawDocument};
use crate::{Error, Tokenizer, json_lines};

/// A document, ready to be written.
pub(crate) struct EncodedDocument {
    pub(crate) id: Id,
    /// Its UTF-8 bytes.
    pub(crate) text_bytes: u64,
    /// Its tokens, at least one, without the separator.
    pub(crate) tokens: u64,
    /// The tokens and the separator, little-endian.
    pub(crate) encoded: Vec<u8>,
    /// Its MinHash bands; none unless asked for.
    pub(crate) bands: Vec<u64>,
}

pub(crate) struct Encoder<'a> {
    pub(crate) tokenizer: &'a dyn Tokenizer,
    pub(crate) hasher: Option<&'a MinHasher>,
}

impl Encoder<'_> {
    pub(crate) fn encode(&self, document: RawDocument) -> Result<EncodedDocument, Error> {
        let place = document.place;
        let bad = |fault| Error::Bad(BadDocument { place, fault });
        let identity = self.tokenizer.identity();
        let mut tokens = Vec::new();
        let text: Vec<u8> = match document.content {
            Content::Tokens(given) => {
                let mut bytes = Vec::new();
                if let Err(error) = self.tokenizer.decode(&given, &mut bytes) {
                    return Err(bad(Fault::Tokenizer(error.to_string())));
                }
                tokens = given;
                bytes
            }
            Content::Text(bytes) => match String::from_utf8(bytes) {
                Ok(text) => match self.tokenizer.encode(&text, &mut tokens) {
                    Ok(()) => text.into_bytes(),
                    Err(fault) => return Err(bad(fault)),
                },
                Err(error) => {
                    let offset = error.utf8_error().valid_up_to();
                    return Err(bad(Fault::InvalidUtf8 { offset }));
                }
            },
            Content::JsonLine(line) => {
                let encoded = json_lines::parse(&line).and_then(|text| {
                    self.tokenizer.encode(&text, &mut tokens)?;
                    Ok(text.into_bytes())
                });
                match encoded {
                    Ok(bytes) => bytes,
                    Err(fault) => return Err(bad(fault)),
                }
            }
        };
        if tokens.is_empty() {
            return Err(bad(Fault::Empty));
        }
        if tokens.contains(&identity.eot) {
            return Err(bad(Fault::SeparatorInText { eot: identity.eot }));
        }
        Ok(EncodedDocument {
            id: Id::of(&text),
            text_bytes: text.len() as u64,
            tokens: tokens.len() as u64,
            encoded: identity.width().encode(tokens.into_iter().chain([identity.eot])),
            bands: self.hasher.map(|hasher| hasher.bands(&text)).unwrap_or_default(),
        })
    }
}
