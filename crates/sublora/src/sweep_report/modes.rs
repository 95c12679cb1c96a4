//! Every mode at every budget: means over the seeds, and paired tests against the baseline.

use bounds::Unit;
use serde::{Deserialize, Serialize};

use super::SweepReport;
use super::cell::{Cell, bits};
use crate::paired::{Paired, Student, holm};
use crate::sweep::{RunRecord, Spread};

/// A level, budget and mode. Losses and bounds are in bits per token, code lengths in bits. `sd` is the
/// standard deviation over the seeds, empty for one seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModeRow {
    /// `document` or `token`.
    pub level: String,
    /// Name of the mode.
    pub mode: String,
    /// $d$.
    pub intrinsic_dim: usize,
    /// Runs.
    pub runs: usize,
    /// Those that are finished, over which all means are.
    pub finished: usize,
    /// Mean bound: for comparison, and no bound of anything.
    pub bound: Option<f64>,
    /// Of the bounds.
    pub bound_sd: Option<f64>,
    /// Mean risk in these bounds.
    pub risk: Option<f64>,
    /// Of the risks.
    pub risk_sd: Option<f64>,
    /// Value of the uniform predictor.
    pub vacuous_above: Option<f64>,
    /// Runs whose bound is not below that.
    pub vacuous: usize,
    /// Seeds of this mode and of the baseline that both finished.
    pub pairs: Option<usize>,
    /// Mean over them of the bound minus that of the baseline.
    pub difference: Option<f64>,
    /// Its interval of 95 % by Student's distribution, not adjusted.
    pub difference_low: Option<f64>,
    /// Its upper end.
    pub difference_high: Option<f64>,
    /// Student's statistic of a difference of zero.
    pub t: Option<f64>,
    /// Degrees of freedom.
    pub t_freedom: Option<usize>,
    /// Two-sided.
    pub t_p: Option<f64>,
    /// Adjusted for all tests of the report (Holm).
    pub t_p_adjusted: Option<f64>,
    /// Of the sign-flip test, two-sided.
    pub sign_flip_p: Option<f64>,
    /// Adjusted for all tests of the report (Holm).
    pub sign_flip_p_adjusted: Option<f64>,
    /// The least that so many pairs can come to.
    pub sign_flip_p_least: Option<f64>,
    /// Mean held-out loss before quantisation.
    pub held_out: Option<f64>,
    /// Of these.
    pub held_out_sd: Option<f64>,
    /// Mean $K$.
    pub code_length: Option<f64>,
    /// Of these.
    pub code_length_sd: Option<f64>,
    /// Mean $K / d$.
    pub bits_per_coordinate: Option<f64>,
    /// Mean $D / d$.
    pub compression_ratio: Option<f64>,
    /// Mean of what quantising cost on the held-out windows.
    pub quantization_loss: Option<f64>,
    /// Of these.
    pub quantization_loss_sd: Option<f64>,
    /// Mean time of a run by the clock.
    pub seconds: Option<f64>,
    /// Of these.
    pub seconds_sd: Option<f64>,
}

impl SweepReport {
    /// Level by level, budget by budget, mode by mode.
    pub(super) fn mode_rows(&self) -> Vec<ModeRow> {
        let cells = self.cells();
        let of_level = |unit| cells.iter().map(move |cell| (unit, cell));
        let rows = self.levels().into_iter().flat_map(of_level).map(|(unit, cell)| {
            let baseline = |it: &&Cell<'_>| {
                Some(it.mode) == self.baseline.as_deref() && it.intrinsic_dim == cell.intrinsic_dim
            };
            row(unit, cell, cells.iter().find(baseline).filter(|it| it.mode != cell.mode))
        });
        let mut rows: Vec<ModeRow> = rows.collect();
        let adjusted =
            |p: fn(&ModeRow) -> Option<f64>| holm(&rows.iter().map(p).collect::<Vec<_>>());
        let (t, sign_flip) = (adjusted(|it| it.t_p), adjusted(|it| it.sign_flip_p));
        for (row, (t, sign_flip)) in rows.iter_mut().zip(t.into_iter().zip(sign_flip)) {
            (row.t_p_adjusted, row.sign_flip_p_adjusted) = (t, sign_flip);
        }
        rows
    }
}

fn row(unit: Unit, cell: &Cell<'_>, baseline: Option<&Cell<'_>>) -> ModeRow {
    let bound = |run: &RunRecord| Some(bits(run, unit)?.bound);
    let spread = |value: &dyn Fn(&RunRecord) -> Option<f64>| {
        let spread = cell.spread(value);
        (spread.map(|it| it.mean), spread.and_then(|it: Spread| it.deviation))
    };
    let compression = |value: fn(&crate::Compression) -> f64| {
        spread(&|run| Some(value(run.compression.as_ref()?)))
    };
    let mut row = ModeRow {
        level: unit.to_string(),
        mode: cell.mode.to_owned(),
        intrinsic_dim: cell.intrinsic_dim,
        runs: cell.planned,
        finished: cell.runs.len(),
        vacuous_above: cell.spread(|run| Some(bits(run, unit)?.vacuous_above)).map(|it| it.mean),
        vacuous: cell
            .runs
            .iter()
            .filter(|(run, _)| bits(run, unit).is_some_and(|it| it.vacuous))
            .count(),
        bits_per_coordinate: compression(|it| it.bits_per_coordinate).0,
        compression_ratio: compression(|it| it.compression_ratio).0,
        ..ModeRow::default()
    };
    (row.bound, row.bound_sd) = spread(&bound);
    (row.risk, row.risk_sd) = spread(&|run| Some(bits(run, unit)?.risk));
    (row.held_out, row.held_out_sd) = spread(&|run| Some(run.held_out?.bits_per_token));
    (row.code_length, row.code_length_sd) = spread(&|run| Some(run.code_length?.total() as f64));
    (row.quantization_loss, row.quantization_loss_sd) = compression(|it| it.quantization_loss);
    (row.seconds, row.seconds_sd) = spread(&|run| run.seconds);
    let Some(baseline) = baseline else { return row };
    let difference = |(run, _): &(&RunRecord, &_)| {
        let same = baseline.runs.iter().find(|(it, _)| it.seed == run.seed)?;
        Some(bound(run)? - bound(same.0)?)
    };
    let differences: Vec<f64> = cell.runs.iter().filter_map(difference).collect();
    row.pairs = Some(differences.len());
    row.difference = Spread::of(&differences).map(|it| it.mean);
    let Some(paired) = Paired::of(&differences) else { return row };
    row.sign_flip_p = paired.sign_flip;
    row.sign_flip_p_least = Some(Paired::least_sign_flip(paired.count));
    if let Some(Student { t, freedom, p, interval }) = paired.student {
        (row.t, row.t_freedom, row.t_p) = (Some(t), Some(freedom), Some(p));
        (row.difference_low, row.difference_high) = (Some(interval.0), Some(interval.1));
    }
    row
}
