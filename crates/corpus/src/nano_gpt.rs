//! nanoGPT's `train.bin`: `uint16`, little-endian, documents separated by the tokenizer's separator.
//!
//! The tokens after the last separator, if any, are a document too: nanoGPT's character-level sets
//! have no separator at all. Two separators in a row hold an empty document between them.

use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::{Fault, Part};
use crate::source::{Content, MAX_DOCUMENT_BYTES, Meter, MeteredFile, RawDocument, bad};
use crate::{Error, TokenizerIdentity};

/// The documents of one file.
pub(crate) struct NanoGpt {
    path: PathBuf,
    /// `None` after the end, and after an error that loses the rest.
    reader: Option<BufReader<MeteredFile>>,
    eot: u32,
    vocab_size: u32,
    /// Tokens read.
    position: u64,
}

impl NanoGpt {
    pub(crate) fn open(
        path: &Path,
        tokenizer: &TokenizerIdentity,
        meter: &Meter,
    ) -> Result<Self, Error> {
        let reader = BufReader::with_capacity(1 << 18, MeteredFile::open(path, meter)?);
        let TokenizerIdentity { eot, vocab_size, .. } = *tokenizer;
        Ok(Self { path: path.into(), reader: Some(reader), eot, vocab_size, position: 0 })
    }

    /// The tokens up to the next separator or the end. A token above the vocabulary spoils its
    /// document and no other.
    fn next_document(&mut self) -> Option<Result<Vec<u32>, Fault>> {
        let reader = self.reader.as_mut()?;
        let mut tokens = Vec::new();
        let mut above = None;
        let fault = loop {
            let token = match next_token(reader) {
                Ok(Some(token)) => token,
                Ok(None) => {
                    self.reader = None;
                    if tokens.is_empty() {
                        return None;
                    }
                    break above;
                }
                Err(error) => {
                    self.reader = None;
                    break Some(Fault::Unreadable(error));
                }
            };
            self.position += 1;
            if token == self.eot {
                break above;
            }
            if token >= self.vocab_size {
                above = above
                    .or(Some(Fault::TokenAboveVocabulary { token, vocab_size: self.vocab_size }));
            }
            tokens.push(token);
            if tokens.len() as u64 * 2 > MAX_DOCUMENT_BYTES {
                self.reader = None;
                break Some(Fault::TooLong);
            }
        };
        Some(fault.map_or(Ok(tokens), Err))
    }
}

fn next_token(reader: &mut impl Read) -> std::io::Result<Option<u32>> {
    let mut bytes = [0; 2];
    match reader.read(&mut bytes[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut bytes[1..]).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => std::io::Error::new(error.kind(), "half a token is left"),
            _ => error,
        })?,
    }
    Ok(Some(u16::from_le_bytes(bytes).into()))
}

impl Iterator for NanoGpt {
    type Item = Result<RawDocument, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = Part::Token(self.position);
        Some(match self.next_document()? {
            Ok(tokens) => Ok(RawDocument::new(&self.path, part, Content::Tokens(tokens))),
            Err(fault) => Err(bad(&self.path, part, fault)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Byte, LoadTokenizer};

    fn read(bytes: &[u8]) -> Vec<Result<Vec<u32>, String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.bin");
        std::fs::write(&path, bytes).unwrap();
        let tokenizer = Byte {}.load().unwrap();
        NanoGpt::open(&path, tokenizer.identity(), &Meter::default())
            .unwrap()
            .map(|document| match document {
                Ok(RawDocument { content: Content::Tokens(tokens), .. }) => Ok(tokens),
                Ok(other) => Err(format!("{other:?}")),
                Err(error) => Err(error.to_string().replace(&path.display().to_string(), "P")),
            })
            .collect()
    }

    fn file(tokens: &[u16]) -> Vec<u8> {
        tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
    }

    #[test]
    fn separators_end_documents_and_the_last_may_lack_one() {
        assert_eq!(read(&file(&[])), []);
        assert_eq!(read(&file(&[1])), [Ok(vec![1])]);
        assert_eq!(read(&file(&[1, 256])), [Ok(vec![1])]);
        assert_eq!(read(&file(&[1, 2, 256, 256, 3])), [Ok(vec![1, 2]), Ok(vec![]), Ok(vec![3])]);
    }

    #[test]
    fn a_token_above_the_vocabulary_spoils_its_document_only() {
        let above = "token 2 of `P`: token 257 is not below the vocabulary size 257";
        assert_eq!(
            read(&file(&[1, 256, 2, 257, 3, 256, 4, 256])),
            [Ok(vec![1]), Err(above.into()), Ok(vec![4])]
        );
    }

    #[test]
    fn half_a_token_is_named() {
        let half = "token 2 of `P`: the rest cannot be read: half a token is left";
        assert_eq!(read(&[1, 0, 0, 1, 2]), [Ok(vec![1]), Err(half.into())]);
    }
}
