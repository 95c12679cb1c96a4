//! Losses by width and method, and their paired differences.

use std::cmp::Reverse;

use quantizers::BitWidth;
use report::{
    Axis, CategorySeries, DotPlot, Estimate, Look, Mark, Point, Reference, Section, Series, Size,
    Svg, Table, TableView, XyChart, significant,
};
use serde::{Deserialize, Serialize};

use super::methods::{Learned, Method};
use super::{Difference, QatComparison, Verdict, WidthRow};
use crate::Error;
use crate::sweep_report::estimate;

/// What a person sees of a [`WidthRow`].
#[derive(Serialize, Deserialize)]
struct Shown {
    bits: u8,
    method: String,
    runs: usize,
    #[serde(rename = "nats per token")]
    nats: f64,
    nats_sd: Option<f64>,
    perplexity: f64,
    perplexity_sd: Option<f64>,
    #[serde(rename = "bits per weight")]
    bits_per_weight: f64,
    #[serde(rename = "own parameters")]
    own_parameters: u64,
    #[serde(rename = "GBitOPs per token")]
    giga_bit_ops: f64,
}

/// What a person sees of a [`Difference`].
#[derive(Serialize, Deserialize)]
struct Compared {
    method: String,
    beside: String,
    bits: u8,
    n: usize,
    difference: f64,
    #[serde(rename = "95 % from")]
    from: Option<f64>,
    to: Option<f64>,
    p: Option<f64>,
    #[serde(rename = "p (Holm)")]
    p_adjusted: Option<f64>,
    #[serde(rename = "training BitOPs, times")]
    bit_ops_ratio: Option<f64>,
    verdict: Verdict,
}

impl QatComparison {
    pub(super) fn loss_section(&self) -> Result<Section, Error> {
        let mut section = Section::new("Held-out loss by width").prose(format!(
            "Marks are means over the seeds, {}; bars reach from the lowest to the highest of them. A \
             family of runs at one width each has at every width the run that was trained at it.",
            self.seed_counts()
        ));
        section = section
            .chart(self.by_width("All methods", Learned::Nothing), "")
            .chart(self.by_width("Those that were trained", Learned::OneWidth), "")
            .prose(
                "Each width by itself, on an axis of its own. The dashed line is the unquantised base; \
                 it, and a method without training, are left out where they would leave no room for the \
                 rest.",
            );
        for bits in self.bits() {
            section = section.chart(self.dots(bits), "");
        }
        let mut others = Section::new("The same with other strides");
        for text in &self.texts {
            let rows: Vec<Shown> =
                self.widths.iter().filter(|it| it.stride == text.stride).map(shown).collect();
            let view = TableView::new(&Table::from_rows(&rows)?)
                .spread("nats per token", "nats_sd")?
                .spread("perplexity", "perplexity_sd")?;
            let caption = format!("{text}: mean ± standard deviation over the runs");
            if text.stride == self.stride() {
                section = section.table(view, caption);
            } else {
                others = others.table(view, caption);
            }
        }
        if self.texts.len() > 1 {
            section = section.details(others);
        }
        Ok(section.prose(
            "Bits per weight are of the quantised matrices, with their scales; own parameters are those \
             beside the base that a width uses: adapters, norms, trained scales. BitOPs are of a forward \
             pass, per token of a full context.",
        ))
    }

