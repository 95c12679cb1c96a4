//! What a sweep says, for people and for programs, and no more than it says.
//!
//! | file | what |
//! |---|---|
//! | `report.html` | the page |
//! | `report.json` | its findings in words, and the rows of `modes.csv` |
//! | `modes.csv` | a row a level, budget and mode: means over seeds, and tests against the baseline |
//! | `parts.csv` | a row a level and run: what its bound consists of |
//! | `groups.csv` | a row a run and group of parameters: dimensions, gradients, gates |
//! | `depth.csv` | correlations of gates with depth |
//! | `steps.csv` | a row a run, evaluated step and group: losses, gates, gradients |
//!
//! All of it is made of `sweep.json`, and of the metrics and certificates in the folders of the finished
//! runs. Equal sweeps are equal bytes.

mod bounds_section;
mod cell;
mod depth;
mod findings;
mod gates_section;
mod modes;
mod outputs;
mod page;
mod rows;
#[cfg(test)]
mod tests;
mod trace;
mod training_section;

use std::path::Path;

use serde::Serialize;

pub(crate) use cell::estimate;
pub(crate) use findings::count;
pub use modes::ModeRow;

use crate::certificate::Certificate;
use crate::sweep::{RunRecord, RunStatus, SweepRecord};
use crate::{Error, SubspaceConfig};
use trace::Trace;

/// The mode that others are compared with, if it is there.
const BASELINE: &str = "uniform";

/// A sweep, read for its report.
#[derive(Debug)]
pub struct SweepReport {
    record: SweepRecord,
    /// Of the finished runs, by their places in the record.
    traces: Vec<Option<Trace>>,
    /// Of the finished runs, in their order.
    certificates: Vec<Certificate>,
    /// The name of the mode that others are compared with.
    baseline: Option<String>,
    modes: Vec<ModeRow>,
}

/// What the report says, without its charts.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// Sentences on what was run and what it supports.
    pub findings: Vec<String>,
    /// Rows of `modes.csv`.
    pub modes: &'a [ModeRow],
}

impl SweepReport {
    /// Of the sweep in `folder`, as far as it was collected.
    ///
    /// # Errors
    /// See [`SweepRecord::read`]; a finished run without its metrics or its certificate, or with one that
    /// is not the one that was collected.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let record = SweepRecord::read(folder)?;
        let (mut traces, mut certificates) = (Vec::new(), Vec::new());
        for run in &record.runs {
            let finished = run.status == RunStatus::Finished;
            traces.push(finished.then(|| Trace::read(&folder.join(&run.path))).transpose()?);
            if finished {
                certificates.push(certificate(folder, run)?);
            }
        }
        Self::of(record, traces, certificates)
    }

    fn of(
        record: SweepRecord,
        traces: Vec<Option<Trace>>,
        certificates: Vec<Certificate>,
    ) -> Result<Self, Error> {
        let baseline = baseline(&record)?;
        let mut report = Self { record, traces, certificates, baseline, modes: Vec::new() };
        report.modes = report.mode_rows();
        Ok(report)
    }

    /// What it says, without its charts.
    pub fn summary(&self) -> Summary<'_> {
        Summary { findings: self.findings(), modes: &self.modes }
    }
}

fn certificate(folder: &Path, run: &RunRecord) -> Result<Certificate, Error> {
    let path = folder.join(&run.path).join("certificate.json");
    let certificate = Certificate::read(&path)?;
    if certificate.bounds != run.bounds {
        let path = path.display();
        return Err(Error::Mismatch(format!("`{path}` is not the one that was collected")));
    }
    Ok(certificate)
}

/// The mode called `uniform`, or else the first that has this allocation.
fn baseline(record: &SweepRecord) -> Result<Option<String>, Error> {
    let runs = record.config.runs()?;
    let is_uniform = |it: &SubspaceConfig| {
        matches!(it.allocation, subspace_projectors::AnyAllocation::Uniform(_))
    };
    let named = runs.iter().find(|it| it.mode == BASELINE);
    let uniform = || runs.iter().find(|it| it.config.sublora.as_ref().is_some_and(is_uniform));
    Ok(named.or_else(uniform).map(|it| it.mode.clone()))
}
