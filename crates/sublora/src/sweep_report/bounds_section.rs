//! Bounds by mode and budget, beside complexity, and in parts.

use bounds::Unit;
use report::{
    Axis, BarChart, CategorySeries, DotPlot, Estimate, Mark, Point, Section, Series, Size, Svg,
    Table, TableView, XyChart, significant,
};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, about, bits};
use super::rows::before_quantization;
use super::{ModeRow, SweepReport};
use crate::Error;
use crate::artifact::CodeLength;
use crate::sweep::RunRecord;

/// The least bound, and how it stands to the baseline.
#[derive(Serialize, Deserialize)]
struct Compared {
    mode: String,
    d: usize,
    seeds: usize,
    bound: Option<f64>,
    bound_sd: Option<f64>,
    difference: Option<f64>,
    #[serde(rename = "95 % from")]
    from: Option<f64>,
    to: Option<f64>,
    n: Option<usize>,
    t: Option<f64>,
    df: Option<usize>,
    #[serde(rename = "p (t)")]
    t_p: Option<f64>,
    #[serde(rename = "Holm")]
    t_p_adjusted: Option<f64>,
    #[serde(rename = "p (flips)")]
    flip_p: Option<f64>,
    #[serde(rename = "least p (flips)")]
    flip_p_least: Option<f64>,
    #[serde(rename = "Holm (flips)")]
    flip_p_adjusted: Option<f64>,
}

/// What a mode takes and gives beside its bound.
#[derive(Serialize, Deserialize)]
struct Cost {
    mode: String,
    d: usize,
    #[serde(rename = "held-out loss")]
    held_out: Option<f64>,
    held_out_sd: Option<f64>,
    #[serde(rename = "quantisation loss")]
    quantization: Option<f64>,
    quantization_sd: Option<f64>,
    #[serde(rename = "K (bits)")]
    code_length: Option<f64>,
    code_length_sd: Option<f64>,
    #[serde(rename = "K/d")]
    bits_per_coordinate: Option<f64>,
    #[serde(rename = "D/d")]
    ratio: Option<f64>,
    seconds: Option<f64>,
    seconds_sd: Option<f64>,
}

/// What a mean bound consists of.
#[derive(Serialize, Deserialize)]
struct Parts {
    mode: String,
    d: usize,
    #[serde(rename = "risk before quantisation")]
    risk: Option<f64>,
    #[serde(rename = "quantisation loss")]
    quantization: Option<f64>,
    complexity: Option<f64>,
    sampling: Option<f64>,
    bound: Option<f64>,
}

impl SweepReport {
    pub(super) fn bounds_section(&self) -> Result<Section, Error> {
        let mut section = Section::new("Bounds by mode and budget")
            .prose("Dots are means over the seeds, from the lowest to the highest of them.");
        for unit in self.levels() {
            let (chart, caption) = self.dots(unit);
            section = section.chart(chart, caption);
        }
        section = section.prose(self.test_prose());
        for unit in self.levels() {
            let level = unit.to_string();
            let of_level = || self.modes.iter().filter(|it| it.level == level && it.finished > 0);
            let rows: Vec<Compared> = of_level().map(compared).collect();
            let view = TableView::new(&Table::from_rows(&rows)?).spread("bound", "bound_sd")?;
            let caption = format!(
                "Bound for {}, bits per token: mean ± standard deviation; the lowest of all in bold",
                about(unit)
            );
            section = section.table(view.lowest("bound")?, caption);
        }
        let level = self.modes.first().map(|it| &it.level);
        let costs = self.modes.iter().filter(|it| Some(&it.level) == level && it.finished > 0);
        let costs: Vec<Cost> = costs.map(cost).collect();
        let view = TableView::new(&Table::from_rows(&costs)?)
            .spread("held-out loss", "held_out_sd")?
            .spread("quantisation loss", "quantization_sd")?
            .spread("K (bits)", "code_length_sd")?
            .spread("seconds", "seconds_sd")?;
        let caption =
            "What each mode takes and gives, losses in bits per token: mean ± standard deviation";
        Ok(section.table(view, caption))
    }

