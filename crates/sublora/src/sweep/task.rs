//! One task: begun, gone on with, or left alone, and what is left of it when it fails.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Sweep, SweepRun};
use crate::atomic::{self, FileError};
use crate::config::RunConfig;
use crate::{Error, Progress};

/// Why a task failed.
pub(super) const FAILED: &str = "failed.txt";
/// What a task took.
const SECONDS: &str = "seconds.json";

/// A base or a run.
#[derive(Debug, Clone, PartialEq)]
pub enum SweepTask {
    /// Pretrains the base that all runs of a seed share.
    Base {
        /// The seed.
        seed: u64,
        /// Of the pretraining alone.
        config: RunConfig,
    },
    /// Trains, compresses and certifies.
    Run(SweepRun),
}

impl SweepTask {
    /// What a person calls it: `base s42`, or the name of the run.
    pub fn name(&self) -> String {
        match self {
            Self::Base { seed, .. } => format!("base s{seed}"),
            Self::Run(run) => run.name.clone(),
        }
    }

    /// Its folder in that of the sweep.
    pub fn folder(&self) -> PathBuf {
        match self {
            Self::Base { seed, .. } => Path::new("bases").join(format!("s{seed}")),
            Self::Run(run) => Path::new("runs").join(&run.name),
        }
    }

    /// What it does.
    pub fn config(&self) -> &RunConfig {
        match self {
            Self::Base { config, .. } => config,
            Self::Run(run) => &run.config,
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// What it makes is there.
    Done,
    /// It failed, with what `failed.txt` says.
    Failed(String),
}

/// Seconds by the clock that the steps of a task took, in all calls that came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seconds {
    /// Training, or pretraining of a base.
    train: f64,
    compress: f64,
    certify: f64,
}

impl Seconds {
    pub(super) fn total(self) -> f64 {
        self.train + self.compress + self.certify
    }

    /// What stands in `folder`; none at all where nothing does.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(SECONDS);
        if !path.exists() {
            return Ok(None);
        }
        let json = std::fs::read(&path).map_err(FileError::at("read", &path))?;
        let seconds = serde_json::from_slice(&json);
        seconds.map(Some).map_err(|error| Error::format(&path, "record of seconds", error))
    }

    fn write(self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string(&self).map_err(|error| Error::config(&error))?;
        Ok(atomic::write(&folder.join(SECONDS), (json + "\n").as_bytes())?)
    }
}

impl Sweep<'_> {
    /// Does `task` unless it is finished.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or `failed.txt` cannot be written. Whatever else goes wrong is the end of
    /// the task.
    pub(super) fn perform(&self, task: &SweepTask) -> Result<TaskEnd, Error> {
        let folder = self.folder.join(task.folder());
        let failed = folder.join(FAILED);
        let listener = self.progress.begin(&task.name());
        let attempt = || self.attempt(task, &folder, listener.as_ref());
        // A device that runs out of memory panics; the other tasks go on.
        let result = catch_unwind(AssertUnwindSafe(attempt));
        let result = result.unwrap_or_else(|panic| Err(Error::Panicked(message(panic.as_ref()))));
        listener.end();
        match result {
            Ok(()) => {
                remove(&failed)?;
                Ok(TaskEnd::Done)
            }
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                let text = (self.explain)(&error);
                std::fs::create_dir_all(&folder).map_err(FileError::at("create", &folder))?;
                atomic::write(&failed, text.as_bytes())?;
                Ok(TaskEnd::Failed(text))
            }
        }
    }

    fn attempt(
        &self,
        task: &SweepTask,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let run = self.as_run(task, progress);
        let SweepTask::Run(of_sweep) = task else {
            if run.has_base()? {
                return Ok(());
            }
            remove(&folder.join(FAILED))?;
            return self.timed(folder, |it| &mut it.train, || run.pretrain_base(run.has_begun()));
        };
        match run.certified() {
            Ok(Some(_)) => return Ok(()),
            // Its checkpoint is left alone; what is made from it is made again.
            Ok(None) | Err(Error::OtherCertificate { .. }) => {}
            Err(error) => return Err(error),
        }
        remove(&folder.join(FAILED))?;
        if let Some(base) = self.base_of(of_sweep, &()) {
            run.adopt_base(&base)?;
        }
        self.timed(folder, |it| &mut it.train, || run.train(run.has_begun()))?;
        self.timed(folder, |it| &mut it.compress, || run.compress(true))?;
        self.timed(folder, |it| &mut it.certify, || run.certify(0))?;
        Ok(())
    }

    /// Does `step` and adds what it took to the `seconds.json` of `folder`.
    fn timed<T>(
        &self,
        folder: &Path,
        place: impl Fn(&mut Seconds) -> &mut f64,
        step: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = (self.now)();
        let result = step();
        if folder.exists() {
            let mut seconds = Seconds::read(folder)?.unwrap_or_default();
            *place(&mut seconds) += (self.now)() - start;
            seconds.write(folder)?;
        }
        result
    }
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::at("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why").to_owned()
}
