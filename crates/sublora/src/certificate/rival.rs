//! Claims about another predictor on the sample of a certificate.

use std::collections::HashMap;
use std::num::NonZeroU64;

use adapters::LoraGpt2;
use bounds::{Bits, Unit};
use corpus::Corpus;
use gpt2_model::TokenScores;

use super::certify::metrics;
use super::evidence::Terms;
use super::scene::Scene;
use super::scores::ScoreFile;
use super::{Certificate, Claim, SampleRecord};
use crate::baselines::Predictor;
use crate::blocks::Blocks;
use crate::scoring::{Scorer, Window};
use crate::{Error, baselines};

/// A predictor that a certified model is compared with.
pub(crate) trait Rival {
    /// What a reader calls it.
    fn name(&self) -> &str;

    /// $K$ in bits: 0 for what does not depend on the certified text.
    fn code_length(&self) -> u64;

    /// $M$, what it was chosen from; that choice is in $K$ too.
    fn models(&self) -> NonZeroU64 {
        NonZeroU64::MIN
    }

    /// Scores `windows`, in order.
    ///
    /// # Errors
    /// If a device fails, or [`Error::Interrupted`].
    fn score(&self, blocks: &Blocks<'_>, windows: &[Window]) -> Result<TokenScores, Error>;
}

/// What `rival` achieves on the units that `certificate` scored, with its own code length paid and its
/// share of the same failure probability: `certificate` must have counted these claims.
///
/// # Errors
/// A corpus that is not the certificate's, or as [`Rival::score`].
pub(crate) fn rival_claims(
    rival: &dyn Rival,
    corpus: &Corpus,
    certificate: &Certificate,
) -> Result<Vec<Claim>, Error> {
    if corpus.sha256() != certificate.corpus.sha256 {
        return Err(Error::Mismatch("the corpus is not the certificate's".to_owned()));
    }
    let scene = Scene::new(corpus, certificate.corpus.prior, &certificate.predictor)?;
    let frozen = scene.frozen(&certificate.artifact.file.sha256, &certificate.corpus.sha256);
    let level = |unit, record: &Option<SampleRecord>| -> Result<_, Error> {
        let Some(record) = record else { return Ok((None, None)) };
        let drawn = scene.draw(unit, record.draw(), &frozen)?;
        Ok((Some(rival.score(&scene.blocks, &drawn.windows)?), Some(drawn)))
    };
    let (documents, drawn_documents) = level(Unit::Document, &certificate.documents)?;
    let (positions, drawn_positions) = level(Unit::Token, &certificate.positions)?;
    let terms = Terms {
        vocab: corpus.manifest().tokenizer.vocab_size,
        code_length: Bits::whole(rival.code_length()),
        models: rival.models(),
        failure: certificate.confidence.failure_probability / certificate.confidence.claims as f64,
    };
    let mut top_k: Vec<u32> = certificate.bounds.iter().filter_map(|claim| claim.k).collect();
    top_k.sort_unstable();
    top_k.dedup();
    let scored = ScoreFile { documents, positions };
    scene.claims(&scored, &[drawn_documents, drawn_positions], &metrics(&top_k)?, terms)
}

/// A model, for example the base alone.
pub(crate) struct Model<'a> {
    pub(crate) name: &'static str,
    pub(crate) code_length: u64,
    pub(crate) models: NonZeroU64,
    pub(crate) weights: LoraGpt2,
    pub(crate) scorer: Scorer<'a>,
}

impl Rival for Model<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn code_length(&self) -> u64 {
        self.code_length
    }

    fn models(&self) -> NonZeroU64 {
        self.models
    }

    fn score(&self, blocks: &Blocks<'_>, windows: &[Window]) -> Result<TokenScores, Error> {
        self.scorer.score(self.name, &self.weights, blocks, windows)
    }
}

/// A simple predictor.
pub(crate) struct Simple {
    pub(crate) name: String,
    /// Fitted to text that is not certified: known beforehand, so its code costs nothing.
    pub(crate) known: bool,
    pub(crate) predictor: Box<dyn Predictor>,
    pub(crate) vocab: u32,
}

impl Simple {
    /// One that was fitted to the certified text, or to none.
    pub(crate) fn fitted(predictor: impl baselines::Predictor + 'static, vocab: u32) -> Self {
        let name = predictor.name().to_owned();
        Self { name, known: false, predictor: Box::new(predictor), vocab }
    }
}

impl Rival for Simple {
    fn name(&self) -> &str {
        &self.name
    }

    fn code_length(&self) -> u64 {
        if self.known { 0 } else { 8 * self.predictor.encoded().len() as u64 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "scores are stored as f32")]
    fn score(&self, blocks: &Blocks<'_>, windows: &[Window]) -> Result<TokenScores, Error> {
        // What a score needs, computed once for each previous token that occurs.
        let mut sorted = HashMap::<u32, (Vec<f64>, f32)>::new();
        let mut scores = TokenScores::default();
        for (document, block) in windows {
            let window = blocks.window(*document, block);
            for i in window.scored {
                let (previous, token) = (window.tokens[i], window.tokens[i + 1]);
                let (descending, entropy) = sorted.entry(previous).or_insert_with(|| {
                    let ln_p = |token| self.predictor.ln_p(previous, token);
                    let mut all: Vec<f64> = (0..self.vocab).map(ln_p).collect();
                    all.sort_unstable_by(|a, b| b.total_cmp(a));
                    (all, self.predictor.entropy(previous) as f32)
                });
                let ln_p = self.predictor.ln_p(previous, token);
                let at_least = descending.partition_point(|&other| other >= ln_p);
                scores.ln_p.push((ln_p as f32).min(0.0));
                scores.rank.push(at_least.saturating_sub(1) as u32);
                scores.entropy.push(entropy.max(0.0));
            }
        }
        Ok(scores)
    }
}