    fn test_prose(&self) -> String {
        let Some(baseline) = &self.baseline else {
            return "No mode is the one to compare with, so the columns of the tests are empty."
                .to_owned();
        };
        format!(
            "A difference is the bound of a mode less that of “{baseline}” of the same seed, n of them. p (t) \
             is of Student's paired test, which takes the differences for normal; p (flips) of the exact \
             test over all choices of their signs, which does not, and which n differences cannot bring below \
             2 to the power of 1 − n, the least p. Both are two-sided. Holm is the value adjusted for all \
             tests on this page; the interval of 95 % is not adjusted."
        )
    }

    fn dots(&self, unit: Unit) -> (Svg, String) {
        let cells = self.cells_with_runs();
        let budgets = &self.record.config.intrinsic_dim;
        let value = |run: &RunRecord| Some(bits(run, unit)?.bound);
        let series = self.record.config.modes.iter().enumerate().map(|(place, mode)| {
            let of_budget = |dim: &usize| {
                let cell = cells.iter().find(|it| it.place == place && it.intrinsic_dim == *dim)?;
                cell.estimate(value)
            };
            let look = report::Look::Number(place);
            CategorySeries::new(&mode.name, budgets.iter().map(of_budget)).look(look)
        });
        let ends: Vec<f64> = cells.iter().flat_map(|it| it.values(value)).collect();
        let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let vacuous = self.record.runs.iter().find_map(|it| Some(bits(it, unit)?.vacuous_above));
        // A line far off would leave no room for the differences.
        let is_near = |at: &f64| *at - high < 2.0 * (high - low);
        let reference = vacuous.filter(is_near);
        let caption = match (vacuous, reference) {
            (Some(at), Some(_)) => format!(
                "From {} bits per token on, a bound says nothing: that is the loss of the uniform predictor.",
                significant(at, 4)
            ),
            (Some(at), None) => format!(
                "All are well below {} bits per token, from where on a bound says nothing.",
                significant(at, 4)
            ),
            (None, _) => String::new(),
        };
        let chart = DotPlot {
            title: format!("Bound for {}", about(unit)),
            values: Axis::linear("bound, bits per token"),
            categories: budgets.iter().map(|it| format!("d = {it}")).collect(),
            series: series.collect(),
            reference: reference.map(|at| (at, "vacuous from here on".to_owned())),
            ..DotPlot::default()
        };
        (chart.to_svg(), caption)
    }

    pub(super) fn frontier_section(&self) -> Section {
        let section = Section::new("Complexity against risk").prose(
            "Each point is a mode at a budget, the mean over its seeds, with bars from the lowest to the \
             highest in both directions. The steps join the points than which none has both a shorter \
             code and a lower risk; whether two of them differ by more than chance is for the tests to say.",
        );
        self.levels()
            .into_iter()
            .fold(section, |section, unit| section.chart(self.frontier(unit), ""))
    }

    fn frontier(&self, unit: Unit) -> Svg {
        let cells = self.cells_with_runs();
        let point = |cell: &Cell<'_>| {
            let x = cell.estimate(|run| Some(run.code_length?.total() as f64))?;
            let y = cell.estimate(|run| Some(bits(run, unit)?.risk))?;
            let (x_interval, y_interval, name) = (x.interval, y.interval, cell.name());
            Some(Point { x: x.value, y: y.value, x_interval, y_interval, name })
        };
        let all = cells.iter().filter_map(point).map(|it| (it.x, it.y));
        let frontier = Series::frontier("Pareto frontier", all);
        let modes = self.record.config.modes.iter().enumerate();
        let series = modes.map(|(place, mode)| {
            let ours = cells.iter().filter(|it| it.place == place).filter_map(point);
            Series::new(&mode.name, Mark::Points, ours).look(report::Look::Number(place))
        });
        let chart = XyChart {
            title: format!("Risk on {} against code length", sampled(unit)),
            x: Axis::log("code length K, bits"),
            y: Axis::linear("empirical risk, bits per token"),
            series: series.chain([frontier]).collect(),
            size: Size { height: 460, ..Size::WIDE },
            ..XyChart::default()
        };
        chart.to_svg()
    }

    pub(super) fn parts_section(&self) -> Result<Section, Error> {
        let mut section = Section::new("What the bounds consist of").prose(
            "The risk, the complexity term (what the code of K bits costs) and the sampling term (what \
             scoring a sample in place of all costs) are those of the claim with the least bound of each run, \
             and sum to it. The risk is that of the decoded model. What quantising cost was measured on the \
             held-out windows of the training, not on the certified sample; the risk before quantisation is the \
             risk less this loss, and so an estimate. All are means over the seeds.",
        );
        for unit in self.levels() {
            let cells = self.cells_with_runs();
            let rows: Vec<Parts> = cells.iter().map(|cell| parts(cell, unit)).collect();
            section = section.chart(stacked(&cells, &rows, unit), "");
            let caption = format!("Parts of the bound for {}, bits per token", about(unit));
            section = section.table(&Table::from_rows(&rows)?, caption);
        }
        Ok(section.chart(
            self.code_lengths(),
            "What the code length K consists of, means over the seeds.",
        ))
    }

    fn code_lengths(&self) -> Svg {
        let cells = self.cells_with_runs();
        let part = |name: &str, value: fn(&CodeLength) -> u64| {
            let mean = |cell: &Cell<'_>| {
                let spread = cell.spread(|run| Some(value(run.code_length.as_ref()?) as f64));
                spread.map(|it| it.mean)
            };
            CategorySeries::new(name, cells.iter().map(mean))
        };
        let chart = BarChart {
            title: "Code length".to_owned(),
            value_label: "bits".to_owned(),
            categories: cells.iter().map(Cell::name).collect(),
            series: vec![
                part("coordinates", |it| it.symbols),
                part("codebook", |it| it.codebook),
                part("counts", |it| it.counts),
                part("header and padding", |it| it.header + it.padding),
                part("allocation", |it| it.allocation),
                part("choice among runs", |it| it.configuration),
            ],
            stacked: true,
            ..BarChart::default()
        };
        chart.to_svg()
    }
}

