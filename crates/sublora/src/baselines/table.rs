//! A distribution for every context, as whole exponents of a ratio, and its code.
//!
//! # Definition
//! With a ratio $r = 2^{s/4}$, $s \in \{1, 2, 4, 8\}$, and exponents that are mostly 0,
//! $$ q(t) = \frac{r^{e_t}}{\sum_u r^{e_u}}, \qquad
//!    p(t \mid c) = \frac{q(t)\, r^{e_{ct}}}{Z_c}, \quad Z_c = \sum_u q(u)\, r^{e_{cu}}. $$
//! A context without exponents of its own falls back to the unigram $q$, and the tokens it does not
//! list share what the listed ones leave in proportion to $q$.
//!
//! # Code
//! The number of 32-bit words, LEB128; then words of a range coder with learned probabilities. It
//! codes $s$, whether there are rows, the $e_t$ by token, and the $e_{ct}$ row by row, contexts and
//! tokens by falling $e_t$. Within a row: whether it goes on, how many zeros to pass over, sign,
//! magnitude. Probabilities depend on $e_c + e_t$, that is on how often the pair is to be expected.
//! No code is the beginning of another: a code of $n$ bytes costs $8n$ bits.

use super::binary_coder::{Bit, Coder, DecodeError, Decoder, Encoder, Gamma};

/// Largest magnitude of an exponent.
pub(super) const MAX_EXPONENT: i8 = 31;
/// Exponents of a code, at most.
pub(super) const MAX_ENTRIES: usize = 1 << 22;
/// Classes of pairs by how often they are to be expected.
pub(super) const CLASSES: usize = 8;

/// A token and its exponent, which is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) token: u32,
    pub(super) exponent: i8,
}

/// The exponents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) vocab: u32,
    /// $\log_2 s$, 0 to 3.
    pub(super) log_step: u8,
    /// $e_t$ where it is not 0, by ascending token.
    pub(super) base: Vec<Entry>,
    /// $e_{ct}$ where it is not 0, `[vocab]`, each by ascending token. `None` for a unigram.
    pub(super) rows: Option<Vec<Vec<Entry>>>,
}

/// $r^e$ for every exponent from $-31$, by multiplications and roots only: the same bits everywhere.
pub(super) fn powers(log_step: u8) -> [f64; 2 * MAX_EXPONENT as usize + 1] {
    let ratio = match log_step {
        0 => 2_f64.sqrt().sqrt(),
        1 => 2_f64.sqrt(),
        2 => 2.0,
        _ => 4.0,
    };
    let mut powers = [1.0; 2 * MAX_EXPONENT as usize + 1];
    let middle = MAX_EXPONENT as usize;
    for place in 1..=middle {
        powers[middle + place] = powers[middle + place - 1] * ratio;
        powers[middle - place] = 1.0 / powers[middle + place];
    }
    powers
}

/// The place of an exponent in [`powers`].
pub(super) fn place(exponent: i8) -> usize {
    usize::from((exponent + MAX_EXPONENT).unsigned_abs())
}

/// Tokens by falling base exponent, and how many halvings each lies below the first.
pub(super) struct Ranking {
    pub(super) order: Vec<u32>,
    rank: Vec<u32>,
    halvings: Vec<usize>,
    /// Number of tokens at each number of halvings.
    tokens: Vec<f64>,
}

impl Ranking {
    pub(super) fn new(vocab: u32, log_step: u8, base: &[Entry]) -> Self {
        let mut exponents = vec![0_i8; vocab as usize];
        for entry in base {
            exponents[entry.token as usize] = entry.exponent;
        }
        let mut order: Vec<u32> = (0..vocab).collect();
        order.sort_by_key(|&token| -exponents[token as usize]);
        let mut rank = vec![0; vocab as usize];
        for (place, &token) in (0..).zip(&order) {
            rank[token as usize] = place;
        }
        let most = exponents.iter().copied().max().unwrap_or(0);
        let halvings = exponents.iter().map(|&e| (usize::from(most.abs_diff(e)) << log_step) / 4);
        let halvings: Vec<usize> = halvings.collect();
        let mut tokens = vec![0.0; halvings.iter().max().map_or(0, |most| most + 1)];
        for &at in &halvings {
            tokens[at] += 1.0;
        }
        Self { order, rank, halvings, tokens }
    }

    /// Below [`CLASSES`].
    pub(super) fn class(&self, context: u32, token: u32) -> usize {
        class(self.halvings[context as usize] + self.halvings[token as usize])
    }

