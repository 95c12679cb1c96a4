//! The rows of the tables, run by run.

use bounds::Unit;
use serde::{Deserialize, Serialize};
use subspace_projectors::{Group, Side};

use super::SweepReport;
use super::cell::{Cell, bits};
use super::depth::Depth;
use super::trace::{Movement, Trace};
use crate::Compression;
use crate::certificate::Claim;
use crate::sweep::RunRecord;

/// What the bound of a run consists of, in bits per token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PartsRow {
    pub(super) level: String,
    pub(super) mode: String,
    pub(super) intrinsic_dim: usize,
    pub(super) seed: u64,
    /// The measured risk less the next.
    pub(super) risk_before_quantization: Option<f64>,
    /// On held-out windows.
    pub(super) quantization_loss: Option<f64>,
    pub(super) complexity_term: f64,
    pub(super) sampling_term: f64,
    /// The sum, rounded up.
    pub(super) bound: f64,
    pub(super) vacuous_above: f64,
    pub(super) bound_name: String,
}

/// What became of a group of parameters in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GroupRow {
    pub(super) mode: String,
    pub(super) intrinsic_dim: usize,
    pub(super) seed: u64,
    /// `h.N` or `rest`.
    pub(super) group: String,
    pub(super) dimensions_a: Option<f64>,
    pub(super) dimensions_b: Option<f64>,
    /// At the last evaluation of the training.
    pub(super) gradient_a: Option<f64>,
    pub(super) gradient_b: Option<f64>,
    /// $\gamma$ at the end of the training.
    pub(super) gamma_trained: Option<f64>,
    /// $\gamma$ in the artifact.
    pub(super) gamma: Option<f64>,
    /// $\lvert \gamma - 1/2 \rvert$ at the end of the training.
    pub(super) gamma_moved: Option<f64>,
    /// $\sum \lvert \Delta \gamma \rvert$ between evaluations.
    pub(super) gamma_path: Option<f64>,
    /// Changes that follow another one.
    pub(super) gamma_pairs: Option<usize>,
    /// Those of them in the other direction.
    pub(super) gamma_flips: Option<usize>,
}

/// The correlation of $\gamma$ with depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DepthRow {
    pub(super) mode: String,
    pub(super) intrinsic_dim: usize,
    /// A seed, or `all`.
    pub(super) seed: String,
    pub(super) layers: usize,
    pub(super) pearson: Option<f64>,
    pub(super) pearson_p: Option<f64>,
    pub(super) spearman: Option<f64>,
    pub(super) spearman_p: Option<f64>,
}

/// A step at which a run was evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StepRow {
    pub(super) mode: String,
    pub(super) intrinsic_dim: usize,
    pub(super) seed: u64,
    pub(super) step: u64,
    /// `h.N` or `rest`; `all` for the whole run.
    pub(super) group: String,
    pub(super) held_out_bits_per_token: Option<f64>,
    pub(super) gamma: Option<f64>,
    pub(super) gradient_a: Option<f64>,
    pub(super) gradient_b: Option<f64>,
}

impl SweepReport {
    pub(super) fn parts_rows(&self) -> Vec<PartsRow> {
        let runs = || self.record.runs.iter();
        let of_level =
            |unit: Unit| runs().filter_map(move |run| Some(parts(unit, run, bits(run, unit)?)));
        self.levels().into_iter().flat_map(of_level).collect()
    }

    pub(super) fn group_rows(&self) -> Vec<GroupRow> {
        let runs = self.record.runs.iter().zip(&self.traces);
        let runs = runs.filter_map(|(run, trace)| Some((run, trace.as_ref()?)));
        runs.flat_map(|(run, trace)| group_rows(run, trace)).collect()
    }

    pub(super) fn depth_rows(&self) -> Vec<DepthRow> {
        self.cells().iter().flat_map(depth_rows).collect()
    }

    pub(super) fn step_rows(&self) -> Vec<StepRow> {
        let runs = self.record.runs.iter().zip(&self.traces);
        let runs = runs.filter_map(|(run, trace)| Some((run, trace.as_ref()?)));
        runs.flat_map(|(run, trace)| step_rows(run, trace)).collect()
    }
}

/// The measured risk, less what quantising cost on the held-out windows.
pub(super) fn before_quantization(run: &RunRecord, claim: &Claim) -> Option<f64> {
    Some(claim.risk - run.compression.as_ref()?.quantization_loss)
}

fn parts(unit: Unit, run: &RunRecord, claim: &Claim) -> PartsRow {
    PartsRow {
        level: unit.to_string(),
        mode: run.mode.clone(),
        intrinsic_dim: run.intrinsic_dim,
        seed: run.seed,
        risk_before_quantization: before_quantization(run, claim),
        quantization_loss: run.compression.as_ref().map(|it| it.quantization_loss),
        complexity_term: claim.complexity_term,
        sampling_term: claim.sampling_term,
        bound: claim.bound,
        vacuous_above: claim.vacuous_above,
        bound_name: claim.name.clone(),
    }
}

