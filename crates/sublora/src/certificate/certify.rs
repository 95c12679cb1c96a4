//! From a run to its certificate: sample, score, bound.

use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use bounds::{Bits, Metric, Unit};
use corpus::{Corpus, Partition, Sha256Hash, Split, Subsample};
use gpt2_model::TokenScores;

use super::evidence::{Level, Terms, claimed};
use super::scores::ScoreFile;
use super::{
    ArtifactRecord, Certificate, Claim, Confidence, CorpusRecord, FORMAT, FileRecord, Predictor,
    SampleRecord, VERSION,
};
use crate::artifact::{Artifact, CodeLength};
use crate::atomic::FileError;
use crate::blocks::Blocks;
use crate::config::{CertifyConfig, Units};
use crate::scoring::{score_windows, tell};
use crate::{Error, Progress, atomic};

/// What is certified, where it lies, and on which text.
pub struct Subject<'a> {
    /// The compressed model, decoded from its file.
    pub artifact: &'a Artifact,
    /// That file.
    pub artifact_path: &'a Path,
    /// Folder of the base weights, unless they are random.
    pub base_path: Option<&'a Path>,
    /// The text.
    pub corpus: &'a Corpus,
    /// Training documents set aside for the base.
    pub prior: Option<Partition>,
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

/// Units drawn and the windows that score them.
pub(super) struct Drawn {
    pub(super) record: SampleRecord,
    pub(super) windows: Vec<(u64, Range<u64>)>,
    /// `[groups + 1]`: the scored tokens of each document or block drawn.
    pub(super) offsets: Vec<u64>,
}

impl Certifier<'_> {
    /// Evaluates `model`, which [`Artifact::rebuild`] made of the artifact, and writes the certificate
    /// and its scores. A second call after an interruption goes on where the first one stopped.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or what failed.
    pub fn certify(&self, subject: &Subject<'_>, model: &LoraGpt2) -> Result<Certificate, Error> {
        let (_, context) = model.limits();
        let predictor = Predictor {
            context,
            stride: if self.config.stride == 0 { context.div_ceil(2) } else { self.config.stride },
            batch: self.config.batch,
            device: self.device.to_owned(),
            dtype: "f32".to_owned(),
        };
        let scene = Scene::new(subject.corpus, subject.prior, &predictor)?;
        let artifact = file_record(subject.out, subject.artifact_path)?;
        let frozen = frozen(&artifact.sha256, &subject.corpus.sha256(), &predictor);

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
            let draw = scene.draw(unit, self.config.seed, size, &frozen)?;
            let scores = self.score(subject, model, &scene, unit, &draw)?;
            match unit {
                Unit::Document => scored.documents = Some(scores),
                Unit::Token => scored.positions = Some(scores),
            }
            drawn[slot] = Some(draw);
        }

        let metrics = metrics(&self.config.top_k)?;
        let claims = claim_count(self.config.unit, &metrics) + self.other_claims;
        let bits = CodeLength::of(&subject.artifact.payload, self.config.configurations);
        let terms = Terms {
            vocab: subject.corpus.manifest().tokenizer.vocab_size,
            code_length: Bits::whole(bits.total()),
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
                prior: subject.prior,
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
        score_windows(model, &scene.blocks, rest, batch, |number, scores| {
            tokens += scores.ln_p.len() as u64;
            partial.append(scores)?;
            let windows = ((done.batches + number + 1) * batch) as u64;
            tell(self.progress, windows.min(total), tokens, (self.now)() - start)
        })?;
        self.progress.end();
        Ok(partial.scores)
    }
}

