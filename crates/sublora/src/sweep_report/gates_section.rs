//! Gates: where they are, how they came there, and whether that has to do with depth.

use std::collections::BTreeSet;

use report::{
    Axis, ColourScale, HeatMap, Look, Mark, Point, Reference, Section, Series, Size, Svg, Table,
    XyChart,
};
use serde::{Deserialize, Serialize};
use subspace_projectors::Group;

use super::SweepReport;
use super::cell::{Cell, mean_curve};
use super::depth::LEAST_LAYERS;
use super::rows::{by_layer, gamma};
use super::trace::{Curve, Movement};
use crate::Error;
use crate::sweep::Spread;

/// How the gates of a mode moved, over all groups and seeds.
#[derive(Serialize, Deserialize)]
struct Motion {
    mode: String,
    d: usize,
    gate: String,
    gates: usize,
    #[serde(rename = "moved from 1/2")]
    moved: Option<f64>,
    #[serde(rename = "moved, most")]
    most: Option<f64>,
    #[serde(rename = "length of path")]
    path: Option<f64>,
    #[serde(rename = "changes of direction")]
    flips: usize,
    #[serde(rename = "of")]
    pairs: usize,
}

impl SweepReport {
    pub(super) fn gates_section(&self) -> Result<Section, Error> {
        let cells = self.cells_with_runs();
        let gated: Vec<&Cell<'_>> =
            cells.iter().filter(|it| !gated_groups(it).is_empty()).collect();
        let section = Section::new("Gates");
        if gated.is_empty() {
            return Ok(section.prose("No finished run has gates: no mode learns its allocation."));
        }
        let mut section = section.prose(
            "Gamma is the share of its coordinates that a gate gives to B, of 1 all and of 0 none; every gate \
             begins at one half; “rest” is what belongs to no layer. First the gates as they are in the \
             artifacts, by seed.",
        );
        for cell in &gated {
            section = section.chart(heat_map(cell), "");
        }
        section =
            section.prose("Gates over the training: a line a group, the mean over the seeds.");
        for cell in &gated {
            section = section.chart(over_time(cell), "");
        }
        section = section.prose(
            "How far gates moved: from one half to the end of the training, on average and the one that moved \
             most; the length of their path from one evaluation to the next; and how many of the changes go \
             the other way than the change before. A gate whose gradient is noise goes to and fro and ends \
             where it began; one that learns has a path little longer than the way.",
        );
        let kinds = self.gate_kinds()?;
        let rows: Vec<Motion> =
            gated.iter().map(|cell| moved(cell, kinds[cell.place].clone())).collect();
        section = section.table(&Table::from_rows(&rows)?, "Over all gates and seeds");
        self.depth(section, &gated)
    }

    /// Of each mode, what its gate is.
    fn gate_kinds(&self) -> Result<Vec<String>, Error> {
        use subspace_projectors::AnyAllocation as Allocation;
        let runs = self.record.config.runs()?;
        let kind = |mode: &crate::SweepMode| {
            let run = runs.iter().find(|it| it.mode == mode.name)?;
            match &run.config.sublora.as_ref()?.allocation {
                Allocation::Learned(it) => Some(it.gate.name()),
                Allocation::LearnedShared(it) => Some(it.gate.name()),
                _ => None,
            }
        };
        let modes = self.record.config.modes.iter();
        Ok(modes.map(|mode| kind(mode).unwrap_or_default().to_owned()).collect())
    }

