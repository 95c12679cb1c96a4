//! How often each token follows each other one.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Up to this vocabulary the counts are a square table, `[vocab, vocab]`; beyond, a hash map.
const DENSE_VOCAB: usize = 1_024;

/// A token that no vocabulary of this size holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("token {token} is not below the vocabulary size {vocab}")]
pub struct TokenAboveVocabulary {
    /// The token.
    pub token: u32,
    /// Tokens in the vocabulary.
    pub vocab: u32,
}

/// Counts of pairs of neighbouring tokens: all that the fits need to know of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCounts {
    pub(super) vocab: u32,
    /// Per context what follows it, `[vocab]`, each by ascending token.
    pub(super) rows: Vec<Vec<(u32, u64)>>,
}

impl PairCounts {
    /// Counts within each of `documents`: a separator and the tokens that are scored, as
    /// `corpus::TokenFile::scored` gives them. Memory is that of the distinct pairs.
    ///
    /// # Errors
    /// If a token is not below `vocab`.
    pub fn of<D>(
        vocab: u32,
        documents: impl ParallelIterator<Item = D>,
    ) -> Result<Self, TokenAboveVocabulary>
    where
        D: IntoIterator<Item = u32>,
    {
        documents
            .try_fold(
                || Table::new(vocab),
                |mut table, document| table.count(document).map(|()| table),
            )
            .try_reduce(|| Table::new(vocab), |one, other| Ok(one.merged(other)))
            .map(Table::into_rows)
    }

    /// Number of pairs, that is of tokens scored.
    pub fn total(&self) -> u64 {
        self.rows.iter().flatten().map(|&(_, count)| count).sum()
    }

    /// How often each token is scored, `[vocab]`.
    pub(super) fn tokens(&self) -> Vec<u64> {
        let mut counts = vec![0; self.rows.len()];
        for &(token, count) in self.rows.iter().flatten() {
            counts[token as usize] += count;
        }
        counts
    }
}

struct Table {
    vocab: u32,
    dense: Vec<u64>,
    sparse: FxHashMap<(u32, u32), u64>,
}

impl Table {
    fn new(vocab: u32) -> Self {
        let side = vocab as usize;
        let dense = if side <= DENSE_VOCAB { vec![0; side * side] } else { Vec::new() };
        Self { vocab, dense, sparse: FxHashMap::default() }
    }

    fn count(
        &mut self,
        document: impl IntoIterator<Item = u32>,
    ) -> Result<(), TokenAboveVocabulary> {
        let vocab = self.vocab;
        let check = |token| {
            if token < vocab { Ok(token) } else { Err(TokenAboveVocabulary { token, vocab }) }
        };
        let mut tokens = document.into_iter();
        let Some(first) = tokens.next() else { return Ok(()) };
        let mut previous = check(first)?;
        for token in tokens {
            check(token)?;
            if self.dense.is_empty() {
                *self.sparse.entry((previous, token)).or_default() += 1;
            } else {
                self.dense[previous as usize * vocab as usize + token as usize] += 1;
            }
            previous = token;
        }
        Ok(())
    }

    fn merged(mut self, mut other: Self) -> Self {
        if self.sparse.len() < other.sparse.len() {
            std::mem::swap(&mut self, &mut other);
        }
        for (mine, theirs) in self.dense.iter_mut().zip(&other.dense) {
            *mine += theirs;
        }
        for (pair, count) in other.sparse {
            *self.sparse.entry(pair).or_default() += count;
        }
        self
    }

    fn into_rows(self) -> PairCounts {
        let mut rows = vec![Vec::new(); self.vocab as usize];
        for ((previous, token), count) in self.sparse {
            rows[previous as usize].push((token, count));
        }
        rows.par_iter_mut().for_each(|row| row.sort_unstable());
        if !self.dense.is_empty() {
            for (row, counts) in rows.iter_mut().zip(self.dense.chunks(self.vocab as usize)) {
                let counted = (0..).zip(counts.iter().copied());
                row.extend(counted.filter(|&(_, count)| count > 0));
            }
        }
        PairCounts { vocab: self.vocab, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stay_within_their_document() {
        let documents = vec![vec![4, 0, 1, 0, 1], vec![4, 0], vec![4], vec![]];
        for vocab in [5, 5_000] {
            let counts = PairCounts::of(vocab, documents.clone().into_par_iter()).unwrap();
            assert_eq!(counts.rows[..2], [vec![(1, 2)], vec![(0, 1)]]);
            assert_eq!(counts.rows[4], [(0, 2)]);
            assert_eq!(counts.tokens()[..3], [3, 2, 0]);
            assert_eq!(counts.total(), 5);
        }
    }

    #[test]
    fn a_token_above_the_vocabulary() {
        let counts = PairCounts::of(4, [vec![3, 0, 4]].into_par_iter());
        assert_eq!(counts, Err(TokenAboveVocabulary { token: 4, vocab: 4 }));
    }
}
