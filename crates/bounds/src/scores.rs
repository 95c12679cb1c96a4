//! Losses and errors from stored scores, at any smoothing weight and any k, without the model.
//!
//! A pass of the model leaves three numbers a scored token: $\ln p$ of the target, its rank, and the
//! entropy of the distribution it came from. With the document table they determine every metric.
//!
//! - *Bits per token*: the smoothed loss of a token; the mean over its tokens for a document, so that
//!   every document has the same weight.
//! - *Top-k error*: 1 if the rank is at least k, or the fraction of such tokens in a document. The rank
//!   counts the logits not below the target's, other than itself: ties count against the model.
//!   Smoothing leaves it alone.

use std::num::NonZeroU32;

use crate::sums::sum;
use crate::{BoundError, Smoothing};

/// Stored scores of documents, checked.
///
/// # Shapes
/// `[tokens]` thrice and `[documents + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    ln_p: &'a [f32],
    rank: &'a [u32],
    entropy: &'a [f32],
    offsets: &'a [u64],
}

impl<'a> Scores<'a> {
    /// Scores of the tokens of one document after the other.
    ///
    /// - `ln_p`, `[tokens]`: $\ln p$ of the target, at most 0; $-\infty$ is a probability of 0.
    /// - `rank`, `[tokens]`: logits not below the target's, minus one for itself.
    /// - `entropy`, `[tokens]`: of the model's distribution, in nats.
    /// - `offsets`, `[documents + 1]`: document i is tokens `offsets[i]..offsets[i + 1]`, at least one.
    ///
    /// # Errors
    /// If the arrays differ in length, a score is not a number of its range, or the table does not
    /// divide the tokens among documents of at least one token.
    pub fn new(
        ln_p: &'a [f32],
        rank: &'a [u32],
        entropy: &'a [f32],
        offsets: &'a [u64],
    ) -> Result<Self, BoundError> {
        let expected = ln_p.len() as u64;
        for (what, found) in [("ranks", rank.len()), ("entropies", entropy.len())] {
            if found as u64 != expected {
                return Err(BoundError::Count { what, found: found as u64, expected });
            }
        }
        check("log-probability", ln_p, f32::NEG_INFINITY, 0.0)?;
        check("entropy", entropy, 0.0, f32::MAX)?;
        if offsets.len() < 2 {
            return Err(BoundError::Zero("number of documents"));
        }
        let last = offsets.len() - 2;
        for (index, span) in offsets.windows(2).enumerate() {
            let (start, end) = (span[0], span[1]);
            let begins = index > 0 || start == 0;
            let ends = if index == last { end == expected } else { end < expected };
            if !(begins && start < end && ends) {
                return Err(BoundError::Offsets { index, start, end, tokens: expected });
            }
        }
        Ok(Self { ln_p, rank, entropy, offsets })
    }

    /// Number of documents.
    pub fn documents(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ln_p.len()
    }

    /// Smoothed loss of every token, in bits, `[tokens]`.
    pub fn token_losses(&self, smoothing: Smoothing) -> Vec<f64> {
        self.ln_p.iter().map(|&ln_p| smoothing.loss(f64::from(ln_p))).collect()
    }

    /// Mean smoothed loss of every document, in bits per token, `[documents]`.
    pub fn document_losses(&self, smoothing: Smoothing) -> Vec<f64> {
        let range = smoothing.range();
        self.per_document(self.ln_p, |&ln_p| smoothing.loss(f64::from(ln_p)))
            .map(|loss| loss.clamp(range.low(), range.high())) // the mean may round out of it
            .collect()
    }

    /// 1 for every token that is not among the first `k`, else 0, `[tokens]`.
    pub fn token_errors(&self, k: NonZeroU32) -> Vec<f64> {
        self.rank.iter().map(|&rank| error(rank, k)).collect()
    }

    /// Fraction of tokens not among the first `k` in every document, `[documents]`.
    pub fn document_errors(&self, k: NonZeroU32) -> Vec<f64> {
        self.per_document(self.rank, |&rank| error(rank, k)).collect()
    }

    /// A guess of every token's loss from its context alone, in bits, `[tokens]`:
    /// [`Smoothing::predicted_loss`] of the entropy.
    pub fn predicted_losses(&self, smoothing: Smoothing) -> Vec<f64> {
        self.entropy.iter().map(|&nats| smoothing.predicted_loss(f64::from(nats))).collect()
    }

