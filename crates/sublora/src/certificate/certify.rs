//! From a run to its certificate: sample, score, bound.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use bounds::{Bits, Metric, Unit};
use corpus::{Corpus, Sha256Hash};
use gpt2_model::TokenScores;

use super::evidence::{Terms, claimed};
use super::partial::Partial;
use super::scene::{Draw, Drawn, Scene};
use super::scores::ScoreFile;
use super::{
    ArtifactRecord, Certificate, Confidence, CorpusRecord, FORMAT, FileRecord, Predictor, VERSION,
};
use crate::artifact::{Artifact, CodeLength};
use crate::atomic::FileError;
use crate::config::{CertifyConfig, Units};
use crate::scoring::{Pace, score_windows, tell};
use crate::{Error, Progress, atomic};

/// What is certified, where it lies, and on which text.
pub struct Subject<'a> {
    /// The compressed model, decoded from its file.
    pub artifact: &'a Artifact,
    /// That file.
    pub artifact_path: &'a Path,
    /// Folder of the base weights, unless they are random.
    pub base_path: Option<&'a Path>,
    /// The text, which the model was trained on.
    pub corpus: &'a Corpus,
    /// `certificate.json` to write.
    pub out: &'a Path,
}

/// Certifies runs.
pub struct Certifier<'a> {
    /// What is certified, and how surely.
    pub config: &'a CertifyConfig,
    /// Name of the device that evaluates, for the record.
    pub device: &'a str,
    /// Further claims, of other predictors, that share the failure probability.
    pub other_claims: u64,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl Certifier<'_> {
    /// Evaluates `model`, which [`Artifact::rebuild`] made of the artifact, and writes the certificate
    /// and its scores. A second call after an interruption goes on where the first one stopped.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or what failed.
    pub fn certify(&self, subject: &Subject<'_>, model: &LoraGpt2) -> Result<Certificate, Error> {
        let trained_on = &subject.artifact.spec;
        if trained_on.corpus != subject.corpus.sha256() {
            let (folder, expected) = (subject.artifact_path.to_owned(), trained_on.corpus);
            let found = subject.corpus.sha256();
            return Err(Error::OtherCorpus { folder, expected, found });
        }
        let prior = trained_on.base.prior();
        let (_, context) = model.limits();
        let predictor = Predictor {
            context,
            stride: self.config.stride_of(context),
            batch: self.config.batch,
            shards: self.config.shards,
            device: self.device.to_owned(),
            dtype: "f32".to_owned(),
        };
        let scene = Scene::new(subject.corpus, prior, &predictor)?;
        let artifact = file_record(subject.out, subject.artifact_path)?;
        let frozen = scene.frozen(&artifact.sha256, &subject.corpus.sha256());

        let mut scored = ScoreFile::default();
        let mut drawn = [None, None];
        for (slot, unit) in [Unit::Document, Unit::Token].into_iter().enumerate() {
            if !wanted(self.config.unit, unit) {
                continue;
            }
            let size = match unit {
                Unit::Document => self.config.documents,
                Unit::Token => self.config.positions,
            };
            let what = Draw { seed: self.config.seed, size, scored: self.config.scored };
            let draw = scene.draw(unit, what, &frozen)?;
            let of_documents = drawn[0].as_ref().filter(|it: &&Drawn| it.windows == draw.windows);
            let same = of_documents.and(scored.documents.clone());
            let scores = match same {
                Some(scores) => scores, // both levels score everything
                None => self.score(subject, model, &scene, unit, &draw)?,
            };
            match unit {
                Unit::Document => scored.documents = Some(scores),
                Unit::Token => scored.positions = Some(scores),
            }
            drawn[slot] = Some(draw);
        }

        let metrics = metrics(&self.config.top_k)?;
        let claims = claim_count(self.config.unit, &metrics) + self.other_claims;
        let bits = CodeLength::of(subject.artifact, self.config.configurations)?;
        let terms = Terms {
            vocab: subject.corpus.manifest().tokenizer.vocab_size,
            code_length: Bits::whole(bits.total()),
            models: NonZeroU64::new(self.config.configurations).unwrap_or(NonZeroU64::MIN),
            failure: self.config.failure_probability / claims as f64,
        };
        let bounds = scene.claims(&scored, &drawn, &metrics, terms)?;

        let path = subject.out.with_file_name("scores.safetensors");
        atomic::write(&path, &scored.to_bytes(&path)?)?;
        let [documents, positions] = drawn.map(|draw| draw.map(|draw| draw.record));
        let manifest = subject.corpus.manifest();
        let certificate = Certificate {
            format: FORMAT.to_owned(),
            version: VERSION,
            artifact: ArtifactRecord {
                file: artifact,
                bits,
                code_length: bits.total(),
                configurations: self.config.configurations,
                base: subject.artifact.spec.base.clone(),
                base_path: subject.base_path.map(|path| relative(subject.out, path)),
            },
            corpus: CorpusRecord {
                path: relative(subject.out, subject.corpus.dir()),
                sha256: subject.corpus.sha256(),
                tokenizer: manifest.tokenizer.clone(),
                prior,
                documents: scene.blocks.documents(),
                tokens: scene.blocks.predictions(),
                effective_documents: manifest.near_duplicates.as_ref().map(|it| it.train_clusters),
            },
            predictor,
            confidence: Confidence { failure_probability: self.config.failure_probability, claims },
            documents,
            positions,
            scores: file_record(subject.out, &path)?,
            bounds,
            sha256: Sha256Hash([0; 32]),
        }
        .with_hash();
        certificate.write(subject.out)?;
        for unit in [Unit::Document, Unit::Token] {
            let _ = std::fs::remove_file(partial(subject.out, unit)); // absent if nothing was scored
        }
        Ok(certificate)
    }

    /// Scores the windows of a draw, keeping what is finished in a file beside the certificate.
    fn score(
        &self,
        subject: &Subject<'_>,
        model: &LoraGpt2,
        scene: &Scene<'_>,
        unit: Unit,
        draw: &Drawn,
    ) -> Result<TokenScores, Error> {
        let path = partial(subject.out, unit);
        // Scores of another device or another batch are not to be mixed with these.
        let numerics = format!("{} {}", self.device, self.config.batch);
        let header = Sha256Hash::of(&[&draw.record.commitment.0, numerics.as_bytes()]);
        let mut partial = Partial::open(&path, &header)?;
        let batch = self.config.batch;
        let done = partial.whole_batches(&draw.windows, batch);
        partial.keep(done)?;
        let total = draw.windows.len() as u64;
        self.progress.begin(&format!("certify, {unit} level"), "windows", total);
        let start = (self.now)();
        let mut tokens = 0;
        let rest = &draw.windows[(done.batches * batch).min(draw.windows.len())..];
        let pace = Pace { batch, shards: self.config.shards };
        score_windows(model, &scene.blocks, rest, pace, |number, scores| {
            tokens += scores.ln_p.len() as u64;
            partial.append(scores)?;
            let windows = ((done.batches + number + 1) * batch) as u64;
            tell(self.progress, windows.min(total), tokens, (self.now)() - start)
        })?;
        self.progress.end();
        Ok(partial.scores)
    }
}