/// A corpus seen by a predictor.
pub(super) struct Scene<'a> {
    pub(super) blocks: Blocks<'a>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        corpus: &'a Corpus,
        prior: Option<Partition>,
        predictor: &Predictor,
    ) -> Result<Self, Error> {
        let file = corpus.split(Split::Train);
        let documents = match prior {
            Some(partition) => partition.documents(file.documents())?.certified,
            None => (0..file.documents().len()).collect(),
        };
        let Predictor { context, stride, .. } = *predictor;
        if !(1..=context).contains(&stride) {
            let expected = format!("1 to the context {context}");
            return Err(Error::value("certify.stride", &stride, &expected));
        }
        Ok(Self { blocks: Blocks::new(file, documents, context, stride) })
    }

    /// Units of a level.
    fn units(&self, unit: Unit) -> Result<NonZeroU64, Error> {
        let units = match unit {
            Unit::Document => self.blocks.documents(),
            Unit::Token => self.blocks.predictions(),
        };
        NonZeroU64::new(units)
            .ok_or_else(|| Error::Mismatch("the certified part of the corpus is empty".to_owned()))
    }

    /// The sample that `seed` and what is frozen determine.
    pub(super) fn draw(
        &self,
        unit: Unit,
        seed: u64,
        size: Option<u64>,
        frozen: &[u8],
    ) -> Result<Drawn, Error> {
        let units = self.units(unit)?;
        // More draws than units cost more than scoring every unit once, and say less.
        let size = size.and_then(NonZeroU64::new).filter(|&size| size < units);
        let sample = Subsample { seed, units, size };
        let commitment = sample.commitment(frozen);
        let record = SampleRecord { seed, size: size.map(NonZeroU64::get), commitment };
        let (mut windows, mut offsets, mut tokens) = (Vec::new(), vec![0], 0);
        for index in sample.indices(frozen) {
            if unit == Unit::Token && size.is_some() {
                let (document, block) = self.blocks.around(index);
                tokens += block.end - block.start;
                windows.push((document, block));
            } else if unit == Unit::Document {
                windows.extend(self.blocks.of_document(index).map(|block| (index, block)));
                tokens += self.blocks.document_len(index);
            } else {
                break; // every token is scored, by document below
            }
            offsets.push(tokens);
        }
        if unit == Unit::Token && size.is_none() {
            for index in 0..self.blocks.documents() {
                windows.extend(self.blocks.of_document(index).map(|block| (index, block)));
            }
            offsets.push(self.blocks.predictions());
        }
        Ok(Drawn { record, windows, offsets })
    }

    pub(super) fn claims(
        &self,
        scored: &ScoreFile,
        drawn: &[Option<Drawn>; 2],
        metrics: &[Metric],
        terms: Terms,
    ) -> Result<Vec<Claim>, Error> {
        let mut claims = Vec::new();
        let levels = [(Unit::Document, &scored.documents), (Unit::Token, &scored.positions)];
        for ((unit, scores), draw) in levels.into_iter().zip(drawn) {
            let (Some(scores), Some(draw)) = (scores, draw) else { continue };
            let level = Level {
                unit,
                population: self.units(unit)?,
                sampled: draw.record.size.is_some(),
                scores,
                offsets: &draw.offsets,
            };
            claims.extend(level.claims(metrics, terms)?);
        }
        Ok(claims)
    }
}

/// What is fixed before a sample is drawn.
pub(super) fn frozen(artifact: &Sha256Hash, corpus: &Sha256Hash, predictor: &Predictor) -> Vec<u8> {
    let Predictor { context, stride, .. } = predictor;
    format!("{artifact} {corpus} {context} {stride}").into_bytes()
}

pub(super) fn wanted(units: Units, unit: Unit) -> bool {
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

/// Finished scores of an unfinished certificate: a header, then 12 bytes a token.
struct Partial {
    path: PathBuf,
    /// Of the sample and of what scores it.
    header: Sha256Hash,
    scores: TokenScores,
}

/// How far a partial file reaches.
#[derive(Clone, Copy)]
struct Done {
    batches: usize,
    tokens: usize,
}

impl Partial {
    /// What the file holds, if it is of this sample.
    fn open(path: &Path, header: &Sha256Hash) -> Result<Self, Error> {
        let mut scores = TokenScores::default();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(FileError::at("read", path)(error).into()),
        };
        if let Some(records) = bytes.strip_prefix(header.0.as_slice()) {
            for record in records.as_chunks::<12>().0 {
                let [ln_p, rank, entropy] = [0, 4, 8]
                    .map(|at| [record[at], record[at + 1], record[at + 2], record[at + 3]]);
                scores.ln_p.push(f32::from_le_bytes(ln_p));
                scores.rank.push(u32::from_le_bytes(rank));
                scores.entropy.push(f32::from_le_bytes(entropy));
            }
        }
        Ok(Self { path: path.to_owned(), header: *header, scores })
    }

    /// Whole batches among what is there.
    #[expect(clippy::cast_possible_truncation, reason = "a batch of windows fits memory")]
    fn whole_batches(&self, windows: &[(u64, Range<u64>)], batch: usize) -> Done {
        let mut done = Done { batches: 0, tokens: 0 };
        for group in windows.chunks(batch) {
            let tokens: u64 = group.iter().map(|(_, block)| block.end - block.start).sum();
            let tokens = done.tokens + tokens as usize;
            if tokens > self.scores.ln_p.len() {
                break;
            }
            done = Done { batches: done.batches + 1, tokens };
        }
        done
    }

    /// Begins the file anew with the scores of whole batches.
    fn keep(&mut self, done: Done) -> Result<(), Error> {
        let mut kept = std::mem::take(&mut self.scores);
        kept.ln_p.truncate(done.tokens);
        kept.rank.truncate(done.tokens);
        kept.entropy.truncate(done.tokens);
        atomic::write(&self.path, &self.header.0)?;
        self.append(kept)
    }

    fn append(&mut self, scores: TokenScores) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(12 * scores.ln_p.len());
        for ((ln_p, rank), entropy) in scores.ln_p.iter().zip(&scores.rank).zip(&scores.entropy) {
            bytes.extend(ln_p.to_le_bytes());
            bytes.extend(rank.to_le_bytes());
            bytes.extend(entropy.to_le_bytes());
        }
        let file = std::fs::OpenOptions::new().append(true).open(&self.path);
        let mut file = file.map_err(FileError::at("open", &self.path))?;
        file.write_all(&bytes).map_err(FileError::at("write", &self.path))?;
        self.scores.ln_p.extend(scores.ln_p);
        self.scores.rank.extend(scores.rank);
        self.scores.entropy.extend(scores.entropy);
        Ok(())
    }
}