/// What the risk of a level is measured on.
fn sampled(unit: Unit) -> &'static str {
    match unit {
        Unit::Document => "documents",
        Unit::Token => "tokens",
    }
}

fn compared(row: &ModeRow) -> Compared {
    Compared {
        mode: row.mode.clone(),
        d: row.intrinsic_dim,
        seeds: row.finished,
        bound: row.bound,
        bound_sd: row.bound_sd,
        difference: row.difference,
        from: row.difference_low,
        to: row.difference_high,
        n: row.pairs,
        t: row.t,
        df: row.t_freedom,
        t_p: row.t_p,
        t_p_adjusted: row.t_p_adjusted,
        flip_p: row.sign_flip_p,
        flip_p_least: row.sign_flip_p_least,
        flip_p_adjusted: row.sign_flip_p_adjusted,
    }
}

fn cost(row: &ModeRow) -> Cost {
    Cost {
        mode: row.mode.clone(),
        d: row.intrinsic_dim,
        held_out: row.held_out,
        held_out_sd: row.held_out_sd,
        quantization: row.quantization_loss,
        quantization_sd: row.quantization_loss_sd,
        code_length: row.code_length,
        code_length_sd: row.code_length_sd,
        bits_per_coordinate: row.bits_per_coordinate,
        ratio: row.compression_ratio,
        seconds: row.seconds,
        seconds_sd: row.seconds_sd,
    }
}

fn parts(cell: &Cell<'_>, unit: Unit) -> Parts {
    let mean = |value: &dyn Fn(&RunRecord) -> Option<f64>| cell.spread(value).map(|it| it.mean);
    Parts {
        mode: cell.mode.to_owned(),
        d: cell.intrinsic_dim,
        risk: mean(&|run| before_quantization(run, bits(run, unit)?)),
        quantization: mean(&|run| Some(run.compression.as_ref()?.quantization_loss)),
        complexity: mean(&|run| Some(bits(run, unit)?.complexity_term)),
        sampling: mean(&|run| Some(bits(run, unit)?.sampling_term)),
        bound: mean(&|run| Some(bits(run, unit)?.bound)),
    }
}

fn stacked(cells: &[Cell<'_>], rows: &[Parts], unit: Unit) -> Svg {
    let part = |name: &str, value: fn(&Parts) -> Option<f64>| {
        CategorySeries::new(name, rows.iter().map(|it| value(it).map(Estimate::from)))
    };
    let chart = BarChart {
        title: format!("Parts of the bound for {}", about(unit)),
        value_label: "bits per token".to_owned(),
        categories: cells.iter().map(Cell::name).collect(),
        series: vec![
            part("risk before quantisation", |it| it.risk),
            part("quantisation loss", |it| it.quantization),
            part("complexity", |it| it.complexity),
            part("sampling", |it| it.sampling),
        ],
        stacked: true,
        ..BarChart::default()
    };
    chart.to_svg()
}
