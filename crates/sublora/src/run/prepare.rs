//! What a run starts from: shape, base, adapters, projector, windows.

use std::convert::Infallible;

use adapters::LoraGpt2;
use burn::module::Module;
use corpus::{Split, WindowSampler};
use gpt2_model::{Gpt2Config, PlainGpt2};
use subspace_projectors::Layout;

use super::Run;
use super::provenance::Provenance;
use crate::Error;
use crate::config::{BaseConfig, TrainConfig};
use crate::spec::{BaseIdentity, Spec};
use crate::subspace::Subspace;
use crate::train::{CrossEntropy, Data, Direct, InSubspace, Parameters, Trainer};
use crate::vocabulary::check_vocabulary;

/// A model ready to be trained.
pub(super) struct Prepared {
    pub(super) spec: Spec,
    pub(super) model: LoraGpt2,
    pub(super) layout: Layout,
}

/// Documents to train on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    /// Those set aside for the base.
    Prior,
    /// The others.
    Certified,
}

impl<'a> Run<'a> {
    /// The shape of the model, to which the whole configuration fits.
    pub(crate) fn shape(&self) -> Result<Gpt2Config, Error> {
        let vocab = self.corpus.manifest().tokenizer.vocab_size;
        let shape = match &self.config.base {
            BaseConfig::Random {} | BaseConfig::PriorSplit { .. } => {
                self.config.model.shape(vocab as usize)?
            }
            BaseConfig::Checkpoint { path } => {
                self.provenance().check_unseen(path)?;
                gpt2_model::read_config(path)?
            }
        };
        if let BaseConfig::Checkpoint { path } = &self.config.base {
            check_vocabulary(path, &shape, self.corpus)?;
        }
        self.config.validate_for(&shape, vocab)?;
        Ok(shape)
    }

    /// Everything that training needs but the weights of the base, so that nothing is found wrong
    /// after `pretraining` them.
    pub(super) fn rehearse(&self, pretraining: &TrainConfig) -> Result<(), Error> {
        let spec = self.spec(self.shape()?, BaseIdentity::Random);
        self.data(pretraining, Part::Prior)?;
        self.data(&self.config.train, Part::Certified)?;
        let (_, layout) = spec.assemble(PlainGpt2::zeros(&spec.model, &self.device)?)?;
        spec.allocated(&layout)?;
        Ok(())
    }

    /// The base with its adapters.
    pub(super) fn prepare(&self) -> Result<Prepared, Error> {
        let (base, shape, identity) = self.base()?;
        let spec = self.spec(shape, identity);
        let (model, layout) = spec.assemble(base)?;
        Ok(Prepared { spec, model, layout })
    }

    /// The weights that this run starts from, on a device with gradients, their shape and what they are.
    pub(crate) fn base(&self) -> Result<(PlainGpt2, Gpt2Config, BaseIdentity), Error> {
        let device = self.device.clone().autodiff();
        let shape = self.shape()?;
        let Some(path) = self.base_path() else {
            let spec = self.spec(shape.clone(), BaseIdentity::Random);
            return Ok((spec.random_base(&device)?, shape, BaseIdentity::Random));
        };
        if self.prior().is_some() {
            self.provenance().check(&path)?;
        }
        let (base, _) = gpt2_model::load(&path, &device)?;
        let identity = BaseIdentity::of(&base, self.prior())?;
        Ok((base, shape, identity))
    }

    /// As [`shape`](Self::shape), where nothing is certified: a checkpoint may have seen the text.
    pub(crate) fn uncertified_shape(&self) -> Result<Gpt2Config, Error> {
        let vocab = self.corpus.manifest().tokenizer.vocab_size as usize;
        let BaseConfig::Checkpoint { path } = &self.config.base else {
            return Ok(self.config.model.shape(vocab)?);
        };
        let shape = gpt2_model::read_config(path)?;
        check_vocabulary(path, &shape, self.corpus)?;
        Ok(shape)
    }

