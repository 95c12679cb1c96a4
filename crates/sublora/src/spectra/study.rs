//! From a checkpoint to everything that is said of it.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use weight_files::Checkpoint;

use super::layer::ORIGINAL;
use super::reading::Reading;
use super::record::{Record, Store};
use super::selection::{Part, Skipped};
use super::summary::StudySummary;
use super::work::{PartWork, Work};
use super::{SpectralError, SpectralStudy};
use crate::Progress;
use crate::side_by_side::side_by_side;

/// One matrix of a checkpoint and what was found.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub(super) name: String,
    pub(super) layer_type: &'static str,
    pub(super) shape: [usize; 2],
    pub(super) record: Record,
}

/// A tensor and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Its name.
    pub tensor: String,
    /// Type of its elements.
    pub dtype: String,
    /// Extents, for example `768x2304`.
    pub shape: String,
    /// Whether it was analysed.
    pub analysed: bool,
    /// Matrices it was taken for.
    pub matrices: usize,
    /// Why not, or what could not be done with it.
    pub note: String,
}

/// Everything that was found in a checkpoint.
#[derive(Debug, Clone)]
pub struct SpectralReport {
    /// In numbers.
    pub summary: StudySummary,
    /// Every tensor of the checkpoint.
    pub coverage: Vec<Coverage>,
    pub(super) study: SpectralStudy,
    pub(super) checkpoint: String,
    pub(super) matrices: Vec<Matrix>,
}

impl SpectralStudy {
    /// Analyses every weight matrix of `checkpoint`: a file, an index, or a folder. With `cache`, what an
    /// earlier call found out about the same values is not computed again.
    ///
    /// A worker holds one matrix and its variants, or the tensor it is in where the file does not give it
    /// alone; there are as many as cores. The result does not depend on their number.
    ///
    /// # Errors
    /// Settings that make no sense, a checkpoint that cannot be read, or that `progress` asked for an end:
    /// everything found so far is then in `cache`.
    pub fn run(
        &self,
        checkpoint: &Path,
        cache: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<SpectralReport, SpectralError> {
        self.validate()?;
        let mut file = Checkpoint::open(checkpoint)?;
        let tensors = file.tensors().to_vec();
        let is_onnx = file.files().all(|it| it.extension().is_some_and(|it| it == "onnx"));
        let selected = self.select(&tensors, is_onnx);
        let settings = serde_json::to_string(self).unwrap_or_default();
        let store = Store::new(cache.map(Path::to_owned), &settings)?;
        let parts: Vec<Part> = selected.iter().flatten().flatten().cloned().collect();
        let mut records = self.records(&mut file, &parts, &store, progress)?;
        self.adjust(&mut records);
        let plain_means = self.plain_means(&records);
        let variants = self.summarise(&records);
        let matrices: Vec<Matrix> = parts
            .iter()
            .zip(records)
            .map(|(part, record)| Matrix {
                name: part.name.clone(),
                layer_type: part.layer_type(),
                shape: part.shape(),
                record,
            })
            .collect();
        let coverage = tensors.iter().zip(&selected).enumerate();
        let coverage: Vec<Coverage> = coverage
            .map(|(index, (tensor, selected))| {
                let of_tensor =
                    parts.iter().zip(&matrices).filter(|(part, _)| part.tensor == index);
                let notes = of_tensor.flat_map(|(_, matrix)| matrix.notes());
                let extents: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
                Coverage {
                    tensor: tensor.name.clone(),
                    dtype: tensor.dtype.to_string(),
                    shape: extents.join("x"),
                    analysed: selected.is_ok(),
                    matrices: selected.as_ref().map_or(0, Vec::len),
                    note: note(selected, &notes.collect::<Vec<_>>()),
                }
            })
            .collect();
        let analysed = coverage.iter().filter(|it| it.analysed).count();
        let summary = StudySummary {
            tensors: coverage.len(),
            analysed,
            skipped: coverage.len() - analysed,
            matrices: matrices.len(),
            nonfinite: matrices.iter().filter(|it| it.is_not_finite()).count(),
            plain_means,
            variants,
        };
        let name = checkpoint.file_name().unwrap_or(checkpoint.as_os_str());
        let checkpoint = name.to_string_lossy().into_owned();
        Ok(SpectralReport { summary, coverage, study: self.clone(), checkpoint, matrices })
    }

    /// The record of every part, in their order; what takes longest comes first.
    fn records(
        &self,
        file: &mut Checkpoint,
        parts: &[Part],
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<Vec<Record>, SpectralError> {
        let costs: Vec<u64> = parts.iter().map(|part| self.cost(part)).collect();
        let cost =
            |it: &Reading| costs[it.parts.clone()].iter().map(|&it| u128::from(it)).sum::<u128>();
        let mut readings = Reading::all(parts, file);
        readings.sort_by_key(|it| (Reverse(cost(it)), it.parts.start));
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = workers.min(readings.len()).max(1);
        let work = Work::begin(progress, costs.iter().copied());
        let next = AtomicUsize::new(0);
        let file = Mutex::new(file);
        let found = side_by_side(vec![Vec::<f32>::new(); workers], |_, mut values| {
            let mut found = Vec::new();
            while let Some(reading) = readings.get(next.fetch_add(1, Ordering::Relaxed)) {
                let read = reading
                    .read(&mut file.lock().unwrap_or_else(PoisonError::into_inner), &mut values);
                read?;
                for index in reading.parts.clone() {
                    let part = &parts[index];
                    let work = work.of(&part.name, costs[index]);
                    let values = reading.values(part, &values);
                    found.push((index, self.record(part, &values, store, &work)?));
                }
            }
            Ok(found)
        });
        work.end();
        let found: Result<Vec<_>, SpectralError> = found.into_iter().collect();
        let mut records: Vec<Option<Record>> = vec![None; parts.len()];
        for (index, record) in found?.concat() {
            records[index] = Some(record);
        }
        records.into_iter().map(|it| it.ok_or(SpectralError::Interrupted)).collect()
    }

    fn record(
        &self,
        part: &Part,
        values: &[f32],
        store: &Store,
        work: &PartWork,
    ) -> Result<Record, SpectralError> {
        if work.stop() {
            return Err(SpectralError::Interrupted);
        }
        let place = store.place(&part.key(), values);
        if let Some(record) = place.as_deref().and_then(Store::load) {
            return Ok(record);
        }
        let record = self.analyse(part, values, work).ok_or(SpectralError::Interrupted)?;
        if let Some(place) = place {
            Store::save(&place, &record)?;
        }
        Ok(record)
    }
}

impl Matrix {
    /// Whether there is no spectrum.
    fn is_not_finite(&self) -> bool {
        self.record.variants.first().is_some_and(|it| !it.columns.has_esd)
    }

    /// What could not be done.
    fn notes(&self) -> Vec<String> {
        let note = |(variant, why): &(String, String)| match variant.as_str() {
            ORIGINAL => why.clone(),
            variant => format!("no {variant}: {why}"),
        };
        self.record.missing.iter().map(note).collect()
    }
}

fn note(selected: &Result<Vec<Part>, Skipped>, notes: &[String]) -> String {
    match selected {
        Ok(_) => notes.join("; "),
        Err(reason) => reason.clone().into_owned(),
    }
}
