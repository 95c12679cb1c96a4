//! One run and its folder: base, calibration, training, evaluation.
//!
//! | path | what |
//! |---|---|
//! | `qat.toml` | the configuration, defaults written out |
//! | `provenance.json` | the corpus it was started on |
//! | `pretrain/` | with a prior split: the run that pretrains the base, which lies in `pretrain/base/` |
//! | `calibration.safetensors` | scales and zero points of every quantiser, and the hash of the base they are of |
//! | `train/` | checkpoints and metrics |
//! | `evaluation.json` | what was found ([`QatRecord`]) |

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use corpus::Corpus;
use counter_rng::Key;
use gpt2_model::{Gpt2Config, Parameter, TokenScores};
use quantizers::BitWidth;
use serde::Serialize;

use super::config::QatConfig;
use super::distillation::Visit;
use super::method::Plan;
use super::model::{Job, QatModel};
use super::record::{QatRecord, TrainingRecord, WidthRecord};
use super::{calibration_file, cost};
use crate::atomic::FileError;
use crate::config::{BaseConfig, RunConfig, first_difference};
use crate::evaluate::{EvaluateConfig, ScoredText};
use crate::run::{Part, Provenance};
use crate::scoring::mean_nats;
use crate::spec::BaseIdentity;
use crate::train::{Batch, Data, Trainer};
use crate::{Error, Progress, Run, atomic};

/// What makes a folder a run.
const CONFIG: &str = "qat.toml";

/// A run in its folder.
pub struct QatRun<'a> {
    /// Everything it writes goes here.
    pub folder: PathBuf,
    /// Where its base is pretrained, which several runs may share; none for `pretrain/` in its folder.
    pub pretraining: Option<PathBuf>,
    /// What it does.
    pub config: QatConfig,
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

/// Ready to be trained.
struct Prepared {
    model: Box<dyn QatModel>,
    shape: Gpt2Config,
    spec: Spec,
}

/// Makes the jobs of probes.
pub(super) struct Prober<'a> {
    run: &'a QatRun<'a>,
    spec: &'a Spec,
}

impl Prober<'_> {
    /// Of steps by `plan`.
    ///
    /// # Errors
    /// A configuration that cannot be written.
    pub(super) fn job<'b>(&'b self, plan: &'b dyn Plan) -> Result<Job<'b>, Error> {
        self.run.job(self.spec, plan)
    }
}

/// What a checkpoint is of.
#[derive(Serialize)]
struct Spec {
    corpus: corpus::Sha256Hash,
    base: BaseIdentity,
    run: QatConfig,
}

impl<'a> QatRun<'a> {
    /// Whether `folder` holds a run of this kind.
    pub fn stands_in(folder: &Path) -> bool {
        folder.join(CONFIG).exists()
    }

    /// The configuration of the run in `folder`, with `overrides` as in [`QatConfig::parse`].
    ///
    /// # Errors
    /// No readable configuration, or a value that no run can have.
    pub fn read_config(folder: &Path, overrides: &[String]) -> Result<QatConfig, Error> {
        let path = folder.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        QatConfig::parse(&text, overrides)
    }

    /// Pretrains, calibrates, trains and evaluates. With `resume`, goes on where an earlier call stopped;
    /// without, a folder that already holds a run is refused.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with everything so far on disk, or what failed.
    pub fn run(&self, resume: bool) -> Result<QatRecord, Error> {
        let resume = self.opened(resume)?;
        self.config.train.validate_for(&self.base_run().uncertified_shape()?)?;
        let data = self.data()?;
        if !resume {
            self.forget_calibration()?;
        }
        self.record()?;
        self.pretrain()?;
        let mut prepared = self.prepare()?;
        let plan = self.config.method.as_dyn().plan(&self.config)?;
        if let Some(plan) = &plan {
            let model = prepared.model.as_mut();
            model.calibrate_gradients(plan.gradients(), &self.first_batches(&data))?;
            let job = self.job(&prepared.spec, plan.as_ref())?;
            prepared.model.train(&job, &data, resume)?;
        }
        let record = self.evaluated(&prepared, plan.as_deref())?;
        record.write(&self.folder)?;
        Ok(record)
    }

    /// Evaluates a run that is over at `widths`, as configured.
    ///
    /// # Errors
    /// A run that is not over, a width it was not calibrated for, or what failed.
    pub fn evaluate(&self, widths: &[BitWidth]) -> Result<Vec<WidthRecord>, Error> {
        self.provenance().check(&self.folder)?;
        let record = QatRecord::read(&self.folder)?;
        let mut prepared = self.prepare()?;
        if record.training.is_some() {
            let plan = self.config.method.as_dyn().plan(&self.config)?;
            if let Some(plan) = &plan {
                let job = self.job(&prepared.spec, plan.as_ref())?;
                prepared.model.restore(&job)?;
            }
        }
        self.widths(&prepared, widths)
    }