pub(crate) fn wanted(units: Units, unit: Unit) -> bool {
    matches!(
        (units, unit),
        (Units::Both, _) | (Units::Document, Unit::Document) | (Units::Token, Unit::Token)
    )
}

pub(crate) fn metrics(top_k: &[u32]) -> Result<Vec<Metric>, Error> {
    let mut metrics = vec![Metric::BitsPerToken];
    for k in top_k {
        let k =
            NonZeroU32::new(*k).ok_or_else(|| Error::value("certify.top_k", &0, "at least 1"))?;
        metrics.push(Metric::TopKError { k });
    }
    Ok(metrics)
}

/// Claims of one predictor.
pub(crate) fn claim_count(units: Units, metrics: &[Metric]) -> u64 {
    let units = [Unit::Document, Unit::Token].into_iter().filter(|&unit| wanted(units, unit));
    let claims =
        units.flat_map(|unit| metrics.iter().map(move |&metric| claimed(unit, metric).len()));
    claims.sum::<usize>() as u64
}

fn file_record(out: &Path, path: &Path) -> Result<FileRecord, Error> {
    let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
    Ok(FileRecord { path: relative(out, path), sha256: Sha256Hash::of(&[&bytes]) })
}

/// `path` as seen from the folder of `out`, with `/` on every platform; absolute where the two share
/// no root.
fn relative(out: &Path, path: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute(out.parent().unwrap_or(Path::new("")));
    let path = absolute(path);
    let shared = folder.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return path.display().to_string();
    }
    let up = folder.components().skip(shared).map(|_| "..".to_owned());
    let down =
        path.components().skip(shared).map(|it| it.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

fn partial(out: &Path, unit: Unit) -> PathBuf {
    out.with_file_name(format!(".scores-{unit}.partial"))
}
