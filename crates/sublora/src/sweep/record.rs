//! What came of a sweep: a record of every run, as `sweep.json` and as a table.

use std::path::Path;

use bounds::Unit;
use corpus::Sha256Hash;
use serde::{Deserialize, Serialize};

use super::summary::{Choice, Group, groups};
use super::table::{runs_table, subjects};
use super::task::{FAILED, Seconds};
use super::{CONFIG, Sweep, SweepConfig, SweepRun, SweepTask, memory};
use crate::artifact::CodeLength;
use crate::atomic::{self, FileError};
use crate::certificate::{Claim, MetricName};
use crate::compression::Compression;
use crate::{Error, Run};

const FORMAT: &str = "sublora-sweep";
const VERSION: u64 = 1;
const WHAT: &str = "record of a sweep";
const RECORD: &str = "sweep.json";

/// `sweep.json`: everything that a report needs, but the metrics of each step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepRecord {
    /// `sublora-sweep`.
    pub format: String,
    /// Of the format, 1.
    pub version: u64,
    /// The text.
    pub corpus: Sha256Hash,
    /// What was to be run.
    pub config: SweepConfig,
    /// The bases that runs share, by seed.
    pub bases: Vec<BaseRecord>,
    /// The runs, in the order of [`SweepConfig::runs`].
    pub runs: Vec<RunRecord>,
    /// Over the seeds, a group a mode and budget, in the same order.
    pub groups: Vec<Group>,
    /// The best of the finished runs, and what choosing it costs.
    pub choice: Choice,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// What it makes is there.
    Finished,
    /// It stopped with an error, or its certificate is not, or no longer, that of its files and settings.
    /// The next call tries again.
    Failed,
    /// It was interrupted, or another process is at it.
    Begun,
    /// Nothing of it is there.
    Waiting,
}

impl RunStatus {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Begun => "begun",
            Self::Waiting => "waiting",
        }
    }
}

/// A base that the runs of a seed share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseRecord {
    /// The seed.
    pub seed: u64,
    /// Its folder in that of the sweep.
    pub path: String,
    /// How far it has come.
    pub status: RunStatus,
    /// Why it failed, with what to do about it.
    pub failure: Option<String>,
    /// By the clock, over all calls that came to an end.
    pub seconds: Option<f64>,
    /// Peak memory, as it was estimated beforehand.
    pub estimated_bytes: u64,
}

/// The least held-out loss of a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOutLoss {
    /// Before quantisation; of the training windows where the corpus holds nothing out.
    pub bits_per_token: f64,
    /// The step it was reached at: the one that is compressed.
    pub step: u64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// `MODE-dBUDGET-sSEED`.
    pub name: String,
    /// Its mode.
    pub mode: String,
    /// Its budget.
    pub intrinsic_dim: usize,
    /// Its seed.
    pub seed: u64,
    /// Its folder in that of the sweep.
    pub path: String,
    /// How far it has come. What `held_out` and all below it say is of a finished run.
    pub status: RunStatus,
    /// Why it failed, with what to do about it.
    pub failure: Option<String>,
    /// By the clock, over all calls that came to an end; that of its base is not among them.
    pub seconds: Option<f64>,
    /// Peak memory, as it was estimated beforehand.
    pub estimated_bytes: u64,
    /// What its training reached.
    pub held_out: Option<HeldOutLoss>,
    /// $K$ by what takes the room, the choice among the runs included.
    pub code_length: Option<CodeLength>,
    /// Its `compression.json`: what quantising cost, and who has the coordinates.
    pub compression: Option<Compression>,
    /// The claims of its certificate.
    pub bounds: Vec<Claim>,
}

impl SweepRecord {
    /// That of the sweep in `folder`.
    ///
    /// # Errors
    /// A folder without a sweep, or with one that nobody collected; a file that this version did not
    /// write.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u64,
        }
        let path = folder.join(RECORD);
        let missing = |what| Err(Error::Unfinished { folder: folder.to_owned(), what });
        if !path.exists() {
            return missing(if folder.join(CONFIG).exists() { WHAT } else { "sweep" });
        }
        let json = std::fs::read(&path).map_err(FileError::at("read", &path))?;
        let wrong = |reason: &dyn std::fmt::Display| Error::format(&path, WHAT, reason);
        let head: Head = serde_json::from_slice(&json).map_err(|error| wrong(&error))?;
        if head.format != FORMAT {
            return Err(wrong(&format!("its format is `{}`, expected `{FORMAT}`", head.format)));
        }
        if head.version != VERSION {
            let reason = format!("its version is {}, this program reads {VERSION}", head.version);
            return Err(wrong(&reason));
        }
        let record: Self = serde_json::from_slice(&json).map_err(|error| wrong(&error))?;
        let runs = record.config.runs().map_err(|error| wrong(&error))?;
        let of_config = runs.iter().map(|it| (&it.name, &it.mode, it.intrinsic_dim, it.seed));
        let recorded = record.runs.iter().map(|it| (&it.name, &it.mode, it.intrinsic_dim, it.seed));
        if !recorded.eq(of_config) {
            return Err(wrong(&"its runs are not those of its configuration"));
        }
        Ok(record)
    }
}

impl RunRecord {
    /// The claim with the least bound for a metric and unit, if any.
    pub fn best(&self, unit: Unit, metric: MetricName, k: Option<u32>) -> Option<&Claim> {
        let claims = self.bounds.iter();
        let claims = claims.filter(|it| it.unit == unit && it.metric == metric && it.k == k);
        claims.min_by(|a, b| a.bound.total_cmp(&b.bound))
    }
}

