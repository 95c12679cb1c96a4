//! Many runs that are compared: every mode at every budget, once a seed, in one folder.
//!
//! | path | what |
//! |---|---|
//! | `sweep.toml`, `provenance.json` | the configuration, and the corpus it was started on |
//! | `bases/sSEED/` | with a prior split: a run that pretrains the base which all runs of a seed share |
//! | `runs/MODE-dBUDGET-sSEED/` | a [`Run`], with a copy of its base |
//! | `failed.txt`, `seconds.json` | in these folders: why a task failed, and what it took |
//! | `runs.csv`, `sweep.json` | what came of it, a row a run and everything |
//!
//! A *task* is a base or a run. One that is finished is never done again, one that was interrupted goes
//! on, one that failed is tried again by the next call and stops no other. Every certificate pays for
//! the choice among all runs, so the best may be quoted.

mod config;
mod memory;
mod queue;
mod record;
mod slurm;
mod summary;
mod table;
mod task;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use corpus::Corpus;

pub use config::{SweepConfig, SweepMode, SweepRun};
pub use queue::SweepLimits;
pub use record::{BaseRecord, HeldOutLoss, RunRecord, RunStatus, SweepRecord};
pub use summary::{Best, BoundSpread, Choice, Group, Spread};
pub use task::{SweepTask, TaskEnd};

use crate::atomic::{self, FileError};
use crate::{Error, Progress, Run};
use config::within;
use queue::{Demand, work_off};

/// What makes a folder a sweep.
const CONFIG: &str = "sweep.toml";

/// Listens to a sweep. `()` does not.
pub trait SweepProgress: Sync {
    /// `done` of `total` tasks are over.
    fn tasks(&self, done: usize, total: usize);

    /// The task `name` begins; who listens to it. Several may be under way.
    fn begin<'a>(&'a self, name: &str) -> Box<dyn Progress + 'a>;
}

impl SweepProgress for () {
    fn tasks(&self, _done: usize, _total: usize) {}

    fn begin<'a>(&'a self, _name: &str) -> Box<dyn Progress + 'a> {
        Box::new(())
    }
}

/// A sweep in its folder.
pub struct Sweep<'a> {
    /// Everything it writes goes here.
    pub folder: PathBuf,
    /// What it runs.
    pub config: SweepConfig,
    /// The text of all runs.
    pub corpus: &'a Corpus,
    /// Where all runs compute, without autodiff.
    pub device: Device,
    /// Its name, for the records.
    pub device_name: String,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn SweepProgress,
    /// What `failed.txt` says of an error: the error, and what to do about it.
    pub explain: &'a (dyn Fn(&Error) -> String + Sync),
}

