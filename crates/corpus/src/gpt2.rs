//! GPT-2's byte-pair encoding, embedded: the ranks are `r50k_base` of the `tiktoken-rs` crate.
//!
//! # Definition
//! Text is cut into pieces by
//! `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`; within a piece the
//! adjacent pair of lowest rank is merged until none is left. 50,256 tokens and the separator
//! `<|endoftext|>`, number 50256, which no text produces: written out in a document, it is ordinary
//! characters.
//!
//! # Reference
//! A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019; openai/gpt-2,
//! `src/encoder.py`; openai/tiktoken, `src/lib.rs`.
//!
//! # Notes on the reference implementation
//! `CoreBPE::encode_ordinary` needs a backtracking regex engine for the look-ahead, which is most of
//! its time, and panics on a run of a million blanks. Without the look-ahead a lazy automaton does
//! the cutting, and the rule "a run of blanks leaves its last one to the piece that follows" is one
//! comparison. The merging is still the crate's: below 100 bytes by its scan, above by its heap.

use regex_automata::meta::{Cache, Regex};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tiktoken_rs::CoreBPE;

use crate::{Error, Fault, LoadTokenizer, Sha256Hash, Tokenizer, TokenizerIdentity};

/// GPT-2's byte-pair encoding, as every GPT-2 checkpoint uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpt2 {}

const EOT: u32 = 50_256;
const PIECE: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
/// From this length on, merging by scan costs more than merging by heap.
const LONG: usize = 100;

impl LoadTokenizer for Gpt2 {
    fn load(&self) -> Result<Box<dyn Tokenizer>, Error> {
        let refuse = |reason: String| Error::Tokenizer { name: "gpt2".into(), reason };
        let vocabulary = tiktoken_rs::r50k_base().map_err(|error| refuse(error.to_string()))?;
        let mut ranks = FxHashMap::default();
        let mut listing = Vec::new();
        for token in 0..EOT {
            let bytes =
                vocabulary.decode_bytes(&[token]).map_err(|error| refuse(error.to_string()))?;
            listing.extend((bytes.len() as u64).to_le_bytes());
            listing.extend(&bytes);
            ranks.insert(bytes, token);
        }
        let merges = CoreBPE::new(ranks.clone(), FxHashMap::default(), "(?s).+")
            .map_err(|error| refuse(error.to_string()))?;
        let pieces = Regex::new(PIECE).map_err(|error| refuse(error.to_string()))?;
        let caches = {
            let pieces = pieces.clone();
            Pool::new(Box::new(move || pieces.create_cache()) as NewCache)
        };
        let identity = TokenizerIdentity {
            name: "gpt2".into(),
            vocab_size: EOT + 1,
            eot: EOT,
            sha256: Sha256Hash::of(&[b"sublora tokenizer gpt2 1", PIECE.as_bytes(), &listing]),
        };
        Ok(Box::new(Gpt2Tokenizer { identity, ranks, merges, pieces, caches }))
    }
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync>;

struct Gpt2Tokenizer {
    identity: TokenizerIdentity,
    ranks: FxHashMap<Vec<u8>, u32>,
    /// Takes what it is given as one piece, by heap if it is long.
    merges: CoreBPE,
    pieces: Regex,
    /// The automaton's scratch space, one per thread at work.
    caches: Pool<Cache, NewCache>,
}

impl Tokenizer for Gpt2Tokenizer {
    fn identity(&self) -> &TokenizerIdentity {
        &self.identity
    }

    fn encode(&self, text: &str, out: &mut Vec<u32>) -> Result<(), Fault> {
        let mut cache = self.caches.get();
        let mut rest = text;
        while !rest.is_empty() {
            // Every character starts a piece, so a miss is impossible; it would be one character.
            let input = Input::new(rest).anchored(Anchored::Yes);
            let end = match self.pieces.search_half_with(&mut cache, &input) {
                Some(end) => without_last_blank(rest, end.offset()),
                None => rest.chars().next().map_or(rest.len(), char::len_utf8),
            };
            let (piece, tail) = rest.split_at(end);
            match self.ranks.get(piece.as_bytes()) {
                Some(&token) => out.push(token),
                None if piece.len() < LONG => out.extend(
                    tiktoken_rs::byte_pair_split(piece.as_bytes(), &self.ranks)
                        .into_iter()
                        .map(|part| self.ranks[part]),
                ),
                None => out.extend(self.merges.encode_ordinary(piece)),
            }
            rest = tail;
        }
        Ok(())
    }

    fn decode(&self, tokens: &[u32], out: &mut Vec<u8>) -> Result<(), Error> {
        for &token in tokens.iter().filter(|&&token| token != EOT) {
            let bytes = self
                .merges
                .decode_bytes(&[token])
                .map_err(|_| Error::Decode { token, vocab_size: self.identity.vocab_size })?;
            out.extend(bytes);
        }
        Ok(())
    }
}

/// `\s+(?!\S)|\s+` from `\s+`: unless it ends the text, a run of several blanks gives up its last.
fn without_last_blank(text: &str, end: usize) -> usize {
    match text[..end].chars().next_back() {
        Some(last) if last.is_whitespace() && end < text.len() && end > last.len_utf8() => {
            end - last.len_utf8()
        }
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> Vec<u32> {
        thread_local!(static GPT2: Box<dyn Tokenizer> = Gpt2 {}.load().unwrap());
        let mut tokens = Vec::new();
        GPT2.with(|gpt2| gpt2.encode(text, &mut tokens)).unwrap();
        tokens
    }

    // import tiktoken; e = tiktoken.get_encoding("r50k_base")
    // [e.encode_ordinary(s) for s in ("Hello, world!", "<|endoftext|>", "a  b\n\n c", "   ")]
    #[test]
    fn agrees_with_tiktoken() {
        assert_eq!(encode("Hello, world!"), [15496, 11, 995, 0]);
        assert_eq!(encode("<|endoftext|>"), [27, 91, 437, 1659, 5239, 91, 29]);
        assert_eq!(encode("a  b\n\n c"), [64, 220, 275, 628, 269]);
        assert_eq!(encode("   "), [220, 220, 220]);
        assert_eq!(encode(""), [0_u32; 0]);
    }

    #[test]
    fn a_run_of_a_million_blanks_is_no_panic() {
        let blanks = " ".repeat(1_200_000) + "x";
        assert_eq!(encode(&blanks).len(), 1_200_000); // 1,199,999 blanks and " x"
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference_regex(text in r"(?s)([a-z']{1,9}|[ \t\n\r\u{a0}\u{3000}\x1c-\x1f\x85]{1,4}|\p{L}|\p{N}|[!-/]|.|a{90,110}){0,30}") {
            thread_local!(static REFERENCE: CoreBPE = tiktoken_rs::r50k_base().unwrap());
            let expected = REFERENCE.with(|reference| reference.encode_ordinary(&text));
            prop_assert_eq!(encode(&text), expected);
        }
    }
}
