//! One run and its folder: base, training, compression, certificate.
//!
//! | path | what |
//! |---|---|
//! | `config.toml` | the configuration, defaults written out |
//! | `pretrain/`, `base/` | with a prior split: its training, and the base as a Hugging Face folder |
//! | `train/`, `qat/` | checkpoints and metrics |
//! | `model.sublora` | the compressed model |
//! | `certificate.json`, `scores.safetensors` | what is claimed of it, and on what evidence |

use std::path::{Path, PathBuf};

use adapters::LoraGpt2;
use burn::module::Module;
use burn::tensor::Device;
use corpus::{Corpus, Partition, Split, WindowSampler};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2, TokenScores};
use quantizers::CodedVector;
use std::num::{NonZeroU8, NonZeroU64};
use subspace_projectors::Layout;

use crate::artifact::Artifact;
use crate::atomic::FileError;
use crate::certificate::{Certificate, Certifier, Subject, claim_count, metrics};
use crate::config::{BaseConfig, CertifyConfig, RunConfig, TrainConfig};
use crate::held_out::{HeldOut, HeldOutText};
use crate::schedule::LearningRate;
use crate::scoring::{Pace, Scorer};
use crate::spec::{BaseIdentity, Spec};
use crate::subspace::Subspace;
use crate::train::{Data, Direct, InSubspace, Outcome, Parameters, Trainer};
use crate::{Error, Progress, atomic, generate};

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

/// A model ready to be trained.
struct Prepared {
    spec: Spec,
    model: LoraGpt2,
    layout: Layout,
}

impl<'a> Run<'a> {
    /// The configuration of the run in `folder`, which an earlier [`train`](Self::train) wrote, with
    /// `overrides` as in [`RunConfig::parse`].
    ///
    /// # Errors
    /// No readable configuration, or a value that no run can have.
    pub fn read_config(folder: &Path, overrides: &[String]) -> Result<RunConfig, Error> {
        let path = folder.join("config.toml");
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        RunConfig::parse(&text, overrides)
    }

    /// Trains to the end. With `resume`, goes on where an earlier call stopped; without, a folder that
    /// already holds a run is refused.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with everything so far on disk, or what failed.
    pub fn train(&self, resume: bool) -> Result<Outcome, Error> {
        let path = self.folder.join("config.toml");
        let text = toml::to_string(&self.config).map_err(|error| Error::config(&error))?;
        if path.exists() {
            let earlier = Self::read_config(&self.folder, &[])?;
            if !resume {
                return Err(Error::RunExists(self.folder.clone()));
            }
            if earlier != self.config {
                let reason = "the configuration is not the one this run was started with";
                return Err(Error::Mismatch(reason.to_owned()));
            }
        }
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        atomic::write(&path, text.as_bytes())?;
        let Prepared { spec, model, layout } = self.prepare(resume)?;
        let mut parameters = self.parameters(&spec, &model, layout)?;
        let trainer = self.trainer(&self.config.train, "train");
        let data = self.data(&self.config.train, self.prior().as_ref(), false)?;
        let (_, outcome) = trainer.run("train", model, parameters.as_mut(), &data, resume)?;
        Ok(outcome)
    }

    /// Quantises and codes the best coordinates, after quantisation-aware training if the
    /// configuration asks for it, and writes `model.sublora`.
    ///
    /// # Errors
    /// A run that was not trained or has no subspace, or what failed.
    pub fn compress(&self, resume: bool) -> Result<Artifact, Error> {
        let Prepared { spec, model, layout } = self.prepare(true)?;
        let Some(projector) = spec.projector(&layout)? else {
            let reason =
                "only coordinates of a subspace are coded; this run has no `[sublora]` table";
            return Err(Error::Config(reason.to_owned()));
        };
        let subspace = Subspace::new(&model, layout, projector)?;
        let mut trained = InSubspace::new(subspace, &self.config.train, &self.device);
        let finished = TrainConfig { steps: 0, ..self.config.train.clone() };
        let data = self.data(&finished, self.prior().as_ref(), false)?;
        let best = self.folder.join("train/best.safetensors");
        if !best.exists() {
            return Err(Error::Unfinished { folder: self.folder.clone(), what: "trained model" });
        }
        let trainer = self.trainer(&finished, "train");
        let model = trainer.restore_best(model, &mut trained)?;
        let alpha = trained.alpha()?;
        let compress = &self.config.compress;
        let levels = NonZeroU8::new(compress.levels).unwrap_or(NonZeroU8::MIN);
        let mut payload = quantizers::quantize(compress.codebook.as_dyn(), &alpha, levels)?;
        if compress.qat_steps > 0 {
            let config = TrainConfig {
                steps: compress.qat_steps,
                learning_rate: LearningRate::constant(compress.qat_learning_rate),
                ..finished
            };
            let centroids: Vec<f32> =
                payload.codebook().centroids().iter().map(|it| it.to_f32()).collect();
            let subspace = trained.into_subspace();
            let mut parameters =
                InSubspace::through_quantiser(subspace, &alpha, &centroids, &config, &self.device);
            let model = parameters.place(model)?;
            let trainer = self.trainer(&config, "qat");
            trainer.run("quantisation-aware training", model, &mut parameters, &data, resume)?;
            let centroids: Vec<f64> =
                parameters.centroids()?.unwrap_or_default().into_iter().map(f64::from).collect();
            payload = CodedVector::nearest(&parameters.alpha()?, &centroids)?;
        }
        let artifact = Artifact { spec, payload };
        artifact.write(&self.artifact_path())?;
        Ok(artifact)
    }

