//! Checks a certificate against what it talks about.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::Path;

use adapters::LoraGpt2;
use bounds::{Bits, Unit};
use burn::tensor::Device;
use corpus::{Corpus, Sha256Hash};
use gpt2_model::{CheckpointError, TokenScores};

use super::certify::metrics;
use super::evidence::Terms;
use super::scene::{Drawn, Scene};
use super::scores::ScoreFile;
use super::{Certificate, Claim, MetricName, SampleRecord};
use crate::artifact::{Artifact, CodeLength};
use crate::atomic::FileError;
use crate::blocks::Blocks;
use crate::scoring::{Pace, extend, score_windows, tell};
use crate::spec::BaseIdentity;
use crate::{Error, Progress};

/// Largest difference of a recomputed claim: `f64` functions differ by an ulp between platforms.
const TOLERANCE: f64 = 1e-9;
/// Largest difference of a recomputed token score, in nats: `f32` kernels differ between devices.
const SCORE_TOLERANCE: f32 = 2e-3;
/// Largest share of tokens whose rank may differ: near-ties fall differently on another device.
const RANK_TOLERANCE: f64 = 1e-3;
/// Largest difference of a claim that is recomputed from such scores, in bits per token or as a
/// fraction.
const CLAIM_TOLERANCE: f64 = 2e-4;
/// Most windows evaluated at a time, whatever a certificate says.
const MAX_BATCH: usize = 1 << 10;
/// Most threads that do so.
const MAX_SHARDS: usize = 1 << 6;

/// What a verification found.
#[derive(Debug, Clone, PartialEq)]
pub enum Verification {
    /// Everything that was checked agrees.
    Confirmed {
        /// The certificate.
        certificate: Box<Certificate>,
        /// Tokens evaluated anew; 0 without a full verification.
        rescored: u64,
        /// Largest difference of a token's log-probability, in nats.
        largest_difference: f32,
    },
    /// The first thing that differs, in a sentence.
    Refuted(String),
}

/// Recomputes every number of the certificate at `path` from the files it names: the artifact is
/// decoded and measured, the corpus hashed and counted, the sample drawn again, every bound computed
/// from the stored scores. With a `device`, the model is rebuilt and every scored token evaluated
/// anew. The corpus is looked for in the folder `corpus`, or where the certificate says.
///
/// # Errors
/// If a file is missing or cannot be read, so that nothing can be said.
pub fn verify(
    path: &Path,
    corpus: Option<&Path>,
    device: Option<&Device>,
    now: &(dyn Fn() -> f64 + Sync),
    progress: &dyn Progress,
) -> Result<Verification, Error> {
    match check(path, corpus, device, now, progress) {
        Ok((certificate, rescored, largest_difference)) => Ok(Verification::Confirmed {
            certificate: Box::new(certificate),
            rescored,
            largest_difference,
        }),
        Err(error) if undecided(&error) => Err(error),
        Err(error) => Ok(Verification::Refuted(error.to_string())),
    }
}

/// Whether nothing can be said: a file was not readable, a device failed, or the caller left.
fn undecided(error: &Error) -> bool {
    match error {
        Error::File(_) | Error::Device(_) | Error::Interrupted => true,
        Error::Checkpoint(error) => matches!(error, CheckpointError::Io { .. }),
        // A file that is there but is no text has the wrong content.
        Error::Corpus(corpus::Error::Io { source, .. }) => source.kind() != ErrorKind::InvalidData,
        _ => false,
    }
}

