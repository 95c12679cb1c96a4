//! One run and its folder: base, training, compression, certificate.
//!
//! | path | what |
//! |---|---|
//! | `config.toml` | the configuration, defaults written out |
//! | `provenance.json` | the corpus it was started on |
//! | `pretrain/`, `base/` | with a prior split: its training, and the base as a Hugging Face folder |
//! | `train/`, `qat/` | checkpoints and metrics |
//! | `model.sublora` | the compressed model |
//! | `certificate.json`, `scores.safetensors` | what is claimed of it, and on what evidence |

mod base;
mod certified;
mod compress;
mod prepare;
mod provenance;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use burn::tensor::Device;
use corpus::{Corpus, Partition, Split};
use gpt2_model::TokenScores;

use crate::artifact::Artifact;
use crate::atomic::FileError;
use crate::certificate::{Certificate, Certifier, Subject, claim_count, metrics};
use crate::config::{BaseConfig, CertifyConfig, RunConfig};
use crate::held_out::{HeldOut, HeldOutText};
use crate::scoring::{Pace, Scorer};
use crate::train::{CrossEntropy, Outcome, Trainer};
use crate::{Error, Progress, atomic, generate};
pub(crate) use prepare::Part;
use prepare::Prepared;
pub(crate) use provenance::Provenance;

/// The folder of the training in that of the run.
const TRAIN: &str = "train";
/// What makes a folder a run.
const CONFIG: &str = "config.toml";