impl Sweep<'_> {
    /// Writes `runs.csv` and `sweep.json` of what is there, and returns it. Nothing is run.
    ///
    /// # Errors
    /// A folder without a sweep, or with another, or what the file system says. What is wrong with the
    /// files of a run is in its record.
    pub fn collect(&self) -> Result<SweepRecord, Error> {
        if !self.folder.join(CONFIG).exists() {
            return Err(Error::Unfinished { folder: self.folder.clone(), what: "sweep" });
        }
        let tasks = self.tasks()?;
        self.open(&tasks)?;
        let (mut bases, mut runs) = (Vec::new(), Vec::new());
        for task in &tasks {
            match task {
                SweepTask::Base { seed, .. } => bases.push(self.base_record(task, *seed)?),
                SweepTask::Run(run) => runs.push(self.run_record(task, run)?),
            }
        }
        let subjects = match tasks.last() {
            Some(task) => subjects(&task.config().certify)?,
            None => Vec::new(),
        };
        let record = SweepRecord {
            format: FORMAT.to_owned(),
            version: VERSION,
            corpus: self.corpus.sha256(),
            config: self.recorded_config()?,
            bases,
            groups: groups(&self.config, &runs, &subjects),
            choice: self.choice(&runs, &subjects)?,
            runs,
        };
        let csv = runs_table(&record.runs, &subjects).and_then(|table| table.to_csv());
        atomic::write(&self.folder.join("runs.csv"), &csv?)?;
        let json = serde_json::to_string_pretty(&record).map_err(|error| Error::config(&error))?;
        atomic::write(&self.folder.join(RECORD), (json + "\n").as_bytes())?;
        Ok(record)
    }

    fn base_record(&self, task: &SweepTask, seed: u64) -> Result<BaseRecord, Error> {
        let run = self.as_run(task, &());
        let (seconds, is_there) = match Seconds::read(&run.folder) {
            Ok(seconds) => (seconds.map(Seconds::total), run.has_base()),
            Err(error) => (None, Err(error)),
        };
        let (status, failure) = self.status(&run, is_there);
        let estimated_bytes = memory::estimate(&run.config, &run.shape()?);
        Ok(BaseRecord { seed, path: path(task), status, failure, seconds, estimated_bytes })
    }

    fn run_record(&self, task: &SweepTask, of: &SweepRun) -> Result<RunRecord, Error> {
        let run = self.as_run(task, &());
        let (seconds, results) = match Seconds::read(&run.folder) {
            Ok(seconds) => (seconds.map(Seconds::total), Results::of(&run)),
            Err(error) => (None, Err(error)),
        };
        let (results, is_finished) = match results {
            Ok(Some(results)) => (results, Ok(true)),
            Ok(None) => (Results::default(), Ok(false)),
            Err(error) => (Results::default(), Err(error)),
        };
        let (status, failure) = self.status(&run, is_finished);
        Ok(RunRecord {
            name: of.name.clone(),
            mode: of.mode.clone(),
            intrinsic_dim: of.intrinsic_dim,
            seed: of.seed,
            path: path(task),
            status,
            failure,
            seconds,
            estimated_bytes: memory::estimate(&run.config, &run.shape()?),
            held_out: results.held_out,
            code_length: results.code_length,
            compression: results.compression,
            bounds: results.bounds,
        })
    }

    /// How far a run has come, by whether it `is_finished` and by the files in its folder. What is wrong
    /// with the files is a failure of the run alone.
    fn status(
        &self,
        run: &Run<'_>,
        is_finished: Result<bool, Error>,
    ) -> (RunStatus, Option<String>) {
        let failed = run.folder.join(FAILED);
        match is_finished {
            Ok(true) => (RunStatus::Finished, None),
            Ok(false) | Err(Error::OtherCertificate { .. }) if failed.exists() => {
                let text = std::fs::read_to_string(&failed).map_err(FileError::at("read", &failed));
                let text = text.unwrap_or_else(|error| (self.explain)(&error.into()));
                (RunStatus::Failed, Some(text))
            }
            Err(error) => (RunStatus::Failed, Some((self.explain)(&error))),
            Ok(false) if run.has_begun() => (RunStatus::Begun, None),
            Ok(false) => (RunStatus::Waiting, None),
        }
    }
}

/// What the files of a finished run say.
#[derive(Default)]
struct Results {
    held_out: Option<HeldOutLoss>,
    code_length: Option<CodeLength>,
    compression: Option<Compression>,
    bounds: Vec<Claim>,
}

impl Results {
    /// None before the run is finished.
    fn of(run: &Run<'_>) -> Result<Option<Self>, Error> {
        let Some(certificate) = run.certified()? else { return Ok(None) };
        let held_out = run.outcome()?.map(|it| HeldOutLoss {
            bits_per_token: it.best_loss / std::f64::consts::LN_2,
            step: it.best_step,
        });
        Ok(Some(Self {
            held_out,
            code_length: Some(certificate.artifact.bits),
            compression: Some(Compression::read(&run.folder)?),
            bounds: certificate.bounds,
        }))
    }
}

/// With `/` on every platform.
fn path(task: &SweepTask) -> String {
    let folder = task.folder();
    let parts = folder.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}
