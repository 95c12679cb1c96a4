//! Gradients, dimensions and losses.

use std::collections::BTreeSet;

use report::{
    Axis, BarChart, CategorySeries, Mark, Panel, Panels, Point, Section, Series, Size, Svg, Table,
    TableView, XyChart,
};
use serde::{Deserialize, Serialize};
use subspace_projectors::{Group, Side};

use super::SweepReport;
use super::cell::{Cell, estimate, mean_curve, shaded_curve};
use super::gates_section::look;
use super::rows::{dimensions, gamma, groups};
use super::trace::Curve;
use crate::Error;
use crate::sweep::Spread;

/// The gradients of a mode at the last evaluation.
#[derive(Serialize, Deserialize)]
struct Last {
    mode: String,
    d: usize,
    #[serde(rename = "A")]
    a: Option<f64>,
    #[serde(rename = "A sd")]
    a_sd: Option<f64>,
    #[serde(rename = "B")]
    b: Option<f64>,
    #[serde(rename = "B sd")]
    b_sd: Option<f64>,
    #[serde(rename = "B / A")]
    ratio: Option<f64>,
    #[serde(rename = "B / A sd")]
    ratio_sd: Option<f64>,
}

impl SweepReport {
    pub(super) fn gradients_section(&self) -> Result<Section, Error> {
        let cells = self.cells_with_runs();
        let section = Section::new("Gradients");
        if cells.iter().all(|cell| cell.runs.iter().all(|(_, trace)| trace.gradients.is_empty())) {
            return Ok(section.prose("No gradients of A and B were recorded."));
        }
        let mut section = section.prose(
            "The norm of the gradient that the coordinates receive from all A, and from all B, before any \
             gate, at every evaluation. Lines are means over the seeds. B begins at zero, so that A receives no gradient before B has moved.",
        );
        for &dim in &self.record.config.intrinsic_dim {
            let ours: Vec<&Cell<'_>> = cells.iter().filter(|it| it.intrinsic_dim == dim).collect();
            section = section.chart(norms(&ours, &format!("d = {dim}")), "");
        }
        let rows: Vec<Last> = cells.iter().map(last).collect();
        let view = TableView::new(&Table::from_rows(&rows)?)
            .spread("A", "A sd")?
            .spread("B", "B sd")?
            .spread("B / A", "B / A sd")?;
        section =
            section.table(view, "At the last evaluation: mean ± standard deviation over the seeds");
        let mut layers = Section::new("By group of parameters, every mode and budget");
        for cell in &cells {
            layers = layers.chart(by_group(cell, Side::A), "").chart(by_group(cell, Side::B), "");
        }
        section = section.details(layers);
        if let Some(chart) = against_gates(&cells) {
            let caption = "Each point is a group in a run: to the right B receives the larger gradient, and \
                           above one half its gate gives it more coordinates.";
            section = section.chart(chart, caption);
        }
        Ok(section)
    }

    pub(super) fn dimensions_section(&self) -> Section {
        let cells = self.cells_with_runs();
        let side = |name: &str, side: Side| {
            let total = |cell: &Cell<'_>| {
                cell.estimate(|run| {
                    let compression = run.compression.as_ref()?;
                    let of_group = |it| dimensions(compression, it, side);
                    Some(groups(compression).into_iter().filter_map(of_group).sum())
                })
            };
            CategorySeries::new(name, cells.iter().map(total))
        };
        let chart = BarChart {
            title: "Coordinates of A and of B".to_owned(),
            value_label: "effective dimensions".to_owned(),
            categories: cells.iter().map(Cell::name).collect(),
            series: vec![side("A", Side::A), side("B", Side::B)],
            stacked: true,
            ..BarChart::default()
        };
        let mut layers = Section::new("By group of parameters, every mode and budget");
        for cell in &cells {
            layers = layers.chart(dimensions_by_group(cell), "");
        }
        Section::new("Effective dimensions")
            .prose(
                "How many coordinates A and B have, in the artifacts, means over the seeds. A coordinate that \
                 moves both, as every one of a uniform allocation does, counts for each by its share of the parameters. \
                 A slice that is shared by all layers counts in each of them.",
            )
            .chart(chart.to_svg(), "")
            .details(layers)
    }

    pub(super) fn loss_section(&self) -> Section {
        let cells = self.cells_with_runs();
        let section = Section::new("Held-out loss over the training").prose(
            "Before quantisation: means over the seeds, shaded from the lowest to the highest.",
        );
        self.record.config.intrinsic_dim.iter().fold(section, |section, &dim| {
            let ours = cells.iter().filter(|it| it.intrinsic_dim == dim);
            let line = |cell: &Cell<'_>| {
                let curves = cell.runs.iter().map(|it| it.1.held_out.clone());
                let points = shaded_curve(&curves.collect::<Vec<Curve>>());
                Series::new(cell.mode, Mark::Line, points).look(cell.look())
            };
            let chart = XyChart {
                title: format!("d = {dim}"),
                x: Axis::linear("step"),
                y: Axis::linear("held-out loss, bits per token"),
                series: ours.map(line).collect(),
                ..XyChart::default()
            };
            section.chart(chart.to_svg(), "")
        })
    }
}

