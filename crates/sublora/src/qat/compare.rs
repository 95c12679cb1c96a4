//! Runs beside one another: what each method gives at each width, whether that is more than chance, and
//! what it cost.
//!
//! # Definition
//! A *method* is the runs of one label, which differ in their seed alone. Runs that were trained at one
//! width and are labelled with it, `static-2`, `static-3` and so on, are one method, `static`: its value at
//! $B$ bits is that of the run which was trained at $B$. A method is compared with those whose runs learned at fewer widths: one of several widths with those of
//! one and of none, one of one width with those of none. What is compared is the mean loss on the same
//! held-out text, seed by seed, at the same width: Student's paired test and its interval of 95 %.
//!
//! | file | what |
//! |---|---|
//! | `report.html` | the page |
//! | `widths.csv` | a row a method, width and stride: means over seeds |
//! | `differences.csv` | a row a method, reference, width and stride: paired tests |
//! | `runs.csv` | a row a run, width and stride |
//!
//! All of it is made of the files of the runs. Equal runs are equal bytes.

mod bit_ops_section;
mod checks;
mod differences;
mod findings;
mod loss_section;
mod methods;
mod outputs;
mod page;
mod rows;
mod runs;
mod suites;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use differences::{Difference, Verdict};
pub use rows::WidthRow;

use crate::Error;
use checks::Text;
use runs::ComparedRun;
use suites::Place;

/// Runs that are compared.
#[derive(Debug)]
pub struct QatComparison {
    /// Of a method, those of a label one after another, seed by seed; at least one.
    runs: Vec<ComparedRun>,
    /// What each was evaluated on, at least one.
    texts: Vec<Text>,
    left_out: Vec<PathBuf>,
    widths: Vec<WidthRow>,
    differences: Vec<Difference>,
}

impl QatComparison {
    /// Of the runs in `paths`, each the folder of a run, or one that holds runs as `LABEL/seed-N`. The label
    /// of a run is the name of the folder above its own, or that in `labels`, which is empty or has one for
    /// each path.
    ///
    /// # Errors
    /// A path without a run, or no run that is over; runs on different text, or that begin from different
    /// bases with the same seed; runs of one label that differ in more than their seed; files that are not
    /// as they were written.
    pub fn read(paths: &[PathBuf], labels: &[String]) -> Result<Self, Error> {
        let (mut runs, mut left_out) = (Vec::new(), Vec::new());
        for Place { label, folder } in suites::places(paths, labels)? {
            match ComparedRun::read(label, &folder) {
                Ok(run) => runs.push(run),
                Err(Error::Unfinished { .. }) => left_out.push(folder),
                Err(error) => return Err(error),
            }
        }
        if runs.is_empty() {
            let folder = paths.first().cloned().unwrap_or_default();
            return Err(Error::Unfinished { folder, what: "run that is over" });
        }
        Ok(Self { left_out, ..Self::of(runs)? })
    }

    /// Of `runs`, of which there is one at least.
    fn of(mut runs: Vec<ComparedRun>) -> Result<Self, Error> {
        runs.sort_by(|a, b| (a.method(), a.seed()).cmp(&(b.method(), b.seed())));
        let texts = checks::check(&runs)?;
        let (left_out, widths, differences) = (Vec::new(), Vec::new(), Vec::new());
        let mut comparison = Self { runs, texts, left_out, widths, differences };
        comparison.widths = comparison.width_rows();
        comparison.differences = comparison.tested();
        Ok(comparison)
    }

    /// The folders of runs that are not over.
    pub fn left_out(&self) -> impl Iterator<Item = &Path> {
        self.left_out.iter().map(PathBuf::as_path)
    }

    /// Every stride, width and method.
    pub fn widths(&self) -> &[WidthRow] {
        &self.widths
    }

    /// Every stride, pair of methods and width.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// The stride that the page is about: the first that was evaluated.
    fn stride(&self) -> u64 {
        self.texts.first().map_or(0, |it| it.stride)
    }
}