fn check(
    path: &Path,
    corpus: Option<&Path>,
    device: Option<&Device>,
    now: &(dyn Fn() -> f64 + Sync),
    progress: &dyn Progress,
) -> Result<(Certificate, u64, f32), Error> {
    let certificate = Certificate::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));

    let artifact_path = folder.join(&certificate.artifact.file.path);
    hashed(&artifact_path, &certificate.artifact.file.sha256, "artifact")?;
    let artifact = Artifact::read(&artifact_path)?;
    let bits = CodeLength::of(&artifact, certificate.artifact.configurations)?;
    same("code length in bits", &certificate.artifact.bits, &bits)?;
    same("code length", &certificate.artifact.code_length, &bits.total())?;
    same_training(&certificate, &artifact)?;

    let stated = folder.join(&certificate.corpus.path);
    let corpus = Corpus::open(corpus.unwrap_or(&stated))?;
    same_text(&certificate, &artifact, &corpus)?;

    let scene = Scene::new(&corpus, certificate.corpus.prior, &certificate.predictor)?;
    same("number of documents", &certificate.corpus.documents, &scene.blocks.documents())?;
    same("number of tokens", &certificate.corpus.tokens, &scene.blocks.predictions())?;

    let scores_path = folder.join(&certificate.scores.path);
    let bytes = hashed(&scores_path, &certificate.scores.sha256, "score file")?;
    let scored = ScoreFile::from_bytes(&bytes, &scores_path)?;
    let levels = [&scored.documents, &scored.positions];
    let drawn = drawn_again(&certificate, &scene, &scored)?;

    let top_k = top_k(&certificate);
    let terms = terms(&certificate, &corpus, bits)?;
    let claims = scene.claims(&scored, &drawn, &metrics(&top_k)?, terms)?;
    same("number of claims", &certificate.bounds.len(), &claims.len())?;
    for (stated, found) in certificate.bounds.iter().zip(&claims) {
        agree(stated, found)?;
    }

    let Some(device) = device else { return Ok((certificate, 0, 0.0)) };
    let base = match (&artifact.spec.base, &certificate.artifact.base_path) {
        (BaseIdentity::Random, _) | (_, None) => None,
        (_, Some(path)) => Some(gpt2_model::load(&folder.join(path), device)?),
    };
    let model = artifact.rebuild(base, device)?;
    // Strangers' numbers, and ones that no score depends on.
    let batch = certificate.predictor.batch.clamp(1, MAX_BATCH);
    let pace = Pace { batch, shards: certificate.predictor.shards.clamp(1, MAX_SHARDS) };
    let mut rescoring =
        Rescoring { model, blocks: &scene.blocks, pace, now, progress, tokens: 0, largest: 0.0 };
    let mut again = [None, None];
    for ((scores, drawn), again) in levels.into_iter().zip(&drawn).zip(&mut again) {
        let (Some(scores), Some(drawn)) = (scores, drawn) else { continue };
        *again = Some(rescoring.level(drawn, scores)?);
    }
    let Rescoring { tokens, largest, .. } = rescoring;
    // Small differences of single scores may not add up to another claim.
    let [documents, positions] = again;
    let claims =
        scene.claims(&ScoreFile { documents, positions }, &drawn, &metrics(&top_k)?, terms)?;
    for (stated, found) in certificate.bounds.iter().zip(&claims) {
        if (stated.bound - found.bound).abs() > CLAIM_TOLERANCE {
            return Err(differ(stated, found));
        }
    }
    Ok((certificate, tokens, largest))
}

/// The ranks that are certified, in the order of the claims.
pub(super) fn top_k(certificate: &Certificate) -> Vec<u32> {
    let mut top_k: Vec<u32> = Vec::new();
    for k in certificate.bounds.iter().filter_map(|claim| claim.k) {
        if !top_k.contains(&k) {
            top_k.push(k);
        }
    }
    top_k
}

/// The corpus is the one of the certificate, whole, and the model knows its tokens.
fn same_text(certificate: &Certificate, artifact: &Artifact, corpus: &Corpus) -> Result<(), Error> {
    same("corpus hash", &certificate.corpus.sha256, &corpus.sha256())?;
    corpus.verify()?;
    same("tokenizer", &certificate.corpus.tokenizer, &corpus.manifest().tokenizer)?;
    let near = corpus.manifest().near_duplicates.as_ref().map(|it| it.train_clusters);
    same("number of effective documents", &certificate.corpus.effective_documents, &near)?;
    same("context", &certificate.predictor.context, &artifact.spec.model.n_positions)?;
    same("dtype", &certificate.predictor.dtype.as_str(), &"f32")?;
    let (known, needed) = (vocab(artifact)?, corpus.manifest().tokenizer.vocab_size);
    if known < needed {
        let reason = format!("the model knows {known} tokens, the corpus has {needed}");
        return Err(Error::Mismatch(reason));
    }
    Ok(())
}

