//! What a predictor does on documents that nobody trained or chose it on.
//!
//! # Definition
//! Of each held-out document, all blocks are scored, or `draws` of them, each around a uniform position:
//! the mean over a block so drawn has the mean over the document for its expectation. Blocks and their
//! contexts are those of a certificate, so that its figures and these are comparable.

use std::f64::consts::LN_2;
use std::num::{NonZeroU32, NonZeroU64};

use bounds::{
    AnyBound, Bits, Evidence, FailureProbability, Metric, Sampling, Scores, Smoothing, Unit,
};
use corpus::TokenFile;
use counter_rng::Key;
use gpt2_model::TokenScores;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::blocks::Blocks;
use crate::scoring::Window;

/// Smoothing weight of the test-set bound, fixed beforehand.
const WEIGHT: f64 = 1.0 / 16.0;

/// Means over held-out text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Held-out documents.
    pub documents: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Mean loss of a token, in bits: compare with the token level of a certificate.
    pub bits_per_token: f64,
    /// Mean over documents of their mean losses, in bits per token: compare with the document level.
    pub bits_per_token_of_a_document: f64,
    /// Fraction of tokens that another one ranks level with or above.
    pub top_1_error: f64,
    /// Upper limit of the expected loss of a new document, in bits per token, by the test-set bound
    /// (`bounds::TestSet`, smoothing weight 1/16) at [`confidence`](Self::confidence): what these
    /// documents say without any certificate.
    pub test_set_bound: f64,
    /// Of that bound alone.
    pub confidence: f64,
}

/// A held-out split and the blocks of it that are scored.
pub(crate) struct HeldOutText<'a> {
    pub(crate) blocks: Blocks<'a>,
    pub(crate) windows: Vec<Window>,
    /// `[groups + 1]`: the scored tokens of each document, or of each block drawn.
    offsets: Vec<u64>,
    /// Groups of a document.
    groups: usize,
}

impl<'a> HeldOutText<'a> {
    /// `draws` blocks of each document of `file`, or all; none if there is no document.
    pub(crate) fn new(
        file: &'a TokenFile,
        (context, stride): (usize, usize),
        draws: Option<NonZeroU64>,
        seed: u64,
    ) -> Option<Self> {
        let blocks = Blocks::new(file, (0..file.documents().len()).collect(), context, stride);
        let key = Key::from_seed(seed).derive("held-out blocks");
        let (mut windows, mut offsets, mut tokens) = (Vec::new(), vec![0], 0);
        let mut put = |group: Vec<Window>| {
            tokens += group.iter().map(|(_, block)| block.end - block.start).sum::<u64>();
            offsets.push(tokens);
            windows.extend(group);
        };
        for index in 0..blocks.documents() {
            let Some(draws) = draws else {
                put(blocks.of_document(index).map(|block| (index, block)).collect());
                continue;
            };
            let length = NonZeroU64::new(blocks.document_len(index))?;
            let mut words = key.index(index).words(0);
            for _ in 0..draws.get() {
                put(vec![(index, blocks.block_of(index, words.below(length)))]);
            }
        }
        let groups = usize::try_from(draws.map_or(1, NonZeroU64::get)).ok()?;
        (blocks.documents() > 0).then_some(Self { blocks, windows, offsets, groups })
    }