    fn depth(&self, section: Section, gated: &[&Cell<'_>]) -> Result<Section, Error> {
        let layers = |cell: &Cell<'_>| cell.runs.iter().map(|it| by_layer(it.0).len()).max();
        let most = gated.iter().filter_map(|it| layers(it)).max().unwrap_or(0);
        if most < LEAST_LAYERS {
            return Ok(section.prose(format!(
                "Gamma against depth: the models have {most} layers. Of fewer than {LEAST_LAYERS} a \
                 correlation means nothing (of two it is always 1 or −1), so there is none."
            )));
        }
        let section = gated.iter().fold(section, |section, cell| section.chart(by_depth(cell), ""));
        let section = section.prose(format!(
            "Correlation of gamma with the number of the layer, “rest” left out; from {LEAST_LAYERS} layers on. \
             The p of each is the share of the orders of the layers, the same for all seeds, in which it is as \
             large in size: seeds that agree are no further evidence of depth. The p are not adjusted for \
             the number of rows. An empty row has gates that are all the same."
        ));
        let rows = Table::from_rows(&self.depth_rows())?;
        Ok(section.table(&rows, "By seed and over all seeds"))
    }
}

/// The groups that have a gate in a finished run, in order.
fn gated_groups(cell: &Cell<'_>) -> BTreeSet<Group> {
    let gates = cell.runs.iter().filter_map(|(run, _)| run.compression.as_ref());
    gates.flat_map(|it| &it.gates).map(|it| it.group).collect()
}

/// Its colour: of a ramp by depth, the rest in that of text.
pub(super) fn look(group: Group, groups: usize) -> Look {
    match group {
        Group::Layer(layer) => Look::Ramp(f64::from(layer) / (groups as f64 - 2.0).max(1.0)),
        Group::Rest => Look::Ink,
    }
}

fn heat_map(cell: &Cell<'_>) -> Svg {
    let groups = gated_groups(cell);
    let of_group = |group: &Group| {
        let of_run = |run: &crate::RunRecord| gamma(run.compression.as_ref()?, *group);
        cell.runs.iter().map(|(run, _)| of_run(run)).collect()
    };
    let map = HeatMap {
        title: cell.name(),
        value_label: "gamma".to_owned(),
        column_label: "seed".to_owned(),
        rows: groups.iter().map(ToString::to_string).collect(),
        columns: cell.runs.iter().map(|(run, _)| run.seed.to_string()).collect(),
        values: groups.iter().map(of_group).collect(),
        scale: ColourScale::Diverging,
        range: Some((0.0, 1.0)),
        width: Size::HALF.width,
        ..HeatMap::default()
    };
    map.to_svg()
}

fn over_time(cell: &Cell<'_>) -> Svg {
    let groups: BTreeSet<Group> =
        cell.runs.iter().flat_map(|it| it.1.gates.keys().copied()).collect();
    let line = |group: &Group| {
        let curves = cell.runs.iter().filter_map(|(_, trace)| trace.gates.get(group)).cloned();
        let from_start = |curve: Curve| [(0, 0.5)].into_iter().chain(curve).collect();
        let points = mean_curve(&curves.map(from_start).collect::<Vec<Curve>>());
        Series::new(group.to_string(), Mark::Line, points).look(look(*group, groups.len()))
    };
    let chart = XyChart {
        title: cell.name(),
        x: Axis::linear("step"),
        y: Axis::linear("gamma"),
        series: groups.iter().map(line).collect(),
        references: vec![Reference::Horizontal { at: 0.5, label: String::new() }],
        size: Size::HALF,
    };
    chart.to_svg()
}

fn moved(cell: &Cell<'_>, gate: String) -> Motion {
    let curves: Vec<&Curve> = cell.runs.iter().flat_map(|it| it.1.gates.values()).collect();
    let movements: Vec<Movement> = curves.iter().map(|it| Movement::of(it)).collect();
    let ends = curves.iter().filter_map(|it| it.last()).map(|it| (it.1 - 0.5).abs());
    let ends: Vec<f64> = ends.collect();
    let mean = |values: &[f64]| Spread::of(values).map(|it| it.mean);
    Motion {
        mode: cell.mode.to_owned(),
        d: cell.intrinsic_dim,
        gate,
        gates: curves.len(),
        moved: mean(&ends),
        most: ends.iter().copied().reduce(f64::max),
        path: mean(&movements.iter().map(|it| it.path).collect::<Vec<_>>()),
        flips: movements.iter().map(|it| it.flips).sum(),
        pairs: movements.iter().map(|it| it.pairs).sum(),
    }
}

fn by_depth(cell: &Cell<'_>) -> Svg {
    let series = cell.runs.iter().map(|(run, _)| {
        let points = by_layer(run).into_iter().enumerate();
        let points = points.map(|(layer, y)| Point { x: layer as f64, y, ..Point::default() });
        Series::new(format!("seed {}", run.seed), Mark::LineAndPoints, points)
    });
    let layers = cell.runs.iter().map(|it| by_layer(it.0).len()).max().unwrap_or(0);
    let chart = XyChart {
        title: format!("{}: gamma by depth", cell.name()),
        x: Axis::linear("layer").with_ticks((0..layers).map(|it| it as f64)),
        y: Axis::linear("gamma"),
        series: series.collect(),
        ..XyChart::default()
    };
    chart.to_svg()
}