/// The samples of both levels, with as many scores as they have tokens.
pub(super) fn drawn_again(
    certificate: &Certificate,
    scene: &Scene<'_>,
    scored: &ScoreFile,
) -> Result<[Option<Drawn>; 2], Error> {
    let frozen = scene.frozen(&certificate.artifact.file.sha256, &certificate.corpus.sha256);
    let draw = |unit, record: &Option<SampleRecord>, scores: &Option<TokenScores>| {
        let Some(record) = record else { return Ok(None) };
        let tokens = scores.as_ref().map_or(0, |scores| scores.ln_p.len() as u64);
        if record.size.is_some_and(|size| size > tokens) {
            let reason =
                format!("the sample of the {unit} level has more units than scored tokens");
            return Err(Error::Mismatch(reason));
        }
        let drawn = scene.draw(unit, record.draw(), &frozen)?;
        same("sample", record, &drawn.record)?;
        Ok(Some(drawn))
    };
    let drawn = [
        draw(Unit::Document, &certificate.documents, &scored.documents)?,
        draw(Unit::Token, &certificate.positions, &scored.positions)?,
    ];
    for (scores, drawn) in [&scored.documents, &scored.positions].into_iter().zip(&drawn) {
        let found = scores.as_ref().map(|scores| scores.ln_p.len() as u64);
        let expected = drawn.as_ref().and_then(|drawn| drawn.offsets.last().copied());
        same("number of scored tokens", &found, &expected)?;
    }
    Ok(drawn)
}

/// What the claims share, if they are no more than the failure probability was divided among.
fn terms(certificate: &Certificate, corpus: &Corpus, bits: CodeLength) -> Result<Terms, Error> {
    let confidence = certificate.confidence;
    if confidence.claims < certificate.bounds.len() as u64 {
        let (claims, bounds) = (confidence.claims, certificate.bounds.len());
        let reason = format!("{bounds} claims share a failure probability meant for {claims}");
        return Err(Error::Mismatch(reason));
    }
    Ok(Terms {
        vocab: corpus.manifest().tokenizer.vocab_size,
        code_length: Bits::whole(bits.total()),
        models: NonZeroU64::new(certificate.artifact.configurations)
            .ok_or_else(|| Error::value("artifact.configurations", &0, "at least 1"))?,
        failure: confidence.failure_probability / confidence.claims as f64,
    })
}

/// Evaluates scored tokens again.
struct Rescoring<'a> {
    model: LoraGpt2,
    blocks: &'a Blocks<'a>,
    pace: Pace,
    now: &'a (dyn Fn() -> f64 + Sync),
    progress: &'a dyn Progress,
    /// Evaluated so far.
    tokens: u64,
    /// Largest difference so far, in nats.
    largest: f32,
}

impl Rescoring<'_> {
    /// Evaluates the windows of a level and compares with what is `stated`.
    fn level(&mut self, drawn: &Drawn, stated: &TokenScores) -> Result<TokenScores, Error> {
        let total = drawn.windows.len();
        self.progress.begin("verify", "windows", total as u64);
        let start = (self.now)();
        let (mut again, mut largest, mut other_ranks) = (TokenScores::default(), self.largest, 0);
        score_windows(&self.model, self.blocks, &drawn.windows, self.pace, |number, found| {
            let at = again.ln_p.len();
            largest = largest.max(compare(stated, at, &found)?);
            other_ranks += ranks_that_differ(stated, at, &found);
            extend(&mut again, found);
            let done = ((number + 1) * self.pace.batch).min(total) as u64;
            tell(self.progress, done, again.ln_p.len() as u64, (self.now)() - start)
        })?;
        self.progress.end();
        let tokens = again.ln_p.len();
        if other_ranks as f64 > (tokens as f64 * RANK_TOLERANCE).ceil() {
            let reason = format!(
                "{other_ranks} of {tokens} tokens have another rank than in the score file"
            );
            return Err(Error::Mismatch(reason));
        }
        self.largest = largest;
        self.tokens += tokens as u64;
        Ok(again)
    }
}