    /// Calibrates the base and evaluates it at `widths`, untrained; leaves a calibration and no run.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_base(&self, widths: &[BitWidth]) -> Result<Vec<WidthRecord>, Error> {
        self.pretrain()?;
        self.widths(&self.prepare()?, widths)
    }

    /// Shows `probe` a model that is ready to be trained with gradients of a width, and its windows.
    pub(super) fn probed<T>(
        &self,
        gradients: BitWidth,
        probe: impl FnOnce(&mut dyn QatModel, &Prober<'_>, &Data<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.opened(true)?;
        self.pretrain()?;
        let mut prepared = self.prepare()?;
        let data = self.data()?;
        let batches = self.first_batches(&data);
        prepared.model.calibrate_gradients(gradients, &batches)?;
        let prober = Prober { run: self, spec: &prepared.spec };
        probe(prepared.model.as_mut(), &prober, &data)
    }

    fn opened(&self, resume: bool) -> Result<bool, Error> {
        if !Self::stands_in(&self.folder) {
            return Ok(false);
        }
        if !resume {
            return Err(Error::RunExists(self.folder.clone()));
        }
        let (ours, theirs) = (self.recorded_config()?, Self::read_config(&self.folder, &[])?);
        let table = |config| toml::Value::try_from(config).map_err(|error| Error::config(&error));
        if let Some(difference) = first_difference(&table(&ours)?, &table(&theirs)?) {
            return Err(Error::OtherConfig { folder: self.folder.clone(), difference });
        }
        self.provenance().check(&self.folder)?;
        Ok(true)
    }

    /// The configuration as it stands in the folder, where it is read from anywhere.
    fn recorded_config(&self) -> Result<QatConfig, Error> {
        let mut config = self.config.clone();
        if let BaseConfig::Checkpoint { path } = &mut config.base {
            *path = std::path::absolute(&*path).map_err(FileError::at("find", path))?;
        }
        Ok(config)
    }

    fn record(&self) -> Result<(), Error> {
        let text =
            toml::to_string(&self.recorded_config()?).map_err(|error| Error::config(&error))?;
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        self.provenance().write(&self.folder)?;
        Ok(atomic::write(&self.folder.join(CONFIG), text.as_bytes())?)
    }

    fn provenance(&self) -> Provenance {
        Provenance::new(self.corpus, self.base_run().prior())
    }

    /// The run that pretrains the base.
    fn base_run(&self) -> Run<'a> {
        let config = RunConfig {
            seed: self.config.seed,
            model: self.config.model.clone(),
            base: self.config.base.clone(),
            train: self.config.train.clone(),
            ..RunConfig::default()
        };
        Run {
            folder: self.pretraining.clone().unwrap_or_else(|| self.folder.join("pretrain")),
            config: Run::base_config(&config).unwrap_or(config),
            corpus: self.corpus,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            now: self.now,
            progress: self.progress,
        }
    }

    /// Pretrains the base, if it is to be and has not been.
    fn pretrain(&self) -> Result<(), Error> {
        match self.config.base {
            BaseConfig::PriorSplit { .. } => self.base_run().pretrain_base(true),
            _ => Ok(()),
        }
    }

    /// Removes a calibration that a range test left in the folder before there was a run.
    fn forget_calibration(&self) -> Result<(), Error> {
        let path = self.folder.join(calibration_file::NAME);
        if path.exists() {
            std::fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        }
        Ok(())
    }

    /// The base with what the method adds, calibrated.
    fn prepare(&self) -> Result<Prepared, Error> {
        let (base, shape, identity) = self.base_run().uncertified_base()?;
        self.config.train.validate_for(&shape)?;
        let key = Key::from_seed(self.config.seed).derive("adapters");
        let mut model = self.config.method.as_dyn().build(base, &self.config, key)?;
        let run = QatConfig { evaluate: EvaluateConfig::default(), ..self.recorded_config()? };
        let spec = Spec { corpus: self.corpus.sha256(), base: identity, run };
        let path = self.folder.join(calibration_file::NAME);
        let origin = calibration_file::Origin {
            base: spec.base.clone(),
            seed: self.config.seed,
            corpus: spec.corpus,
            windows: [self.config.train.batch, self.config.train.seq],
            calibration: self.config.calibration.clone(),
        };
        // Without a run the file may be of another configuration.
        if Self::stands_in(&self.folder) && path.exists() {
            model.restore_calibration(&self.config, &calibration_file::read(&path, &origin)?)?;
        } else {
            let batches = self.first_batches(&self.data()?);
            let tokens: Vec<_> = batches.into_iter().map(|it| it.tokens.inner()).collect();
            model.calibrate(&self.config, &tokens)?;
            std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
            calibration_file::write(&path, &origin, &model.calibration())?;
        }
        Ok(Prepared { model, shape, spec })
    }

    /// Windows to train on and held-out ones.
    fn data(&self) -> Result<Data<'a>, Error> {
        self.base_run().data(&self.config.train, Part::Certified)
    }

    /// Those that calibrate.
    fn first_batches(&self, data: &Data<'_>) -> Vec<Batch> {
        let device = self.device.clone().autodiff();
        let rows = self.config.train.batch;
        let batch = |step| Batch::first_of(&data.train, step, rows, &device);
        (0..self.config.calibration.batches).map(batch).collect()
    }

    fn job<'b>(&'b self, spec: &Spec, plan: &'b dyn Plan) -> Result<Job<'b>, Error> {
        let trainer = Trainer {
            config: &self.config.train,
            spec: toml::to_string(spec).map_err(|error| Error::config(&error))?,
            folder: self.folder.join("train"),
            now: self.now,
            progress: self.progress,
        };
        Ok(Job { trainer, config: &self.config, plan })
    }

    fn evaluated(&self, prepared: &Prepared, plan: Option<&dyn Plan>) -> Result<QatRecord, Error> {
        let mut widths = self.config.widths.clone();
        widths.push(BitWidth::FULL);
        let training = plan.map(|plan| self.training(prepared, plan)).transpose()?;
        Ok(QatRecord {
            version: QatRecord::VERSION,
            method: self.config.method.name().to_owned(),
            seed: self.config.seed,
            corpus: self.corpus.sha256(),
            base: prepared.spec.base.sha256(),
            training,
            widths: self.widths(prepared, &widths)?,
        })
    }

    fn training(&self, prepared: &Prepared, plan: &dyn Plan) -> Result<TrainingRecord, Error> {
        let train = &self.config.train;
        let mut passes = std::collections::BTreeMap::new();
        for visit in (0..train.steps).flat_map(|step| plan.visits(step)).filter(Visit::learns) {
            *passes.entry(visit.bits.get()).or_default() += 1;
        }
        let trained = prepared.model.trained();
        Ok(TrainingRecord {
            steps: train.steps,
            tokens_per_step: (train.batch * train.seq) as u64 * train.accumulation,
            passes,
            parameters: trained.iter().map(Parameter::elements).sum(),
            bit_ops: cost::training(&self.config, &prepared.shape, plan)?,
        })
    }

    fn widths(&self, prepared: &Prepared, widths: &[BitWidth]) -> Result<Vec<WidthRecord>, Error> {
        let evaluate = &self.config.evaluate;
        let texts = evaluate.texts(self.corpus, &prepared.shape, self.now, self.progress)?;
        let mut records = Vec::new();
        for text in &texts {
            for &bits in widths {
                let began = (self.now)();
                let scores = prepared.model.score(&self.config, bits, text)?;
                let seconds = Some((self.now)() - began);
                let ScoredText { context, stride, documents, .. } = *text;
                let record = self.width(prepared, bits, &scores)?;
                records.push(WidthRecord { context, stride, documents, seconds, ..record });
            }
        }
        Ok(records)
    }

    fn width(
        &self,
        prepared: &Prepared,
        bits: BitWidth,
        scores: &TokenScores,
    ) -> Result<WidthRecord, Error> {
        let tokens = scores.ln_p.len() as u64;
        let nats = mean_nats(scores);
        let context = prepared.shape.n_positions;
        let bit_ops = cost::forward(&self.config, &prepared.shape, context, bits)?;
        let (held, weights) = prepared.model.storage(bits)?;
        Ok(WidthRecord {
            bits,
            input_bits: self.config.inputs_at(bits),
            context: 0,
            stride: 0,
            documents: 0,
            tokens,
            nats_per_token: nats,
            perplexity: nats.exp(),
            bits_per_weight: held as f64 / weights as f64,
            bit_ops_per_token: bit_ops as f64 / context as f64,
            own_parameters: prepared.model.own_parameters(&self.config, bits),
            seconds: None,
        })
    }
}