    /// Means of the scores of these windows over a vocabulary of `vocab`.
    ///
    /// # Errors
    /// Scores that are none, or a failure probability outside (0, 1).
    pub(crate) fn measure(
        &self,
        scores: &TokenScores,
        vocab: u32,
        failure_probability: f64,
    ) -> Result<HeldOut, Error> {
        let groups = Scores::new(&scores.ln_p, &scores.rank, &scores.entropy, &self.offsets)?;
        let smoothing = Smoothing::new(WEIGHT, vocab)?;
        let bits = self.of_documents(&self.group_bits(&scores.ln_p));
        let errors = self.of_documents(&groups.document_errors(NonZeroU32::MIN));
        let smoothed = self.of_documents(&groups.document_losses(smoothing));
        let failure = FailureProbability::new(failure_probability)?;
        let test_set: AnyBound = bounds::TestSet::default().into();
        let bound = test_set.as_dyn().certify(&Evidence {
            unit: Unit::Document,
            metric: Metric::BitsPerToken,
            population: NonZeroU64::new(smoothed.len() as u64).unwrap_or(NonZeroU64::MIN),
            values: &smoothed,
            sampling: Sampling::Full,
            code_length: Bits::ZERO,
            alpha_bits: Bits::ZERO,
            predictable: None,
            range: smoothing.range(),
            models: NonZeroU64::MIN,
            training_failure: failure,
            sample_failure: failure,
        })?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(HeldOut {
            documents: self.blocks.documents(),
            tokens: scores.ln_p.len() as u64,
            bits_per_token: self.by_length(&bits),
            bits_per_token_of_a_document: mean(&bits),
            top_1_error: self.by_length(&errors),
            test_set_bound: bounds::round_up(bound.bound, 6),
            confidence: 1.0 - failure_probability,
        })
    }

    /// Mean loss of each group, in bits.
    fn group_bits(&self, ln_p: &[f32]) -> Vec<f64> {
        let mut rest = ln_p;
        let mean = |span: &[u64]| {
            let length = usize::try_from(span[1] - span[0]).unwrap_or(rest.len()).min(rest.len());
            let (group, others) = rest.split_at(length);
            rest = others;
            let nats: f64 = group.iter().map(|&it| -f64::from(it)).sum();
            nats / (length as f64 * LN_2)
        };
        self.offsets.windows(2).map(mean).collect()
    }

    fn of_documents(&self, groups: &[f64]) -> Vec<f64> {
        let chunks = groups.chunks(self.groups);
        chunks.map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
    }

    fn by_length(&self, documents: &[f64]) -> f64 {
        let lengths =
            (0..self.blocks.documents()).map(|index| self.blocks.document_len(index) as f64);
        let sum: f64 = lengths.zip(documents).map(|(length, value)| length * value).sum();
        sum / self.blocks.predictions() as f64
    }
}

#[cfg(test)]
mod tests {
    use corpus::Split;

    use super::*;
    use crate::fixture;

    /// Two documents of 3 and 9 tokens, windows of 4 that slide by 2.
    fn measured(draws: Option<u64>) -> (HeldOut, usize) {
        let dir = tempfile::tempdir().unwrap();
        let documents = ["abc".to_owned(), "abcdefghi".to_owned()];
        let corpus = fixture::corpus(&dir.path().join("corpus"), &documents, 0.0);
        let file = corpus.split(Split::Train);
        let text = HeldOutText::new(file, (4, 2), draws.and_then(NonZeroU64::new), 1).unwrap();
        // A loss of 1 bit in the short document, of 2 bits and a wrong first guess in the long one.
        let mut scores = TokenScores::default();
        for (document, block) in &text.windows {
            for _ in block.clone() {
                let bits = 1.0 + u8::try_from(*document).unwrap() as f32;
                scores.ln_p.push(-bits * std::f32::consts::LN_2);
                scores.rank.push(u32::try_from(*document).unwrap());
                scores.entropy.push(0.0);
            }
        }
        (text.measure(&scores, 257, 0.05).unwrap(), text.windows.len())
    }

    #[test]
    fn documents_and_tokens_are_weighed_as_the_levels_of_a_certificate_do() {
        for (draws, windows) in [(None, 1 + 4), (Some(3), 2 * 3)] {
            let (found, count) = measured(draws);
            assert_eq!(count, windows);
            let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6);
            close(found.bits_per_token, (3.0 + 2.0 * 9.0) / 12.0);
            close(found.bits_per_token_of_a_document, 1.5);
            close(found.top_1_error, 9.0 / 12.0);
            // Two documents say next to nothing: the inverse at ln(20)/2 of a mean 0.126 of the range
            // is 0.881, of a range from 0.093 to log2(257 * 16) = 12.006.
            assert!((10.4..10.8).contains(&found.test_set_bound), "{found:?}");
        }
        assert_eq!(measured(None).0.tokens, 12);
    }
}