    /// Classes and how many tokens are in each after `context`, in pieces.
    pub(super) fn classes(&self, context: u32) -> impl Iterator<Item = (usize, f64)> {
        let first = self.halvings[context as usize];
        (first..).zip(&self.tokens).map(|(halvings, &tokens)| (class(halvings), tokens))
    }
}

fn class(halvings: usize) -> usize {
    (halvings / 3).min(CLASSES - 1)
}

/// What is learned while coding.
#[derive(Clone, Default)]
struct Models {
    end: [Bit; CLASSES],
    zeros: [Gamma; CLASSES],
    negative: [Bit; CLASSES],
    larger: [[Bit; MAX_EXPONENT as usize]; 2],
    empty: [Bit; CLASSES],
}

impl Models {
    /// A row of `width` places whose exponents are `known` to the encoder, as (place, exponent).
    fn row(
        &mut self,
        coder: &mut impl Coder,
        width: u32,
        class: impl Fn(u32) -> usize,
        known: &[(u32, i8)],
    ) -> Result<Vec<(u32, i8)>, DecodeError> {
        let (mut row, mut known) = (Vec::new(), known.iter());
        let mut next = 0;
        while next < width {
            let entry = known.next();
            let here = class(next);
            let end = if row.is_empty() { &mut self.empty } else { &mut self.end };
            if coder.bit(&mut end[here], entry.is_none())? {
                break;
            }
            let &(place, exponent) = entry.unwrap_or(&(next, 1));
            let zeros = self.zeros[here].code(coder, place - next)?;
            let place = next.saturating_add(zeros);
            if place >= width {
                return Err(DecodeError::OutOfRange);
            }
            let negative = coder.bit(&mut self.negative[class(place)], exponent < 0)?;
            let larger = &mut self.larger[usize::from(negative)];
            let mut magnitude = 1_i8;
            while magnitude < MAX_EXPONENT
                && coder.bit(
                    &mut larger[usize::from(magnitude.unsigned_abs())],
                    magnitude < exponent.saturating_abs(),
                )?
            {
                magnitude += 1;
            }
            row.push((place, if negative { -magnitude } else { magnitude }));
            next = place + 1;
        }
        Ok(row)
    }
}

impl Table {
    /// Codes `known`, or reads a table of which only the vocabulary is known.
    fn code(coder: &mut impl Coder, known: &Self) -> Result<Self, DecodeError> {
        let vocab = known.vocab;
        let even = Bit::default;
        let high = coder.bit(&mut even(), known.log_step & 2 != 0)?;
        let low = coder.bit(&mut even(), known.log_step & 1 != 0)?;
        let log_step = u8::from(high) << 1 | u8::from(low);
        let has_rows = coder.bit(&mut even(), known.rows.is_some())?;

        let pairs: Vec<_> = known.base.iter().map(|it| (it.token, it.exponent)).collect();
        let base = Models::default().row(coder, vocab, |_| 0, &pairs)?;
        let base: Vec<Entry> =
            base.into_iter().map(|(token, exponent)| Entry { token, exponent }).collect();
        if !has_rows {
            return Ok(Self { vocab, log_step, base, rows: None });
        }

        let ranking = Ranking::new(vocab, log_step, &base);
        let mut models = Models::default();
        let mut rows = vec![Vec::new(); vocab as usize];
        let mut entries = 0;
        for &context in &ranking.order {
            let known = known.rows.as_ref().map_or(&[][..], |rows| &rows[context as usize]);
            let mut places: Vec<_> =
                known.iter().map(|it| (ranking.rank[it.token as usize], it.exponent)).collect();
            places.sort_unstable();
            let class = |place| ranking.class(context, ranking.order[place as usize]);
            let row = models.row(coder, vocab, class, &places)?;
            entries += row.len();
            if entries > MAX_ENTRIES {
                return Err(DecodeError::TooManyEntries { max: MAX_ENTRIES });
            }
            let token = |place| ranking.order[place as usize];
            let row =
                row.into_iter().map(|(place, exponent)| Entry { token: token(place), exponent });
            let row_of = &mut rows[context as usize];
            row_of.extend(row);
            row_of.sort_unstable_by_key(|entry| entry.token);
        }
        Ok(Self { vocab, log_step, base, rows: Some(rows) })
    }