/// A and B over one another, a line a mode.
fn norms(cells: &[&Cell<'_>], title: &str) -> Svg {
    let panel = |name: &str, side: Side| {
        let line = |cell: &&Cell<'_>| {
            let curves = cell.runs.iter().map(|it| it.1.gradient(side)).collect::<Vec<Curve>>();
            // One entry of the legend for both panels.
            let name = if side == Side::A { cell.mode } else { "" };
            Series::new(name, Mark::Line, mean_curve(&curves)).look(cell.look())
        };
        Panel { y: Axis::log(name), series: cells.iter().map(line).collect(), ..Panel::default() }
    };
    let chart = Panels {
        title: title.to_owned(),
        x: Axis::linear("step"),
        panels: vec![panel("gradient from A", Side::A), panel("gradient from B", Side::B)],
        width: Size::HALF.width,
    };
    chart.to_svg()
}

fn last(cell: &Cell<'_>) -> Last {
    let of = |value: &dyn Fn(f64, f64) -> f64| {
        let ends = cell.runs.iter().filter_map(|(_, trace)| {
            let [a, b] = [Side::A, Side::B].map(|side| trace.gradient(side).last().map(|it| it.1));
            Some(value(a?, b?))
        });
        let spread = Spread::of(&ends.filter(|it| it.is_finite()).collect::<Vec<_>>());
        (spread.map(|it| it.mean), spread.and_then(|it| it.deviation))
    };
    let ((a, a_sd), (b, b_sd)) = (of(&|a, _| a), of(&|_, b| b));
    let (ratio, ratio_sd) = of(&|a, b| b / a);
    let (mode, d) = (cell.mode.to_owned(), cell.intrinsic_dim);
    Last { mode, d, a, a_sd, b, b_sd, ratio, ratio_sd }
}

fn by_group(cell: &Cell<'_>, side: Side) -> Svg {
    let keys = cell.runs.iter().flat_map(|it| it.1.gradients.keys());
    let groups: BTreeSet<Group> = keys.map(|it| it.0).collect();
    let line = |group: &Group| {
        let curves = cell.runs.iter().filter_map(|it| it.1.gradients.get(&(*group, side)));
        let points = mean_curve(&curves.cloned().collect::<Vec<Curve>>());
        Series::new(group.to_string(), Mark::Line, points).look(look(*group, groups.len()))
    };
    let chart = XyChart {
        title: format!("{}: {side}", cell.name()),
        x: Axis::linear("step"),
        y: Axis::log("norm of the gradient"),
        series: groups.iter().map(line).collect(),
        ..XyChart::default()
    };
    chart.to_svg()
}

/// Gates against the ratio of the gradients at the end of the training; none without gates.
fn against_gates(cells: &[Cell<'_>]) -> Option<Svg> {
    let points = |cell: &Cell<'_>| -> Vec<Point> {
        let of_run = |(run, trace): &(&crate::RunRecord, &super::trace::Trace)| {
            let compression = run.compression.as_ref()?;
            let point = |group: Group| {
                let [a, b] = [Side::A, Side::B].map(|side| trace.last_gradient(group, side));
                let name = format!("{}, {group}", run.name);
                Some(Point { x: b? / a?, y: gamma(compression, group)?, name, ..Point::default() })
            };
            Some(groups(compression).into_iter().filter_map(point).collect::<Vec<_>>())
        };
        cell.runs.iter().filter_map(of_run).flatten().collect()
    };
    let gated = cells.iter().map(|cell| (cell, points(cell))).filter(|it| !it.1.is_empty());
    let series: Vec<Series> = gated
        .enumerate()
        .map(|(place, (cell, points))| {
            Series::new(cell.name(), Mark::Points, points).look(report::Look::Number(place))
        })
        .collect();
    let chart = XyChart {
        title: "Gates against the ratio of the gradients at the end".to_owned(),
        x: Axis::log("gradient from B / gradient from A"),
        y: Axis::linear("gamma"),
        series,
        size: Size::WIDE,
        ..XyChart::default()
    };
    (!chart.series.is_empty()).then(|| chart.to_svg())
}

fn dimensions_by_group(cell: &Cell<'_>) -> Svg {
    let all = cell.runs.iter().filter_map(|(run, _)| run.compression.as_ref());
    let names: BTreeSet<Group> = all.flat_map(groups).collect();
    let side = |name: &str, side: Side| {
        let mean = |group: &Group| {
            let of = |run: &crate::RunRecord| dimensions(run.compression.as_ref()?, *group, side);
            estimate(&cell.values(of))
        };
        CategorySeries::new(name, names.iter().map(mean))
    };
    let chart = BarChart {
        title: cell.name(),
        value_label: "effective dimensions".to_owned(),
        categories: names.iter().map(ToString::to_string).collect(),
        series: vec![side("A", Side::A), side("B", Side::B)],
        stacked: true,
        width: Size::HALF.width,
    };
    chart.to_svg()
}
