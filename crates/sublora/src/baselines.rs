//! Simple predictors with their codes paid: what a certificate has to beat.
//!
//! # Definition
//! A predictor is a distribution over the $V$ tokens for each previous token. It is rebuilt from a
//! code, a string of bytes no other code begins with, so that a bound holds for it with
//! $K = 8 \times$ bytes. [`Uniform`] needs no code. [`Tabulated`] is a unigram or a bigram whose
//! probabilities are whole exponents of a ratio.
//!
//! A fit weighs data against code with the objective it is given, which should be the bound in
//! question or close to it: [`Fit::freedman`] for tokens. Whatever the fit chooses is in the code.
//!
//! # Reference
//! J. Rissanen, *Modeling by shortest data description*, Automatica 14, 1978.

mod binary_coder;
mod fit;
mod pair_counts;
mod table;

use std::f64::consts::LN_2;

pub use binary_coder::DecodeError;
pub use pair_counts::{PairCounts, TokenAboveVocabulary};

use fit::Setting;
use table::{Entry, MAX_ENTRIES, Table, place, powers};

/// A proper distribution over the next token, given the previous one.
pub trait Predictor: Send + Sync {
    /// `uniform`, `unigram` or `bigram`.
    fn name(&self) -> &'static str;

    /// Natural logarithm of the probability of `token` after `previous`, the separator at the start
    /// of a document.
    ///
    /// # Panics
    /// If one of them is not below the vocabulary size.
    fn ln_p(&self, previous: u32, token: u32) -> f64;

    /// Entropy of the next token, in nats.
    ///
    /// # Panics
    /// If `previous` is not below the vocabulary size.
    fn entropy(&self, previous: u32) -> f64;

    /// The code that it is rebuilt from.
    fn encoded(&self) -> &[u8];
}

/// Every token alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    ln_vocab: f64,
}

impl Uniform {
    /// Over `vocab` tokens, at least one.
    pub fn new(vocab: u32) -> Self {
        Self { ln_vocab: libm::log(f64::from(vocab.max(1))) }
    }
}

impl Predictor for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn ln_p(&self, _previous: u32, _token: u32) -> f64 {
        -self.ln_vocab
    }

    fn entropy(&self, _previous: u32) -> f64 {
        self.ln_vocab
    }

    fn encoded(&self) -> &[u8] {
        &[]
    }
}

/// How a fitted predictor does on the text it was fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// $n$, tokens scored.
    pub tokens: u64,
    /// $K$, of the whole code.
    pub code_bits: u64,
    /// Mean loss in bits per token.
    pub mean: f64,
    /// Mean squared deviation from it, in squared bits.
    pub variance: f64,
}

impl Fit {
    /// About what a Freedman bound over tokens gives, $\bar\ell + \sqrt{2 v K \ln 2 / n}$, in bits per
    /// token.
    pub fn freedman(&self) -> f64 {
        let rate = self.code_bits as f64 * LN_2 / (self.tokens as f64).max(1.0);
        self.mean + (2.0 * self.variance * rate).sqrt()
    }

    /// The length of code and data together, in bits.
    pub fn description_length(&self) -> f64 {
        self.code_bits as f64 + self.mean * self.tokens as f64
    }
}

/// A unigram or bigram, decoded and ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Tabulated {
    encoded: Vec<u8>,
    /// $\ln q$, `[vocab]`.
    base: Vec<f64>,
    base_entropy: f64,
    /// `[vocab]`, or none.
    rows: Vec<Row>,
}

/// A context with exponents of its own.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    /// Token and $\ln r^e - \ln Z$, by ascending token.
    listed: Vec<(u32, f64)>,
    /// $-\ln Z$.
    others: f64,
    entropy: f64,
}

impl Tabulated {
    /// The unigram that minimises `objective`.
    ///
    /// # Errors
    /// If the code grows beyond what the format allows.
    pub fn unigram(
        counts: &PairCounts,
        objective: impl Fn(&Fit) -> f64,
    ) -> Result<Self, DecodeError> {
        Self::best(counts, false, objective)
    }

    /// The bigram that minimises `objective`.
    ///
    /// # Errors
    /// If the code grows beyond what the format allows.
    pub fn bigram(
        counts: &PairCounts,
        objective: impl Fn(&Fit) -> f64,
    ) -> Result<Self, DecodeError> {
        Self::best(counts, true, objective)
    }

