//! The study itself: seed by seed, from pretraining to the last measurement.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use corpus::{Corpus, Sha256Hash, Tokenizer};
use counter_rng::Key;

use super::config::UnlearningConfig;
use super::exam::{Exam, checkpoint_windows};
use super::facts::Facts;
use super::record::{Head, SeedRecord};
use super::seed::Seed;
use crate::atomic::{self, FileError};
use crate::config::{BaseConfig, CertifyConfig, RunConfig, TrainConfig, first_difference};
use crate::run::Part;
use crate::train::Data;
use crate::{Error, Progress, Run};

const CONFIG: &str = "unlearning.toml";

/// A study in its folder.
pub struct UnlearningStudy<'a> {
    /// Everything it writes goes here.
    pub folder: PathBuf,
    /// What it does.
    pub config: UnlearningConfig,
    /// The text.
    pub corpus: &'a Corpus,
    /// That of the corpus.
    pub tokenizer: &'a dyn Tokenizer,
    /// Where it computes, without autodiff.
    pub device: Device,
    /// Its name, for the record.
    pub device_name: String,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl<'a> UnlearningStudy<'a> {
    /// Does what is not done yet, and returns what all seeds measured. Goes on where an earlier call
    /// stopped; a folder with another configuration, but for its seeds, is refused.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with everything so far on disk, or what failed.
    pub fn run(&self) -> Result<Vec<SeedRecord>, Error> {
        self.rehearse()?;
        self.open()?;
        self.config.seeds.iter().map(|&seed| self.seed(seed)).collect()
    }

    /// The configuration of the study in `folder`, and the records of its seeds that are over.
    ///
    /// # Errors
    /// No study there, or files that are not as they were written.
    pub(super) fn read(folder: &Path) -> Result<(UnlearningConfig, Vec<SeedRecord>), Error> {
        let path = folder.join(CONFIG);
        if !path.exists() {
            return Err(Error::Unfinished { folder: folder.to_owned(), what: "unlearning study" });
        }
        let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
        let config = UnlearningConfig::parse(&text, &[])?;
        let records = config.seeds.iter().map(|&seed| SeedRecord::find(&seed_folder(folder, seed)));
        let records: Vec<_> = records.collect::<Result<_, _>>()?;
        Ok((config, records.into_iter().flatten().collect()))
    }

    /// The hash of what every seed does.
    pub(super) fn settings(&self) -> Result<Sha256Hash, Error> {
        let config = UnlearningConfig { seeds: Vec::new(), ..self.recorded_config()? };
        let text = toml::to_string(&config).map_err(|error| Error::config(&error))?;
        Ok(Sha256Hash::of(&[text.as_bytes()]))
    }

    /// Finds what is wrong with the configuration before anything is written.
    fn rehearse(&self) -> Result<(), Error> {
        self.config.rehearse_masks()?;
        let vocab = self.corpus.manifest().tokenizer.vocab_size;
        for &seed in &self.config.seeds {
            let run = self.base_run(seed, &self.folder);
            let shape = run.uncertified_shape()?;
            run.config.validate_for(&shape, vocab)?;
            if let BaseConfig::PriorSplit { train, .. } = &run.config.base {
                run.data(train, Part::Prior)?;
            }
            for (_, teaching) in self.config.trainings() {
                teaching.train.validate_for(&shape)?;
                self.data(&run, &teaching.train, seed)?;
            }
            let facts = self.facts(seed, shape.n_positions)?;
            let tokens = self.config.retain_tokens;
            Exam::new(&facts, self.corpus, tokens, shape.n_positions, seed)?;
        }
        if let BaseConfig::PriorSplit { train, .. } = &self.config.base
            && train.eval_every < train.steps
        {
            let expected = "at least `base.train.steps`: text of the exam must not choose the base";
            return Err(Error::value("base.train.eval_every", &train.eval_every, expected));
        }
        Ok(())
    }

    /// What a training of a seed reads: text that $M_0$ has not seen. None of what chooses a step is in the exam.
    pub(super) fn data(
        &self,
        run: &Run<'a>,
        config: &TrainConfig,
        seed: u64,
    ) -> Result<Data<'a>, Error> {
        let data = run.data(config, Part::Certified)?;
        let windows = checkpoint_windows(self.corpus, config.seq + 1, seed)?;
        Ok(Data { held_out: Some(windows), ..data })
    }

    fn facts(&self, seed: u64, context: usize) -> Result<Facts, Error> {
        let key = Key::from_seed(seed).derive("facts");
        Facts::new(self.config.facts, self.tokenizer, context, key)
    }

    /// Makes the folder that of this study, or of more or other seeds of the same.
    fn open(&self) -> Result<(), Error> {
        let path = self.folder.join(CONFIG);
        let config = self.recorded_config()?;
        let table = |config| toml::Value::try_from(config).map_err(|error| Error::config(&error));
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
            let seeds = config.seeds.clone(); // they do not know of each other
            let theirs = UnlearningConfig { seeds, ..UnlearningConfig::parse(&text, &[])? };
            if let Some(difference) = first_difference(&table(&config)?, &table(&theirs)?) {
                return Err(Error::OtherConfig { folder: self.folder.clone(), difference });
            }
        }
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        let text = toml::to_string(&config).map_err(|error| Error::config(&error))?;
        Ok(atomic::write(&path, text.as_bytes())?)
    }

    /// The configuration as it stands in the folder, where it is read from anywhere.
    fn recorded_config(&self) -> Result<UnlearningConfig, Error> {
        let mut config = self.config.clone();
        if let BaseConfig::Checkpoint { path } = &mut config.base {
            *path = std::path::absolute(&*path).map_err(FileError::at("find", path))?;
        }
        Ok(config)
    }

    fn seed(&self, seed: u64) -> Result<SeedRecord, Error> {
        let folder = seed_folder(&self.folder, seed);
        let run = self.base_run(seed, &folder);
        let found = SeedRecord::find(&folder)?;
        if let Some(record) = &found {
            let (corpus, settings) = (self.corpus.sha256(), self.settings()?);
            let Head { seed: of, corpus: text, settings: how, .. } = record.head;
            let theirs = (of, text, how);
            if theirs != (seed, corpus, settings) {
                return Err(other(&folder, "seed, corpus or settings"));
            }
        }
        if let BaseConfig::PriorSplit { .. } = self.config.base {
            run.pretrain_base(true)?;
        }
        let (base, shape, identity) = run.uncertified_base()?;
        if let Some(record) = found {
            let is_same = record.head.base == identity.sha256();
            return if is_same { Ok(record) } else { Err(other(&folder, "base")) };
        }
        let facts = self.facts(seed, shape.n_positions)?;
        let seed = Seed { study: self, number: seed, folder, run, facts, identity };
        let record = seed.measured(&base)?;
        record.write(&seed.folder)?;
        Ok(record)
    }

    /// The run that pretrains $M_0$.
    fn base_run(&self, seed: u64, folder: &Path) -> Run<'a> {
        let config = RunConfig {
            seed,
            model: self.config.model.clone(),
            base: self.config.base.clone(),
            train: self.config.memorize.train.clone(),
            certify: CertifyConfig { top_k: Vec::new(), ..CertifyConfig::default() },
            ..RunConfig::default()
        };
        Run {
            folder: folder.join("base"),
            config: Run::base_config(&config).unwrap_or(config),
            corpus: self.corpus,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            now: self.now,
            progress: self.progress,
        }
    }
}

/// A seed that was measured in other circumstances.
fn other(folder: &Path, what: &str) -> Error {
    let folder = folder.display();
    Error::Mismatch(format!("`{folder}` was measured with another {what}"))
}

fn seed_folder(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("seed-{seed}"))
}
