//! Bounds of several ways to allocate a budget: over seeds, by layer, over time, and in parts.

use report::{
    Axis, BarChart, CategorySeries, ColourScale, DotPlot, Error, Estimate, HeatMap, Look, Mark,
    Point, Section, Series, Size, Svg, Table, TableView, XyChart,
};
use serde::{Deserialize, Serialize};

use crate::{noise, noise_at};

const MODES: [&str; 5] =
    ["uniform", "fixed, ratio 0.2", "fixed, ratio 0.5", "fixed, ratio 0.8", "learned"];
const BUDGETS: [u32; 3] = [1_000, 4_000, 16_000];
const SEEDS: usize = 3;

/// Code length and risk of a run.
fn run(mode: usize, budget: usize, seed: usize) -> (f64, f64) {
    let chance = |it: usize| noise(it + 7 * mode + 31 * budget + 101 * seed);
    let bits = f64::from(BUDGETS[budget]) * (4.2 - 0.15 * mode as f64 + 0.25 * chance(0));
    let off = [0.2, 0.0, 0.1, 0.3, -0.1][mode];
    (bits, 7.4 - 0.55 * budget as f64 + off + 0.08 * chance(1))
}

fn bound(mode: usize, budget: usize, seed: usize) -> f64 {
    let (bits, risk) = run(mode, budget, seed);
    risk + 0.35 + bits / 30_000.0
}

/// The mean of a quantity over the seeds, from the lowest to the highest of them.
fn over_seeds(value: impl Fn(usize) -> f64) -> Estimate {
    let values = || (0..SEEDS).map(&value);
    let interval =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    Estimate { value: values().sum::<f64>() / SEEDS as f64, interval: Some(interval) }
}

fn frontier(size: Size) -> Svg {
    let point = |mode: usize, budget: usize| {
        let x = over_seeds(|seed| run(mode, budget, seed).0);
        let y = over_seeds(|seed| run(mode, budget, seed).1);
        let name = format!("{}, d = {}", MODES[mode], BUDGETS[budget]);
        let (x_interval, y_interval) = (x.interval, y.interval);
        Point { x: x.value, y: y.value, x_interval, y_interval, name }
    };
    let of_mode = |mode| (0..BUDGETS.len()).map(move |budget| point(mode, budget));
    let all = (0..MODES.len()).flat_map(of_mode).map(|it| (it.x, it.y));
    let modes = MODES.iter().enumerate();
    XyChart {
        title: "Risk against complexity".to_owned(),
        x: Axis::log("code length, bits"),
        y: Axis::linear("empirical risk, bits per token"),
        series: modes
            .map(|(mode, name)| Series::new(*name, Mark::Points, of_mode(mode)))
            .chain([Series::frontier("Pareto frontier", all)])
            .collect(),
        size,
        ..Default::default()
    }
    .to_svg()
}

fn by_mode_and_budget() -> (Vec<String>, Vec<CategorySeries>) {
    let series = MODES.iter().enumerate().map(|(mode, name)| {
        let of_budget = |budget| Some(over_seeds(|seed| bound(mode, budget, seed)));
        CategorySeries::new(*name, (0..BUDGETS.len()).map(of_budget))
    });
    (BUDGETS.iter().map(|it| format!("d = {it}")).collect(), series.collect())
}

fn dots() -> Svg {
    let (categories, series) = by_mode_and_budget();
    DotPlot {
        title: "Bound by budget and mode".to_owned(),
        values: Axis::linear("bound, bits per token"),
        categories,
        series,
        reference: Some((8.0, "vacuous from here on".to_owned())),
        ..Default::default()
    }
    .to_svg()
}

fn bars() -> Svg {
    let (categories, series) = by_mode_and_budget();
    BarChart {
        title: "The same as bars".to_owned(),
        value_label: "bound, bits per token".to_owned(),
        categories,
        series,
        ..Default::default()
    }
    .to_svg()
}

fn layers() -> impl Iterator<Item = String> {
    (0..12).map(|it| format!("layer {it}")).chain(["misc".to_owned()])
}

/// The gate of a layer at a share of the training.
fn gate(layer: usize, seed: usize, share: f64) -> f64 {
    let end = 0.5 + 0.49 * noise(layer + 40 * seed);
    0.5 + (end - 0.5) * (1.0 - (-4.0 * share).exp()) + 0.01 * noise_at(layer as f64 + 900.0 * share)
}

fn gates(width: u32) -> Svg {
    HeatMap {
        title: "Gates by seed".to_owned(),
        value_label: "gamma".to_owned(),
        column_label: "seed".to_owned(),
        rows: layers().collect(),
        columns: (0..SEEDS).map(|it| it.to_string()).collect(),
        values: (0..13)
            .map(|it| (0..SEEDS).map(|seed| Some(gate(it, seed, 1.0))).collect())
            .collect(),
        scale: ColourScale::Sequential,
        range: Some((0.0, 1.0)),
        width,
        ..Default::default()
    }
    .to_svg()
}