    /// How many seeds the methods have.
    fn seed_counts(&self) -> String {
        let methods = self.methods();
        let counts = || methods.iter().map(|it| it.seeds().len());
        match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
            (low, high) if low == high => format!("n = {low} for each method"),
            (low, high) => format!("n = {low} to {high}"),
        }
    }

    /// The loss of the unquantised base: that of a method without training, at 32 bits.
    pub(super) fn base_loss(&self) -> Option<f64> {
        let methods = self.methods();
        let untrained = methods.iter().find(|it| it.learned == Learned::Nothing)?;
        estimate(&untrained.nats(BitWidth::FULL, self.stride())).map(|it| it.value)
    }

    /// Of methods that learned at least so much.
    fn by_width(&self, title: &str, least: Learned) -> Svg {
        let bits = self.bits();
        let line = |method: &Method<'_>| {
            let point = |&bits: &BitWidth| {
                let Estimate { value, interval } = estimate(&method.nats(bits, self.stride()))?;
                // Side by side, so that intervals do not lie on one another.
                let x = f64::from(bits.get()) * 1.012_f64.powf(method.place as f64);
                let name = format!("{}, {bits} bits", method.name);
                Some(Point { x, y: value, y_interval: interval, name, ..Point::default() })
            };
            let points = bits.iter().filter_map(point);
            Series::new(method.name, Mark::LineAndPoints, points).look(method.look())
        };
        let base = self.base_loss().map(|at| Reference::Horizontal { at, label: base_label(at) });
        let chart = XyChart {
            title: title.to_owned(),
            x: Axis::log("bits").with_ticks(bits.iter().map(|it| f64::from(it.get()))),
            y: Axis::linear("held-out loss, nats per token"),
            series: self.methods().iter().filter(|it| it.learned >= least).map(line).collect(),
            references: base.into_iter().collect(),
            ..XyChart::default()
        };
        chart.to_svg()
    }

    /// One width.
    fn dots(&self, bits: BitWidth) -> Svg {
        let methods = self.methods();
        let nats = |method: &Method<'_>| method.nats(bits, self.stride());
        let is_trained = |it: &&Method<'_>| it.learned > Learned::Nothing;
        let trained: Vec<f64> = methods.iter().filter(is_trained).flat_map(nats).collect();
        let of = |method: &Method<'_>| {
            let estimate = estimate(&nats(method))?;
            let is_shown = is_trained(&method) || is_near(estimate.value, &trained);
            is_shown.then(|| (method.name.to_owned(), estimate))
        };
        let (names, values): (Vec<String>, Vec<Estimate>) = methods.iter().filter_map(of).unzip();
        let base = self.base_loss().filter(|&at| is_near(at, &trained));
        let means = CategorySeries::new("mean", values.into_iter().map(Some)).look(Look::Ink);
        let chart = DotPlot {
            title: format!("{bits} bits"),
            values: Axis::linear("held-out loss, nats per token"),
            categories: names,
            series: vec![means],
            reference: base.map(|at| (at, String::new())),
            width: Size::HALF.width,
        };
        chart.to_svg()
    }

    pub(super) fn difference_section(&self) -> Result<Section, Error> {
        let section = Section::new("Where it helps and where it hurts");
        let at_stride = |it: &&Difference| it.stride == self.stride();
        let rows: Vec<&Difference> = self.differences.iter().filter(at_stride).collect();
        if rows.is_empty() {
            return Ok(
                section.prose("There are no two methods of which one learned at more widths.")
            );
        }
        let mut section = section.prose(
            "A difference is the loss of a method less that of what it stands beside, of runs with the \
             same seed and so on the same base and in the same order of the text; below zero it helps. \
             Bars and intervals are of 95 %, by Student's distribution with n − 1 degrees of freedom, \
             which takes the differences for normal; they are not adjusted, p (Holm) is, for all tests in \
             the table. Training BitOPs are those of the method as a multiple of the other's at that \
             width, and a family of runs at one width each was trained anew for every width; they are \
             called about as many within 5 %.",
        );
        let mut references = self.methods();
        references.retain(|it| rows.iter().any(|row| row.reference == it.name));
        references.sort_by_key(|it| Reverse(it.learned));
        for reference in references {
            section = section.chart(self.difference_dots(&reference, &rows), "");
        }
        let shown: Vec<Compared> = rows.into_iter().map(compared).collect();
        let caption = "Differences in nats per token";
        Ok(section.table(&Table::from_rows(&shown)?, caption))
    }

    /// All methods beside `reference`.
    fn difference_dots(&self, reference: &Method<'_>, rows: &[&Difference]) -> Svg {
        let mut bits = self.bits();
        bits.retain(|&bits| reference.at(bits, self.stride()).next().is_some());
        let of = |method: &Method<'_>| {
            let at = |bits: &BitWidth| {
                let is_it = |it: &&&Difference| {
                    (it.method.as_str(), it.reference.as_str()) == (method.name, reference.name)
                        && it.bits == bits.get()
                };
                let row = rows.iter().find(is_it)?;
                Some(Estimate { value: row.difference, interval: row.low.zip(row.high) })
            };
            let values: Vec<Option<Estimate>> = bits.iter().map(at).collect();
            let series = CategorySeries::new(method.name, values).look(method.look());
            series.values.iter().any(Option::is_some).then_some(series)
        };
        let chart = DotPlot {
            title: format!("Beside “{}”", reference.name),
            values: Axis::linear("difference of the loss, nats per token"),
            categories: bits.iter().map(|it| format!("{it} bits")).collect(),
            series: self.methods().iter().filter_map(of).collect(),
            reference: Some((0.0, "no difference".to_owned())),
            ..DotPlot::default()
        };
        chart.to_svg()
    }
}

/// Whether an axis that reaches `at` leaves room for the differences of `values`.
pub(super) fn is_near(at: f64, values: &[f64]) -> bool {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.is_empty() || (low - at).max(at - high) <= 2.0 * (high - low)
}

fn base_label(at: f64) -> String {
    format!("unquantised base, {}", significant(at, 4))
}

fn shown(row: &WidthRow) -> Shown {
    Shown {
        bits: row.bits,
        method: row.method.clone(),
        runs: row.runs,
        nats: row.nats,
        nats_sd: row.nats_sd,
        perplexity: row.perplexity,
        perplexity_sd: row.perplexity_sd,
        bits_per_weight: row.bits_per_weight,
        own_parameters: row.own_parameters,
        giga_bit_ops: row.bit_ops_per_token / 1e9,
    }
}

fn compared(row: &Difference) -> Compared {
    Compared {
        method: row.method.clone(),
        beside: row.reference.clone(),
        bits: row.bits,
        n: row.pairs,
        difference: row.difference,
        from: row.low,
        to: row.high,
        p: row.p,
        p_adjusted: row.p_adjusted,
        bit_ops_ratio: row.bit_ops_ratio,
        verdict: row.verdict,
    }
}