/// A run in its folder.
pub struct Run<'a> {
    /// Everything it writes goes here.
    pub folder: PathBuf,
    /// What it does.
    pub config: RunConfig,
    /// The text.
    pub corpus: &'a Corpus,
    /// Where it computes, without autodiff.
    pub device: Device,
    /// Its name, for the record.
    pub device_name: String,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl<'a> Run<'a> {
    /// The configuration of the run in `folder`, which an earlier [`train`](Self::train) wrote, with
    /// `overrides` as in [`RunConfig::parse`].
    ///
    /// # Errors
    /// No readable configuration, or a value that no run can have.
    pub fn read_config(folder: &Path, overrides: &[String]) -> Result<RunConfig, Error> {
        let path = folder.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        RunConfig::parse(&text, overrides)
    }

    /// Trains to the end. With `resume`, goes on where an earlier call stopped; without, a folder that
    /// already holds a run is refused. What is wrong with a new run is found before anything of it is
    /// written.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with everything so far on disk, or what failed.
    pub fn train(&self, resume: bool) -> Result<Outcome, Error> {
        let resume = self.opened(resume)?;
        if let BaseConfig::PriorSplit { .. } = &self.config.base {
            self.pretrain_base(resume)?;
        }
        let Prepared { spec, model, layout } = self.prepare()?;
        let mut parameters = self.parameters(&spec, &model, layout)?;
        let trainer = self.trainer(&spec, &self.config.train, TRAIN)?;
        let data = self.data(&self.config.train, Part::Certified)?;
        self.record()?;
        let parameters = parameters.as_mut();
        let (_, outcome) = trainer.run("train", model, &CrossEntropy, parameters, &data, resume)?;
        Ok(outcome)
    }

    /// Whether the folder holds a run, of whatever configuration.
    pub(crate) fn has_begun(&self) -> bool {
        self.folder.join(CONFIG).exists()
    }

    /// Whether there is something to go on with.
    fn opened(&self, resume: bool) -> Result<bool, Error> {
        if !self.has_begun() {
            // A base that another run left here is none of ours.
            return if self.base_folder().exists() {
                Err(Error::RunExists(self.folder.clone()))
            } else {
                Ok(false)
            };
        }
        if !resume {
            return Err(Error::RunExists(self.folder.clone()));
        }
        let (ours, theirs) = (self.recorded_config()?, Self::read_config(&self.folder, &[])?);
        if ours != theirs {
            let difference = ours.first_difference(&theirs)?;
            return Err(Error::OtherConfig { folder: self.folder.clone(), difference });
        }
        self.provenance().check(&self.folder)?;
        Ok(true)
    }

    /// The configuration as it stands in the folder, where it is read from anywhere.
    fn recorded_config(&self) -> Result<RunConfig, Error> {
        let mut config = self.config.clone();
        if let BaseConfig::Checkpoint { path } = &mut config.base {
            *path = std::path::absolute(&*path).map_err(FileError::at("find", path))?;
        }
        Ok(config)
    }

    /// Makes the folder a run: from here on it can be resumed.
    fn record(&self) -> Result<(), Error> {
        let text =
            toml::to_string(&self.recorded_config()?).map_err(|error| Error::config(&error))?;
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        self.provenance().write(&self.folder)?;
        Ok(atomic::write(&self.folder.join(CONFIG), text.as_bytes())?)
    }

    /// The best of the training so far; none before its first checkpoint.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn outcome(&self) -> Result<Option<Outcome>, Error> {
        Trainer::outcome(&self.folder.join(TRAIN))
    }

    /// Certifies `model.sublora`. `other_claims` further ones share its failure probability.
    ///
    /// # Errors
    /// A run without an artifact or on another corpus, or what failed.
    pub fn certify(&self, other_claims: u64) -> Result<Certificate, Error> {
        let path = self.artifact_path();
        let artifact = self.artifact()?;
        self.provenance().check(&self.folder)?;
        self.shape()?; // what is certified may have been changed since
        let base_path = self.base_path();
        let model = self.rebuild(&artifact)?;
        let certifier = Certifier {
            config: &self.config.certify,
            device: &self.device_name,
            other_claims,
            now: self.now,
            progress: self.progress,
        };
        let subject = Subject {
            artifact: &artifact,
            artifact_path: &path,
            base_path: base_path.as_deref(),
            corpus: self.corpus,
            out: &self.certificate_path(),
        };
        certifier.certify(&subject, &model)
    }

    /// The compressed model of this run.
    ///
    /// # Errors
    /// [`Error::Unfinished`] before [`compress`](Self::compress); a file that is no artifact.
    pub fn artifact(&self) -> Result<Artifact, Error> {
        let path = self.artifact_path();
        if !path.exists() {
            return Err(Error::Unfinished { folder: self.folder.clone(), what: "`model.sublora`" });
        }
        Artifact::read(&path)
    }

    /// `model.sublora`.
    pub fn artifact_path(&self) -> PathBuf {
        self.folder.join("model.sublora")
    }

    /// `certificate.json`.
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join("certificate.json")
    }

    /// Claims that a certificate of this run makes, or that of any other predictor beside it.
    ///
    /// # Errors
    /// A top-k of 0.
    pub fn claim_count(&self) -> Result<u64, Error> {
        let certify = &self.config.certify;
        Ok(claim_count(certify.unit, &metrics(&certify.top_k)?))
    }

    /// The training documents that are certified: all, or those not in the prior part.
    ///
    /// # Errors
    /// As [`certify`](Self::certify).
    pub fn certified_documents(&self) -> Result<Vec<u64>, Error> {
        let table = self.corpus.split(Split::Train).documents();
        Ok(match self.prior() {
            Some(partition) => partition.documents(table)?.certified,
            None => (0..table.len()).collect(),
        })
    }

    /// What the compressed model does on the documents of `split`, `draws` blocks of each or all; none
    /// if it has no document. Only of the validation split does that say something about new text.
    ///
    /// # Errors
    /// As [`certify`](Self::certify).
    pub fn held_out(
        &self,
        artifact: &Artifact,
        split: Split,
        draws: Option<NonZeroU64>,
    ) -> Result<Option<HeldOut>, Error> {
        self.provenance().check(&self.folder)?;
        let model = self.rebuild(artifact)?;
        let Some(text) = self.held_out_text(&model, split, draws) else { return Ok(None) };
        let scores = self.scorer().score("held out", &model, &text.blocks, &text.windows)?;
        self.measure(&text, &scores).map(Some)
    }

    pub(crate) fn held_out_text(
        &self,
        model: &LoraGpt2,
        split: Split,
        draws: Option<NonZeroU64>,
    ) -> Option<HeldOutText<'a>> {
        let (_, context) = model.limits();
        let windows = (context, self.config.certify.stride_of(context));
        HeldOutText::new(self.corpus.split(split), windows, draws, self.config.seed)
    }

    pub(crate) fn measure(
        &self,
        text: &HeldOutText<'_>,
        scores: &TokenScores,
    ) -> Result<HeldOut, Error> {
        let vocab = self.corpus.manifest().tokenizer.vocab_size;
        text.measure(scores, vocab, self.config.certify.failure_probability)
    }

    pub(crate) fn scorer(&self) -> Scorer<'a> {
        let CertifyConfig { batch, shards, .. } = self.config.certify;
        Scorer { pace: Pace { batch, shards }, now: self.now, progress: self.progress }
    }

    /// Draws `count` tokens from the compressed model after a separator and `prompt`.
    ///
    /// # Errors
    /// A corpus of other tokens than those the model was trained on, or as [`certify`](Self::certify).
    pub fn generate(
        &self,
        artifact: &Artifact,
        prompt: &[u32],
        count: usize,
        temperature: f64,
        seed: u64,
    ) -> Result<Vec<u32>, Error> {
        self.provenance().check_tokenizer(&self.folder)?;
        let model = self.rebuild(artifact)?;
        generate::after_separator(&model, self.corpus, prompt, count, temperature, seed)
    }

    /// The model that `artifact` stands for.
    pub(crate) fn rebuild(&self, artifact: &Artifact) -> Result<LoraGpt2, Error> {
        let base =
            self.base_path().map(|path| gpt2_model::load(&path, &self.device)).transpose()?;
        artifact.rebuild(base, &self.device)
    }

    /// The documents that the base was pretrained on, which are not certified.
    pub(crate) fn prior(&self) -> Option<Partition> {
        match self.config.base {
            BaseConfig::PriorSplit { fraction, .. } => {
                Some(Partition { fraction, seed: self.config.seed })
            }
            _ => None,
        }
    }

    fn base_path(&self) -> Option<PathBuf> {
        match &self.config.base {
            BaseConfig::Random {} => None,
            BaseConfig::Checkpoint { path } => Some(path.clone()),
            BaseConfig::PriorSplit { .. } => Some(self.base_folder()),
        }
    }
}
