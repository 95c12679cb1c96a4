//! Claims about a simple predictor on the sample of a certificate.

use std::collections::HashMap;
use std::num::NonZeroU64;

use bounds::{Bits, Unit};
use corpus::Corpus;
use gpt2_model::TokenScores;

use super::certify::metrics;
use super::evidence::Terms;
use super::scene::{Drawn, Scene};
use super::scores::ScoreFile;
use super::{Certificate, Claim};
use crate::Error;
use crate::baselines::Predictor;

/// What `predictor` achieves on the units that `certificate` scored, with its own code length paid and
/// its share of the same failure probability: `certificate` must have counted these claims.
///
/// # Errors
/// A corpus that is not the certificate's.
pub(crate) fn baseline_claims(
    predictor: &dyn Predictor,
    corpus: &Corpus,
    certificate: &Certificate,
) -> Result<Vec<Claim>, Error> {
    if corpus.sha256() != certificate.corpus.sha256 {
        return Err(Error::Mismatch("the corpus is not the certificate's".to_owned()));
    }
    let scene = Scene::new(corpus, certificate.corpus.prior, &certificate.predictor)?;
    let frozen = scene.frozen(&certificate.artifact.file.sha256, &certificate.corpus.sha256);
    let vocab = corpus.manifest().tokenizer.vocab_size;
    let table = Table::new(predictor, vocab);
    let level = |unit, record: &Option<super::SampleRecord>| -> Result<_, Error> {
        let Some(record) = record else { return Ok((None, None)) };
        let drawn = scene.draw(unit, record.draw(), &frozen)?;
        Ok((Some(table.scores(&scene, &drawn)), Some(drawn)))
    };
    let (documents, drawn_documents) = level(Unit::Document, &certificate.documents)?;
    let (positions, drawn_positions) = level(Unit::Token, &certificate.positions)?;
    let terms = Terms {
        vocab,
        code_length: Bits::whole(8 * predictor.encoded().len() as u64),
        models: NonZeroU64::MIN,
        failure: certificate.confidence.failure_probability / certificate.confidence.claims as f64,
    };
    let mut top_k: Vec<u32> = certificate.bounds.iter().filter_map(|claim| claim.k).collect();
    top_k.sort_unstable();
    top_k.dedup();
    let scored = ScoreFile { documents, positions };
    scene.claims(&scored, &[drawn_documents, drawn_positions], &metrics(&top_k)?, terms)
}

/// A predictor with what a score needs, computed once for each previous token that occurs.
struct Table<'a> {
    predictor: &'a dyn Predictor,
    vocab: u32,
}

impl Table<'_> {
    fn new(predictor: &dyn Predictor, vocab: u32) -> Table<'_> {
        Table { predictor, vocab }
    }

    #[expect(clippy::cast_possible_truncation, reason = "scores are stored as f32")]
    fn scores(&self, scene: &Scene<'_>, drawn: &Drawn) -> TokenScores {
        let mut sorted = HashMap::<u32, (Vec<f64>, f32)>::new();
        let mut scores = TokenScores::default();
        for (document, block) in &drawn.windows {
            let window = scene.blocks.window(*document, block);
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
        scores
    }
}