    /// The code.
    ///
    /// # Errors
    /// If there are more exponents than the format allows.
    pub(super) fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut coder = Encoder::default();
        Self::code(&mut coder, self)?;
        let words = coder.into_bytes();
        let mut bytes = Vec::new();
        let mut len = words.len() / 4;
        while len > 0x7f {
            bytes.push(len.to_le_bytes()[0] | 0x80);
            len >>= 7;
        }
        bytes.push(len.to_le_bytes()[0]);
        bytes.extend(words);
        Ok(bytes)
    }

    /// The table whose code is all of `bytes`.
    pub(super) fn decode(bytes: &[u8], vocab: u32) -> Result<Self, DecodeError> {
        let len = bytes.iter().take_while(|&byte| byte & 0x80 != 0).count() + 1;
        let words = bytes.get(len..).ok_or(DecodeError::Length(bytes.len()))?;
        let unknown = Self { vocab, log_step: 0, base: Vec::new(), rows: None };
        let table = Self::code(&mut Decoder::new(words)?, &unknown)?;
        if table.encode()? == bytes { Ok(table) } else { Err(DecodeError::NotCanonical) }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "powers of two are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(vocab: u32) -> impl Strategy<Value = Vec<Entry>> {
        let exponent =
            (1..=MAX_EXPONENT, any::<bool>()).prop_map(|(e, sign)| if sign { e } else { -e });
        proptest::collection::btree_map(0..vocab, exponent, 0..vocab as usize).prop_map(|map| {
            map.into_iter().map(|(token, exponent)| Entry { token, exponent }).collect()
        })
    }

    fn table() -> impl Strategy<Value = Table> {
        (1_u32..12).prop_flat_map(|vocab| {
            let rows = proptest::option::of(proptest::collection::vec(row(vocab), vocab as usize));
            (0_u8..4, row(vocab), rows).prop_map(move |(log_step, base, rows)| Table {
                vocab,
                log_step,
                base,
                rows,
            })
        })
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(table in table()) {
            let bytes = table.encode().unwrap();
            prop_assert_eq!(Table::decode(&bytes, table.vocab), Ok(table));
        }

        #[test]
        fn no_bytes_are_misread(bytes in proptest::collection::vec(any::<u8>(), 0..40), vocab in 0_u32..300) {
            if let Ok(table) = Table::decode(&bytes, vocab) {
                prop_assert_eq!(table.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn longer_and_shorter_codes_are_refused(table in table()) {
            let bytes = table.encode().unwrap();
            let longer = [&bytes[..], &[0; 4]].concat();
            prop_assert!(Table::decode(&longer, table.vocab).is_err());
            for len in 0..bytes.len() {
                prop_assert!(Table::decode(&bytes[..len], table.vocab).is_err());
            }
        }
    }

    /// Four decisions of probability 1/2 each: step 2, low bit, no rows, no exponents.
    #[test]
    fn the_shortest_code_by_hand() {
        let table = Table { vocab: 3, log_step: 2, base: Vec::new(), rows: None };
        let bytes = table.encode().unwrap();
        assert_eq!((bytes.len(), bytes[0]), (5, 1)); // one word
        assert_eq!(bytes[4] >> 4, 0b1001);
        assert_eq!(Table::decode(&bytes, 3), Ok(table));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let decode = |bytes: &[u8]| Table::decode(bytes, 3).unwrap_err();
        assert_eq!(decode(&[]), DecodeError::Length(0));
        assert_eq!(decode(&[0x80; 9]), DecodeError::Length(9));
        assert_eq!(decode(&[1, 0, 0, 0]), DecodeError::Length(3));
        assert_eq!(decode(&[2, 0, 0, 0, 0x90]), DecodeError::NotCanonical); // two words promised
        // The first row goes on over more zeros than there are tokens.
        assert_eq!(decode(&[1, 0xff, 0xff, 0xff, 0x8d]), DecodeError::OutOfRange);
    }

    #[test]
    fn more_exponents_than_the_format_allows() {
        let row = |_| (0..2_100).map(|token| Entry { token, exponent: 1 }).collect();
        let rows = Some((0..2_100).map(row).collect()); // 4,410,000 of at most 4,194,304
        let table = Table { vocab: 2_100, log_step: 2, base: Vec::new(), rows };
        assert_eq!(table.encode(), Err(DecodeError::TooManyEntries { max: MAX_ENTRIES }));
    }

    #[test]
    fn ratios() {
        for (log_step, octaves) in [(0, 4), (1, 2), (2, 1)] {
            let powers = powers(log_step);
            let error = powers[place(octaves)] - 2.0;
            assert!(error.abs() < 1e-15, "{error}");
            assert_eq!(powers[place(0)], 1.0);
        }
        assert_eq!(powers(3)[place(-2)], 1.0 / 16.0);
    }
}