    /// The mean of `value` over the tokens of each document.
    fn per_document<T>(
        &self,
        scores: &'a [T],
        value: impl Fn(&T) -> f64,
    ) -> impl Iterator<Item = f64> {
        let mut rest = scores;
        self.offsets.windows(2).map(move |span| {
            // Within `scores`: `new` has checked the table.
            let tokens;
            (tokens, rest) =
                rest.split_at(usize::try_from(span[1] - span[0]).unwrap_or(rest.len()));
            sum(tokens.iter().map(&value)) / tokens.len() as f64
        })
    }
}

fn error(rank: u32, k: NonZeroU32) -> f64 {
    f64::from(u8::from(rank >= k.get()))
}

fn check(what: &'static str, scores: &[f32], low: f32, high: f32) -> Result<(), BoundError> {
    match scores.iter().position(|score| !(low..=high).contains(score)) {
        None => Ok(()),
        Some(index) => {
            let [value, low, high] = [scores[index], low, high].map(f64::from);
            Err(BoundError::Value { what, index, value, low, high })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    const LN_P: [f32; 4] = [0.0, f32::NEG_INFINITY, -std::f32::consts::LN_2, 0.0];
    const RANK: [u32; 4] = [0, 9, 1, 0];
    const ENTROPY: [f32; 4] = [0.0, 1.0, 2.0, 3.0];

    fn scores() -> Scores<'static> {
        Scores::new(&LN_P, &RANK, &ENTROPY, &[0, 3, 4]).unwrap()
    }

    #[test]
    fn every_document_has_the_same_weight() {
        let smoothing = Smoothing::new(0.5, 8).unwrap();
        let (a, b) = (-(0.5625_f64.log2()), 4.0); // 1/2 + 1/16; 16
        let half = -(0.3125_f64.log2()); // 1/4 + 1/16
        let tokens = scores().token_losses(smoothing);
        for (loss, expected) in tokens.into_iter().zip([a, b, half, a]) {
            assert_close(loss, expected, 1e-7); // f32 ln 2
        }
        let documents = scores().document_losses(smoothing);
        assert_close(documents[0], (a + b + half) / 3.0, 1e-7);
        assert_close(documents[1], a, 1e-15);
        assert_eq!((scores().documents(), scores().tokens()), (2, 4));
        assert_eq!(scores().predicted_losses(smoothing)[0], 2.0); // 4 / 2
    }

    #[test]
    fn errors_are_ranks_of_at_least_k() {
        let errors = |k| scores().document_errors(NonZeroU32::new(k).unwrap());
        assert_eq!(errors(1), [2.0 / 3.0, 0.0]);
        assert_eq!(errors(2), [1.0 / 3.0, 0.0]);
        assert_eq!(errors(10), [0.0, 0.0]);
        assert_eq!(scores().token_errors(NonZeroU32::MIN), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn scores_that_are_no_scores_are_refused() {
        let new = |ln_p: &[f32], rank: &[u32], entropy: &[f32], offsets: &[u64]| {
            Scores::new(ln_p, rank, entropy, offsets).map(drop).unwrap_err()
        };
        for ln_p in [0.1, f32::NAN, f32::INFINITY] {
            let error = new(&[-1.0, ln_p], &[0, 0], &[1.0, 1.0], &[0, 2]);
            assert!(matches!(error, BoundError::Value { what: "log-probability", index: 1, .. }));
        }
        for entropy in [-0.1, f32::NAN, f32::INFINITY] {
            let error = new(&[-1.0], &[0], &[entropy], &[0, 1]);
            assert!(matches!(error, BoundError::Value { what: "entropy", index: 0, .. }));
        }
        let error = new(&[-1.0], &[], &[1.0], &[0, 1]);
        assert_eq!(error, BoundError::Count { what: "ranks", found: 0, expected: 1 });
        let error = new(&[-1.0], &[0], &[], &[0, 1]);
        assert_eq!(error, BoundError::Count { what: "entropies", found: 0, expected: 1 });
        for (offsets, index) in [
            (&[1, 4][..], 0),       // late start
            (&[0, 3], 0),           // early end
            (&[0, 5], 0),           // late end
            (&[0, 2, 2, 4], 1),     // an empty document
            (&[0, 3, 2, 4], 1),     // not increasing
            (&[0, u64::MAX, 4], 0), // beyond the tokens
        ] {
            let error = new(&LN_P, &RANK, &ENTROPY, offsets);
            assert!(
                matches!(error, BoundError::Offsets { index: at, .. } if at == index),
                "{error}"
            );
        }
        for offsets in [&[][..], &[0]] {
            let error = new(&LN_P, &RANK, &ENTROPY, offsets);
            assert_eq!(error, BoundError::Zero("number of documents"));
        }
    }
}