fn gates_over_time() -> Svg {
    let steps = || (0..50).map(|it| 100 * it);
    HeatMap {
        title: "Gates over time".to_owned(),
        value_label: "gamma".to_owned(),
        column_label: "step".to_owned(),
        rows: layers().collect(),
        columns: steps().map(|it| it.to_string()).collect(),
        values: (0..13)
            .map(|it| steps().map(|step| Some(gate(it, 0, f64::from(step) / 5e3))).collect())
            .collect(),
        scale: ColourScale::Diverging,
        range: Some((0.0, 1.0)),
        ..Default::default()
    }
    .to_svg()
}

/// A line for each layer, in the colours of their order, and one for all other parameters.
fn by_layer(value: impl Fn(usize, u32) -> f64) -> Vec<Series> {
    let look = |layer| if layer < 12 { Look::Ramp(layer as f64 / 11.0) } else { Look::Ink };
    let line = |(layer, name)| {
        let points = (0..5_000).step_by(10).map(|step| (f64::from(step), value(layer, step)));
        Series::new(name, Mark::Line, points).look(look(layer))
    };
    layers().enumerate().map(line).collect()
}

fn gate_lines(size: Size) -> Svg {
    XyChart {
        title: "Gates".to_owned(),
        x: Axis::linear("step"),
        y: Axis::linear("gamma"),
        series: by_layer(|layer, step| gate(layer, 0, f64::from(step) / 5e3)),
        size,
        ..Default::default()
    }
    .to_svg()
}

fn gradient_norms(size: Size) -> Svg {
    XyChart {
        title: "Gradient norms".to_owned(),
        x: Axis::linear("step"),
        y: Axis::log("norm"),
        series: by_layer(|layer, step| {
            let decay = (1.0 + f64::from(step) / 50.0).powf(-0.7);
            1e-3 * 1.5_f64.powf(layer as f64) * decay * (1.0 + 0.1 * noise(layer + step as usize))
        }),
        size,
        ..Default::default()
    }
    .to_svg()
}

fn decomposition() -> Svg {
    let runs = || (0..BUDGETS.len()).flat_map(|budget| [0, 4].map(|mode| (mode, budget)));
    let series = |name: &str, value: fn(usize, usize) -> f64| {
        CategorySeries::new(name, runs().map(|(mode, budget)| Some(value(mode, budget))))
    };
    BarChart {
        title: "What the bound consists of".to_owned(),
        value_label: "bits per token".to_owned(),
        categories: runs()
            .map(|(mode, it)| format!("{}, d = {}", MODES[mode], BUDGETS[it]))
            .collect(),
        series: vec![
            series("risk", |mode, budget| run(mode, budget, 0).1),
            series("quantisation loss", |mode, _| 0.12 + 0.02 * mode as f64),
            series("complexity", |mode, budget| run(mode, budget, 0).0 / 30_000.0),
            series("sampling", |_, _| 0.21),
        ],
        stacked: true,
        ..Default::default()
    }
    .to_svg()
}

/// A row of the table.
#[derive(Serialize, Deserialize)]
struct Row {
    mode: String,
    d: u32,
    seeds: usize,
    bits: f64,
    bits_sd: f64,
    risk: f64,
    risk_sd: f64,
    bound: f64,
    bound_sd: f64,
}

/// The mean over the seeds, and the standard deviation.
fn moments(value: impl Fn(usize) -> f64) -> (f64, f64) {
    let mean = over_seeds(&value).value;
    let squares = (0..SEEDS).map(|seed| (value(seed) - mean).powi(2)).sum::<f64>();
    (mean, (squares / (SEEDS - 1) as f64).sqrt())
}

fn table() -> Result<TableView, Error> {
    let row = |(mode, budget): (usize, usize)| {
        let (bits, bits_sd) = moments(|seed| run(mode, budget, seed).0);
        let (risk, risk_sd) = moments(|seed| run(mode, budget, seed).1);
        let (bound, bound_sd) = moments(|seed| bound(mode, budget, seed));
        let (mode, d, seeds) = (MODES[mode].to_owned(), BUDGETS[budget], SEEDS);
        Row { mode, d, seeds, bits, bits_sd, risk, risk_sd, bound, bound_sd }
    };
    let runs = (0..BUDGETS.len()).flat_map(|budget| (0..MODES.len()).map(move |it| (it, budget)));
    let table = Table::from_rows(&runs.map(row).collect::<Vec<_>>())?;
    let view = TableView::new(&table).spread("bits", "bits_sd")?.spread("risk", "risk_sd")?;
    view.spread("bound", "bound_sd")?.lowest("bound")
}

pub(crate) fn sections() -> Result<[Section; 3], Error> {
    let high = Size { height: 460, ..Size::WIDE };
    let bounds = Section::new("Bounds")
        .chart(frontier(high), "Bars are from the lowest to the highest of three seeds.")
        .chart(dots(), "")
        .chart(bars(), "")
        .chart(decomposition(), "The sum stands after the bar.")
        .table(table()?, "Mean ± standard deviation over the seeds; the lowest bound in bold.");
    let gates = Section::new("Gates")
        .chart(gates(Size::HALF.width), "")
        .chart(frontier(Size::HALF), "The frontier in half the width.")
        .chart(gates_over_time(), "White is 0.5.");
    let lines = Section::new("Layers over time")
        .chart(gate_lines(Size::WIDE), "")
        .chart(gate_lines(Size::HALF), "")
        .chart(gradient_norms(Size::HALF), "")
        .chart(gradient_norms(Size::WIDE), "");
    Ok([bounds, gates, lines])
}