    fn best(
        counts: &PairCounts,
        rows: bool,
        objective: impl Fn(&Fit) -> f64,
    ) -> Result<Self, DecodeError> {
        let mut best: Option<(f64, Self)> = None;
        for log_step in 0..4 {
            let mut last = f64::INFINITY;
            for halvings in 0..14 {
                let price = f64::from(1_u16 << (13 - halvings));
                let table = Setting { log_step, price }.table(counts, rows);
                let Ok(code) = table.encode() else { break };
                let predictor = Self::new(&table, code);
                let value = objective(&predictor.fit(counts));
                if best.as_ref().is_none_or(|(least, _)| value < *least) {
                    best = Some((value, predictor));
                }
                if value > last {
                    break;
                }
                last = value;
            }
        }
        best.map(|(_, predictor)| predictor).ok_or(DecodeError::TooManyEntries { max: MAX_ENTRIES })
    }

    /// The predictor whose code is all of `bytes`, over `vocab` tokens.
    ///
    /// # Errors
    /// If it is the code of none.
    pub fn decode(bytes: &[u8], vocab: u32) -> Result<Self, DecodeError> {
        Ok(Self::new(&Table::decode(bytes, vocab)?, bytes.to_vec()))
    }

    fn new(table: &Table, encoded: Vec<u8>) -> Self {
        let powers = powers(table.log_step);
        let ln_ratio = LN_2 * f64::from(1_u8 << table.log_step) / 4.0;
        let mut weights = vec![1.0; table.vocab as usize];
        let mut base = vec![0.0; table.vocab as usize];
        for &Entry { token, exponent } in &table.base {
            weights[token as usize] = powers[place(exponent)];
            base[token as usize] = ln_ratio * f64::from(exponent);
        }
        let sum: f64 = weights.iter().sum();
        let ln_sum = libm::log(sum);
        for ln in &mut base {
            *ln -= ln_sum;
        }
        for weight in &mut weights {
            *weight /= sum;
        }
        let base_entropy = -weights.iter().zip(&base).map(|(q, ln_q)| q * ln_q).sum::<f64>();

        let row = |entries: &Vec<Entry>| {
            let (mut z, mut listed_entropy) = (1.0, 0.0);
            let mut others_entropy = base_entropy;
            let mut listed = Vec::with_capacity(entries.len());
            for &Entry { token, exponent } in entries {
                let (q, ln_q) = (weights[token as usize], base[token as usize]);
                let (power, ln_power) = (powers[place(exponent)], ln_ratio * f64::from(exponent));
                z += q * (power - 1.0);
                others_entropy += q * ln_q;
                listed_entropy -= q * power * (ln_q + ln_power);
                listed.push((token, ln_power));
            }
            let ln_z = libm::log(z);
            for (_, ln) in &mut listed {
                *ln -= ln_z;
            }
            Row { listed, others: -ln_z, entropy: (listed_entropy + others_entropy) / z + ln_z }
        };
        let rows = table.rows.iter().flatten().map(row).collect();
        Self { encoded, base, base_entropy, rows }
    }

    /// How it does on `counts`.
    ///
    /// # Panics
    /// If they are over another vocabulary.
    pub fn fit(&self, counts: &PairCounts) -> Fit {
        let (mut tokens, mut sum, mut squares) = (0, 0.0, 0.0);
        for (previous, row) in (0..).zip(&counts.rows) {
            for &(token, count) in row {
                let bits = -self.ln_p(previous, token) / LN_2;
                tokens += count;
                sum += count as f64 * bits;
                squares += count as f64 * bits * bits;
            }
        }
        let n = (tokens as f64).max(1.0);
        let mean = sum / n;
        let variance = (squares / n - mean * mean).max(0.0);
        Fit { tokens, code_bits: 8 * self.encoded.len() as u64, mean, variance }
    }
}

impl Predictor for Tabulated {
    fn name(&self) -> &'static str {
        if self.rows.is_empty() { "unigram" } else { "bigram" }
    }

    fn ln_p(&self, previous: u32, token: u32) -> f64 {
        let base = self.base[token as usize];
        let Some(row) = self.rows.get(previous as usize) else { return base };
        let listed = row.listed.binary_search_by_key(&token, |listed| listed.0);
        base + listed.map_or(row.others, |at| row.listed[at].1)
    }

    fn entropy(&self, previous: u32) -> f64 {
        self.rows.get(previous as usize).map_or(self.base_entropy, |row| row.entropy)
    }

    fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the same number twice")]
mod tests {
    use std::num::NonZeroU64;

    use counter_rng::Key;
    use rayon::prelude::*;

    use super::*;