    /// Certifies `model.sublora`. `other_claims` further ones share its failure probability.
    ///
    /// # Errors
    /// A run without an artifact, or what failed.
    pub fn certify(&self, other_claims: u64) -> Result<Certificate, Error> {
        let path = self.artifact_path();
        let artifact = self.artifact()?;
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
            prior: self.prior(),
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
    /// A prompt of tokens the model does not know, or as [`certify`](Self::certify).
    pub fn generate(
        &self,
        artifact: &Artifact,
        prompt: &[u32],
        count: usize,
        temperature: f64,
        seed: u64,
    ) -> Result<Vec<u32>, Error> {
        let model = self.rebuild(artifact)?;
        let mut tokens = vec![self.corpus.manifest().tokenizer.eot];
        tokens.extend(prompt);
        let key = Key::from_seed(seed).derive("generate");
        generate::generate(&model, &tokens, count, temperature, key)
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
            BaseConfig::Random => None,
            BaseConfig::Checkpoint { path } => Some(path.clone()),
            BaseConfig::PriorSplit { .. } => Some(self.folder.join("base")),
        }
    }

    /// The base, pretrained if need be, with its adapters.
    fn prepare(&self, resume: bool) -> Result<Prepared, Error> {
        let device = self.device.clone().autodiff();
        let vocab = self.corpus.manifest().tokenizer.vocab_size as usize;
        let (base, model) = match &self.config.base {
            BaseConfig::Random => (None, self.config.model.shape(vocab)?),
            BaseConfig::Checkpoint { path } => {
                let (base, shape) = gpt2_model::load(path, &device)?;
                if shape.vocab_size < vocab {
                    let reason = format!(
                        "`{}` knows {} tokens, the corpus {vocab}",
                        path.display(),
                        shape.vocab_size
                    );
                    return Err(Error::Mismatch(reason));
                }
                (Some(base), shape)
            }
            BaseConfig::PriorSplit { train, .. } => {
                let shape = self.config.model.shape(vocab)?;
                let folder = self.folder.join("base");
                if !folder.exists() {
                    self.pretrain(&shape, train, resume)?;
                }
                let (base, _) = gpt2_model::load(&folder, &device)?;
                (Some(base), shape)
            }
        };
        let identity = base.as_ref().map(BaseIdentity::of).transpose()?;
        let spec = Spec {
            model,
            seed: self.config.seed,
            base: identity.unwrap_or(BaseIdentity::Random),
            lora: self.config.lora.clone(),
            trainable: self.config.trainable.clone(),
            sublora: self.config.sublora.clone(),
        };
        let base = match base {
            Some(base) => base,
            None => spec.random_base(&device)?,
        };
        let (model, layout) = spec.assemble(base)?;
        Ok(Prepared { spec, model, layout })
    }

    /// Trains all weights on the prior part and writes `base/`.
    fn pretrain(
        &self,
        shape: &Gpt2Config,
        config: &TrainConfig,
        resume: bool,
    ) -> Result<(), Error> {
        let spec = Spec {
            model: shape.clone(),
            seed: self.config.seed,
            base: BaseIdentity::Random,
            lora: None,
            trainable: vec!["*".to_owned()],
            sublora: None,
        };
        let random = spec.random_base(&self.device.clone().autodiff())?;
        let (model, layout) = spec.assemble(random)?;
        let mut parameters = Direct::new(layout, config);
        let data = self.data(config, self.prior().as_ref(), true)?;
        let trainer = self.trainer(config, "pretrain");
        let (model, _) = trainer.run("pretrain the base", model, &mut parameters, &data, resume)?;
        let plain: PlainGpt2 = model.valid().map_layers(|_, layer| layer.base, |_, norm| norm);
        gpt2_model::save(&plain, shape, &self.folder.join("base"))?;
        Ok(())
    }

    fn parameters(
        &self,
        spec: &Spec,
        model: &LoraGpt2,
        layout: Layout,
    ) -> Result<Box<dyn Parameters>, Error> {
        Ok(match spec.projector(&layout)? {
            Some(projector) => {
                let subspace = Subspace::new(model, layout, projector)?;
                Box::new(InSubspace::new(subspace, &self.config.train, &self.device))
            }
            None => Box::new(Direct::new(layout, &self.config.train)),
        })
    }

    fn trainer<'b>(&'b self, config: &'b TrainConfig, folder: &str) -> Trainer<'b> {
        let folder = self.folder.join(folder);
        Trainer { config, folder, now: self.now, progress: self.progress }
    }

    /// Windows of the prior part, or of what is certified; held-out ones of the validation split.
    fn data(
        &self,
        config: &TrainConfig,
        prior: Option<&Partition>,
        pretraining: bool,
    ) -> Result<Data<'a>, Error> {
        let length = config.seq + 1;
        let seed = self.config.seed;
        let file = self.corpus.split(Split::Train);
        let train = match prior {
            None => WindowSampler::new(file, length, seed)?,
            Some(partition) => {
                let parts = partition.documents(file.documents())?;
                let documents = if pretraining { parts.prior } else { parts.certified };
                WindowSampler::over(file, &documents, length, seed)?
            }
        };
        let val = self.corpus.split(Split::Val);
        let held_out = if val.len() >= length as u64 {
            Some(WindowSampler::new(val, length, seed.wrapping_add(1))?)
        } else {
            None
        };
        Ok(Data { train, held_out })
    }
}

#[cfg(test)]
mod tests;