    /// As [`base`](Self::base), where nothing is certified.
    pub(crate) fn uncertified_base(&self) -> Result<(PlainGpt2, Gpt2Config, BaseIdentity), Error> {
        let BaseConfig::Checkpoint { path } = &self.config.base else { return self.base() };
        let shape = self.uncertified_shape()?;
        let (base, _) = gpt2_model::load(path, &self.device.clone().autodiff())?;
        let identity = BaseIdentity::of(&base, None)?;
        Ok((base, shape, identity))
    }

    /// What this run is started on.
    pub(super) fn provenance(&self) -> Provenance {
        Provenance::new(self.corpus, self.prior())
    }

    /// Errs unless the coordinates can be spent on the model as configured, as far as that can be told
    /// without weights.
    pub(crate) fn check_allocation(&self) -> Result<(), Error> {
        self.spec(self.shape()?, BaseIdentity::Random).check_allocation()
    }

    pub(super) fn spec(&self, model: Gpt2Config, base: BaseIdentity) -> Spec {
        Spec {
            model,
            seed: self.config.seed,
            corpus: self.corpus.sha256(),
            base,
            lora: self.config.lora.clone(),
            trainable: self.config.trainable.clone(),
            sublora: self.config.sublora.clone(),
        }
    }

    /// Trains all weights on the prior part and writes `base/`.
    pub(super) fn pretrain(&self, config: &TrainConfig, resume: bool) -> Result<(), Error> {
        let spec = Spec {
            lora: None,
            trainable: vec!["*".to_owned()],
            sublora: None,
            ..self.spec(self.shape()?, BaseIdentity::Random)
        };
        let random = spec.random_base(&self.device.clone().autodiff())?;
        let (model, layout) = spec.assemble(random)?;
        let mut parameters = Direct::new(layout, config);
        let data = self.data(config, Part::Prior)?;
        let trainer = self.trainer(&spec, config, "pretrain")?;
        let task = "pretrain the base";
        let (model, _) = trainer.run(task, model, &CrossEntropy, &mut parameters, &data, resume)?;
        let Ok(plain) = model
            .valid()
            .map_layers(|_, layer| Ok::<_, Infallible>(layer.base), |_, norm| Ok(norm));
        gpt2_model::save(&plain, &spec.model, &self.base_folder())?;
        Ok(())
    }

    pub(super) fn parameters(
        &self,
        spec: &Spec,
        model: &LoraGpt2,
        layout: Layout,
    ) -> Result<Box<dyn Parameters>, Error> {
        Ok(match spec.allocated(&layout)? {
            Some(allocated) => {
                let subspace = Subspace::new(model, layout, allocated)?;
                Box::new(InSubspace::new(subspace, &self.config.train, &self.device))
            }
            None => Box::new(Direct::new(layout, &self.config.train)),
        })
    }

    pub(super) fn trainer<'b>(
        &'b self,
        spec: &Spec,
        config: &'b TrainConfig,
        folder: &str,
    ) -> Result<Trainer<'b>, Error> {
        let (spec, folder) = (spec.to_toml()?, self.folder.join(folder));
        Ok(Trainer { config, spec, folder, now: self.now, progress: self.progress })
    }

    /// Windows of a part of the training documents, and held-out ones.
    pub(crate) fn data(&self, config: &TrainConfig, part: Part) -> Result<Data<'a>, Error> {
        let (length, seed) = (config.seq + 1, self.config.seed);
        let file = self.corpus.split(Split::Train);
        let train = match self.prior() {
            None => WindowSampler::new(file, length, seed)?,
            Some(partition) => {
                let parts = partition.documents(file.documents())?;
                let documents = match part {
                    Part::Prior => parts.prior,
                    Part::Certified => parts.certified,
                };
                WindowSampler::over(file, &documents, length, seed)?
            }
        };
        Ok(Data { train, held_out: self.held_out_windows(config)? })
    }

    /// Windows of the validation split, if it is long enough for one.
    pub(super) fn held_out_windows(
        &self,
        config: &TrainConfig,
    ) -> Result<Option<WindowSampler<'a>>, Error> {
        let (length, seed) = (config.seq + 1, self.config.seed.wrapping_add(1));
        let val = self.corpus.split(Split::Val);
        let enough = val.len() >= length as u64;
        Ok(if enough { Some(WindowSampler::new(val, length, seed)?) } else { None })
    }
}