impl Sweep<'_> {
    /// Does every task that is not finished, and collects what came of all.
    ///
    /// # Errors
    /// A configuration or a corpus that is not the one the folder was started with, or that no run can
    /// have; [`Error::Interrupted`], with everything so far on disk; what the file system says. That
    /// runs failed is no error, but in the record.
    pub fn run(&self, limits: SweepLimits) -> Result<SweepRecord, Error> {
        let tasks = self.tasks()?;
        if limits.jobs.get() > 1 {
            check_side_by_side(&tasks)?;
        }
        self.open(&tasks)?;
        let demands = self.demands(&tasks)?;
        let over = AtomicUsize::new(0);
        self.progress.tasks(0, tasks.len());
        work_off(&demands, limits, |place| -> Result<(), Error> {
            self.perform(&tasks[place])?;
            self.progress.tasks(over.fetch_add(1, Ordering::Relaxed) + 1, tasks.len());
            Ok(())
        })?;
        self.collect()
    }

    /// Does one task, by its place in [`tasks`](Self::tasks), unless it is finished: what a job array of
    /// a cluster calls.
    ///
    /// # Errors
    /// A place where no task is, or as [`run`](Self::run).
    pub fn run_task(&self, place: usize) -> Result<TaskEnd, Error> {
        let tasks = self.tasks()?;
        let expected = || format!("below the {} tasks of the sweep", tasks.len());
        let task = tasks.get(place).ok_or_else(|| Error::value("task", &place, &expected()))?;
        self.open(&tasks)?;
        self.perform(task)
    }

    /// Every task: the bases, if any are pretrained, then the runs.
    ///
    /// # Errors
    /// As [`SweepConfig::runs`].
    pub fn tasks(&self) -> Result<Vec<SweepTask>, Error> {
        let bases = self.config.bases()?.into_iter();
        let bases = bases.map(|(seed, config)| SweepTask::Base { seed, config });
        Ok(bases.chain(self.config.runs()?.into_iter().map(SweepTask::Run)).collect())
    }

    /// Estimated peak memory of the largest task, in bytes, and its name.
    ///
    /// # Errors
    /// As [`tasks`](Self::tasks).
    pub fn largest_task(&self) -> Result<(String, u64), Error> {
        let tasks = self.tasks()?;
        let demands = self.demands(&tasks)?;
        let largest = tasks.iter().zip(demands).max_by_key(|(_, demand)| demand.bytes);
        Ok(largest.map_or_else(Default::default, |(task, demand)| (task.name(), demand.bytes)))
    }

    /// Makes the folder a sweep, after everything that can be checked before the first task, or checks
    /// that it is this one. Budgets are checked for a new folder only: what an older one holds can still
    /// be collected.
    fn open(&self, tasks: &[SweepTask]) -> Result<(), Error> {
        for task in tasks {
            self.as_run(task, &()).shape()?;
        }
        let config = self.recorded_config()?;
        let path = self.folder.join(CONFIG);
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
            if let Some(difference) = config.first_difference(&SweepConfig::parse(&text, &[])?)? {
                return Err(Error::OtherConfig { folder: self.folder.clone(), difference });
            }
            return self.provenance().check(&self.folder);
        }
        if self.folder.join("config.toml").exists() {
            return Err(Error::RunExists(self.folder.clone())); // of `train`
        }
        for task in tasks {
            if let SweepTask::Run(run) = task {
                let fits = self.as_run(task, &()).check_allocation();
                fits.map_err(|error| within(&format!("mode `{}`", run.mode), error))?;
            }
        }
        std::fs::create_dir_all(&self.folder).map_err(FileError::at("create", &self.folder))?;
        self.provenance().write(&self.folder)?;
        let text = toml::to_string(&config).map_err(|error| Error::config(&error))?;
        Ok(atomic::write(&path, text.as_bytes())?)
    }

    /// The configuration as it stands in the folder, where it is read from anywhere.
    fn recorded_config(&self) -> Result<SweepConfig, Error> {
        let mut config = self.config.clone();
        let path = config.run.get_mut("base").and_then(|base| base.get_mut("path"));
        if let Some(toml::Value::String(path)) = path {
            let absolute = std::path::absolute(&*path);
            let absolute = absolute.map_err(FileError::at("find", path.as_ref()))?;
            *path = absolute.to_string_lossy().into_owned();
        }
        Ok(config)
    }

    /// What the queue has to know: a run comes after its base.
    fn demands(&self, tasks: &[SweepTask]) -> Result<Vec<Demand>, Error> {
        let base_of = |seed: u64| {
            let is_base =
                |task: &SweepTask| matches!(task, SweepTask::Base { seed: it, .. } if *it == seed);
            tasks.iter().position(is_base)
        };
        let demand = |task: &SweepTask| -> Result<Demand, Error> {
            let shape = self.as_run(task, &()).shape()?;
            let after = match task {
                SweepTask::Base { .. } => None,
                SweepTask::Run(run) => base_of(run.seed),
            };
            Ok(Demand { bytes: memory::estimate(task.config(), &shape), after })
        };
        tasks.iter().map(demand).collect()
    }

    /// `task` as a run in its folder.
    fn as_run<'b>(&'b self, task: &SweepTask, progress: &'b dyn Progress) -> Run<'b> {
        Run {
            folder: self.folder.join(task.folder()),
            config: task.config().clone(),
            corpus: self.corpus,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            now: self.now,
            progress,
        }
    }

    /// The run whose base `run` takes, if it takes one.
    fn base_of<'b>(&'b self, run: &SweepRun, progress: &'b dyn Progress) -> Option<Run<'b>> {
        let config = Run::base_config(&run.config)?;
        Some(self.as_run(&SweepTask::Base { seed: run.seed, config }, progress))
    }

    fn provenance(&self) -> crate::run::Provenance {
        crate::run::Provenance::new(self.corpus, None)
    }
}

/// The device has one stream of random numbers, which several runs would share.
fn check_side_by_side(tasks: &[SweepTask]) -> Result<(), Error> {
    let dropout = tasks.iter().find_map(|task| Some(task.config().lora.as_ref()?.dropout));
    match dropout {
        Some(dropout) if dropout > 0.0 => {
            let expected = "0 for several runs at once, or they cannot be repeated";
            Err(Error::value("run.lora.dropout", &dropout, expected))
        }
        _ => Ok(()),
    }
}