/// The groups of a run, in their order.
pub(super) fn groups(compression: &Compression) -> Vec<Group> {
    let mut groups: Vec<Group> =
        compression.effective_dimensions.iter().map(|it| it.group).collect();
    groups.dedup();
    groups
}

/// $\gamma$ in the artifact.
pub(super) fn gamma(compression: &Compression, group: Group) -> Option<f64> {
    compression.gates.iter().find(|it| it.group == group).map(|it| it.share)
}

/// The coordinates of a side of a group.
pub(super) fn dimensions(compression: &Compression, group: Group, side: Side) -> Option<f64> {
    let mut dimensions = compression.effective_dimensions.iter();
    dimensions.find(|it| (it.group, it.side) == (group, side)).map(|it| it.value)
}

fn group_rows(run: &RunRecord, trace: &Trace) -> Vec<GroupRow> {
    let Some(compression) = &run.compression else { return Vec::new() };
    let row = |group: Group| {
        let gates = trace.gates.get(&group);
        let movement = gates.map(Movement::of);
        let trained = gates.and_then(|it| it.last()).map(|it| it.1);
        GroupRow {
            mode: run.mode.clone(),
            intrinsic_dim: run.intrinsic_dim,
            seed: run.seed,
            group: group.to_string(),
            dimensions_a: dimensions(compression, group, Side::A),
            dimensions_b: dimensions(compression, group, Side::B),
            gradient_a: trace.last_gradient(group, Side::A),
            gradient_b: trace.last_gradient(group, Side::B),
            gamma_trained: trained,
            gamma: gamma(compression, group),
            gamma_moved: trained.map(|it| (it - 0.5).abs()),
            gamma_path: movement.map(|it| it.path),
            gamma_pairs: movement.map(|it| it.pairs),
            gamma_flips: movement.map(|it| it.flips),
        }
    };
    groups(compression).into_iter().map(row).collect()
}

/// $\gamma$ of the layers, from the first on, without the rest.
pub(super) fn by_layer(run: &RunRecord) -> Vec<f64> {
    let gates = run.compression.iter().flat_map(|it| &it.gates);
    let mut layers: Vec<(Group, f64)> = gates.map(|it| (it.group, it.share)).collect();
    layers.retain(|(group, _)| matches!(group, Group::Layer(_)));
    layers.sort_by_key(|it| it.0);
    layers.into_iter().map(|it| it.1).collect()
}

/// A row a seed, and one of all.
fn depth_rows(cell: &Cell<'_>) -> Vec<DepthRow> {
    let series: Vec<(u64, Vec<f64>)> =
        cell.runs.iter().map(|(run, _)| (run.seed, by_layer(run))).collect();
    let row = |seed: String, values: &[Vec<f64>]| {
        let depth = Depth::of(values);
        DepthRow {
            mode: cell.mode.to_owned(),
            intrinsic_dim: cell.intrinsic_dim,
            seed,
            layers: values.first().map_or(0, Vec::len),
            pearson: depth.map(|it| it.pearson.0),
            pearson_p: depth.map(|it| it.pearson.1),
            spearman: depth.map(|it| it.spearman.0),
            spearman_p: depth.map(|it| it.spearman.1),
        }
    };
    if series.iter().all(|(_, values)| values.is_empty()) {
        return Vec::new();
    }
    let each =
        series.iter().map(|(seed, values)| row(seed.to_string(), std::slice::from_ref(values)));
    let mut rows: Vec<DepthRow> = each.collect();
    if series.len() > 1 {
        let all: Vec<Vec<f64>> = series.into_iter().map(|it| it.1).collect();
        rows.push(row("all".to_owned(), &all));
    }
    rows
}

fn step_rows(run: &RunRecord, trace: &Trace) -> Vec<StepRow> {
    let at = |curve: Option<&super::trace::Curve>, step: u64| {
        curve?.iter().find(|it| it.0 == step).map(|it| it.1)
    };
    let (a, b) = (trace.gradient(Side::A), trace.gradient(Side::B));
    let groups = run.compression.iter().flat_map(groups).collect::<Vec<_>>();
    let row = |step: u64, group: Option<Group>| {
        let gradient = |side, all| match group {
            None => at(Some(all), step),
            Some(group) => at(trace.gradients.get(&(group, side)), step),
        };
        StepRow {
            mode: run.mode.clone(),
            intrinsic_dim: run.intrinsic_dim,
            seed: run.seed,
            step,
            group: group.map_or("all".to_owned(), |it| it.to_string()),
            held_out_bits_per_token: group
                .is_none()
                .then(|| at(Some(&trace.held_out), step))
                .flatten(),
            gamma: group.and_then(|it| at(trace.gates.get(&it), step)),
            gradient_a: gradient(Side::A, &a),
            gradient_b: gradient(Side::B, &b),
        }
    };
    let steps = trace.held_out.iter().map(|it| it.0);
    let places = |step| {
        [None].into_iter().chain(groups.iter().map(|it| Some(*it))).map(move |it| (step, it))
    };
    steps.flat_map(places).map(|(step, group)| row(step, group)).collect()
}