/// Compares what certificate and artifact say of base and text.
fn same_training(certificate: &Certificate, artifact: &Artifact) -> Result<(), Error> {
    same("base", &certificate.artifact.base, &artifact.spec.base)?;
    same("text of the training", &certificate.corpus.sha256, &artifact.spec.corpus)?;
    same("prior part", &certificate.corpus.prior, &artifact.spec.base.prior())
}

/// Largest difference of a log-probability or an entropy from those stated from token `at` on, in
/// nats.
fn compare(stated: &TokenScores, at: usize, found: &TokenScores) -> Result<f32, Error> {
    let columns = [
        ("log-probability", &stated.ln_p, &found.ln_p),
        ("entropy", &stated.entropy, &found.entropy),
    ];
    let mut largest = 0_f32;
    for (what, stated, found) in columns {
        for (stated, found) in stated[at..].iter().zip(found) {
            let difference = (stated - found).abs();
            if difference.is_nan() || difference > SCORE_TOLERANCE {
                let reason = format!(
                    "a token's {what} differs by {difference} nats from the score file, more than {SCORE_TOLERANCE}"
                );
                return Err(Error::Mismatch(reason));
            }
            largest = largest.max(difference);
        }
    }
    Ok(largest)
}

fn ranks_that_differ(stated: &TokenScores, at: usize, found: &TokenScores) -> usize {
    stated.rank[at..].iter().zip(&found.rank).filter(|(stated, found)| stated != found).count()
}

fn vocab(artifact: &Artifact) -> Result<u32, Error> {
    u32::try_from(artifact.spec.model.vocab_size)
        .map_err(|_| Error::Mismatch("the model's vocabulary is beyond 32 bits".to_owned()))
}

pub(super) fn hashed(path: &Path, expected: &Sha256Hash, what: &str) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
    let found = Sha256Hash::of(&[&bytes]);
    if found == *expected {
        return Ok(bytes);
    }
    let path = path.display();
    Err(Error::Mismatch(format!(
        "the {what} `{path}` has the SHA-256 {found}, the certificate is about {expected}"
    )))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, stated: &T, found: &T) -> Result<(), Error> {
    if stated == found {
        return Ok(());
    }
    Err(Error::Mismatch(format!("the {what} is stated as {stated:?}, but is {found:?}")))
}

fn agree(stated: &Claim, found: &Claim) -> Result<(), Error> {
    let same_kind =
        (&stated.name, stated.unit, stated.metric, stated.k, stated.alpha, stated.vacuous)
            == (&found.name, found.unit, found.metric, found.k, found.alpha, found.vacuous);
    let numbers = |claim: &Claim| {
        let Claim { risk, complexity_term, sampling_term, bound, vacuous_above, .. } = *claim;
        [risk, complexity_term, sampling_term, bound, vacuous_above]
    };
    let close = |(a, b): (f64, f64)| (a - b).abs() <= TOLERANCE * a.abs().max(1.0);
    if same_kind && numbers(stated).into_iter().zip(numbers(found)).all(close) {
        return Ok(());
    }
    Err(differ(stated, found))
}

fn differ(stated: &Claim, found: &Claim) -> Error {
    let metric = match stated.metric {
        MetricName::BitsPerToken => "bits per token".to_owned(),
        MetricName::TopKError => format!("top-{} error", stated.k.unwrap_or(0)),
    };
    Error::Mismatch(format!(
        "the {} bound on {metric} at the {} level is stated as {} (weight {:?}), but is {} (weight {:?})",
        stated.name, stated.unit, stated.bound, stated.alpha, found.bound, found.alpha
    ))
}