    /// A row of letters over `vocab`, in which most tokens follow from the one before.
    fn counts(vocab: u32, len: u64, seed: u64) -> PairCounts {
        let mut words = Key::from_seed(seed).words(0);
        let other_tokens = NonZeroU64::new(u64::from(vocab) - 1).unwrap();
        let mut previous = 0;
        let mut document = vec![vocab - 1];
        for _ in 0..len {
            let drawn = u32::try_from(words.below(other_tokens)).unwrap();
            let jump = words.uniform() < 0.25;
            previous = if jump { drawn } else { (previous + 1) % (vocab - 1) };
            document.push(previous);
        }
        PairCounts::of(vocab, [document].into_par_iter()).unwrap()
    }

    fn check_proper(predictor: &dyn Predictor, vocab: u32) {
        for previous in 0..vocab {
            let ln_p = |token| predictor.ln_p(previous, token);
            let sum: f64 = (0..vocab).map(|token| ln_p(token).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{} {previous} {sum}", predictor.name());
            let entropy: f64 = (0..vocab).map(|token| -ln_p(token) * ln_p(token).exp()).sum();
            assert!((entropy - predictor.entropy(previous)).abs() < 1e-9, "{previous}");
        }
    }

    #[test]
    fn predictors_are_proper_and_come_back_from_their_codes() {
        for (vocab, len) in [(2, 50), (257, 100_000), (3_000, 20_000)] {
            let counts = counts(vocab, len, 1);
            check_proper(&Uniform::new(vocab), vocab);
            for objective in [Fit::freedman, Fit::description_length] {
                let unigram = Tabulated::unigram(&counts, objective).unwrap();
                let bigram = Tabulated::bigram(&counts, objective).unwrap();
                assert_eq!((unigram.name(), bigram.name()), ("unigram", "bigram"));
                for predictor in [unigram, bigram] {
                    check_proper(&predictor, vocab);
                    assert_eq!(Tabulated::decode(predictor.encoded(), vocab), Ok(predictor));
                }
            }
        }
    }

    #[test]
    fn the_bigram_wins_where_tokens_depend_on_each_other() {
        let counts = counts(257, 100_000, 2);
        let unigram = Tabulated::unigram(&counts, Fit::freedman).unwrap().fit(&counts);
        let bigram = Tabulated::bigram(&counts, Fit::freedman).unwrap().fit(&counts);
        // All tokens alike: 8 bits. Three quarters certain, the rest 8 bits more: 0.81 + 2.
        assert!((unigram.freedman() - 8.0).abs() < 0.1, "{unigram:?}");
        assert!(bigram.mean < 3.0 && bigram.freedman() < 4.0, "{bigram:?}");
    }

    #[test]
    fn the_description_is_shorter_than_that_of_independent_tokens() {
        let counts = counts(257, 100_000, 3);
        let mdl = Tabulated::bigram(&counts, Fit::description_length).unwrap().fit(&counts);
        let bound = Tabulated::bigram(&counts, Fit::freedman).unwrap().fit(&counts);
        assert!(mdl.description_length() < bound.description_length() + 1e-6);
        assert!(bound.freedman() <= mdl.freedman());
    }

    /// Three tokens, 0 a thousand times and 1 two thousand times, never together: after 0 comes 0.
    #[test]
    fn a_tiny_text() {
        let documents = [vec![2; 1], vec![0; 1_001], vec![1; 2_001]];
        let counts = PairCounts::of(3, documents.into_par_iter()).unwrap();
        let unigram = Tabulated::unigram(&counts, Fit::description_length).unwrap();
        let p = [0, 1, 2].map(|token| unigram.ln_p(2, token).exp());
        assert!((p[1] / p[0] - 2.0).abs() < 1e-12 && p[2] < 0.01, "{p:?}"); // a ratio of 2 is exact
        assert_eq!(unigram.ln_p(0, 1), unigram.ln_p(1, 1));
        let bigram = Tabulated::bigram(&counts, Fit::description_length).unwrap();
        assert!(bigram.ln_p(0, 0) > -0.01 && bigram.ln_p(1, 1) > -0.01);
        assert!(bigram.fit(&counts).mean < 0.01);
    }

    #[test]
    fn nothing_to_fit() {
        let counts = PairCounts::of(5, Vec::<Vec<u32>>::new().into_par_iter()).unwrap();
        let bigram = Tabulated::bigram(&counts, Fit::freedman).unwrap();
        check_proper(&bigram, 5);
        assert_eq!(bigram.fit(&counts).mean, 0.0);
    }

    #[test]
    fn the_uniform_predictor_needs_no_code() {
        let uniform = Uniform::new(8);
        assert!(uniform.encoded().is_empty());
        assert!((uniform.ln_p(0, 7) + 3.0 * LN_2).abs() < 1e-15);
        assert_eq!(uniform.entropy(0), -uniform.ln_p(0, 7));
    }
}
