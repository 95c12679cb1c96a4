//! The report as a page that explains itself.

use std::path::Path;

use precision_schedule::{AttentionKernel, OperationKind};
use report::{
    Axis, BarChart, CategorySeries, Mark, Page, Point, Reference, Section, Series, Size, Table,
    XyChart, significant,
};
use serde::{Deserialize, Serialize};

use super::curve::{Changes, Curve, Stretch};
use super::{Cost, OperandPrecision, RunCost, ScheduleReport};
use crate::Error;
use crate::atomic::{self, FileError};

/// A meter and what the run costs by it.
#[derive(Serialize, Deserialize)]
struct MeterRow {
    meter: String,
    #[serde(rename = "BitOPs of the run")]
    bitops: f64,
    #[serde(rename = "static at the highest width")]
    static_bitops: f64,
    relative: f64,
    #[serde(rename = "matched width")]
    matched: Option<f64>,
    #[serde(rename = "width below")]
    below: Option<u32>,
    #[serde(rename = "cost below")]
    cost_below: Option<f64>,
    #[serde(rename = "width above")]
    above: Option<u32>,
    #[serde(rename = "cost above")]
    cost_above: Option<f64>,
}

/// An operation, or all of one precision, and what it costs.
#[derive(Serialize, Deserialize)]
struct OperationRow {
    operation: String,
    count: Option<u64>,
    kind: Option<OperationKind>,
    precision: Option<OperandPrecision>,
    #[serde(rename = "MACs")]
    macs: f64,
    share: f64,
    #[serde(rename = "BitOPs at the lowest width")]
    at_lowest: f64,
    #[serde(rename = "BitOPs at the highest width")]
    at_highest: f64,
}

impl ScheduleReport {
    /// Writes the page to the file `path`, whose folder is made if it is not there. Equal settings are
    /// equal bytes. Time in proportion to the steps.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let page = self.page()?.to_html();
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        Ok(atomic::write(path, page.as_bytes())?)
    }

    pub(super) fn page(&self) -> Result<Page, Error> {
        let (steps, [_, highest]) = (self.settings.steps, self.ends());
        let name = self.settings.precision.schedule.name();
        let mut page = Page::new(format!("Precision schedule “{name}” over {steps} steps"))
            .summary(format!(
                "Widths {}, {:.2} bits in the mean of the steps.",
                self.schedule.widths(),
                self.mean_bits
            ))
            .summary(format!(
                "By CPT's meter the run costs {:.4} of a static training at {highest} bits{}; by that of \
                 the network, {:.4}{}.",
                self.cpt.relative,
                matched(&self.cpt),
                self.model.relative,
                matched(&self.model),
            ))
            .key_figure("mean width", format!("{:.2} bits", self.mean_bits))
            .key_figure("relative cost, CPT's meter", format!("{:.4}", self.cpt.relative))
            .key_figure("relative cost of the network", format!("{:.4}", self.model.relative));
        for part in &self.parts {
            let label = match part.precision {
                OperandPrecision::Scheduled => "multiplications at the width of the step",
                OperandPrecision::Fixed => "multiplications at a fixed width",
                OperandPrecision::Full => "multiplications at full precision",
            };
            page = page.key_figure(label, format!("{:.1} %", 100.0 * part.cost.share));
        }
        Ok(page
            .section(self.width_section())
            .section(self.usage_section()?)
            .section(self.cost_section()?)
            .section(self.operations_section()?))
    }

    /// The lowest and the highest configured width.
    fn ends(&self) -> [u32; 2] {
        let widths = self.schedule.widths();
        [widths.lowest(), widths.highest()]
    }

    fn width_section(&self) -> Section {
        let section = Section::new("Width over the run");
        match Curve::of(&self.schedule) {
            Curve::Exact(changes) => {
                let changes = [by_step("width", &changes)];
                section.chart(self.chart("Every change of the width", changes), "")
            }
            Curve::Dense { beginning, stretches } => {
                let count = stretches.len();
                let whole = format!("The whole run, in {count} stretches");
                let ranges = [in_stretches(&stretches)];
                let first = format!("The first {} changes", beginning.len() - 1);
                section
                    .prose(
                        "The width changes more often than a chart of the whole run can show. The band is \
                         from the lowest to the highest width of a stretch, the line their mean.",
                    )
                    .chart(self.chart(&whole, ranges), "")
                    .chart(self.chart(&first, [by_step("width", &beginning)]), "")
            }
        }
    }

    fn chart(&self, title: &str, series: [Series; 1]) -> report::Svg {
        let widths = self.schedule.widths().as_slice();
        let reference = self.cpt.matched.map(|it| Reference::Horizontal {
            at: it.exact,
            label: format!("static at the same cost by CPT's meter: {:.2} bits", it.exact),
        });
        XyChart {
            title: title.to_owned(),
            x: Axis::linear("step"),
            y: Axis::linear("bits").with_ticks(widths.iter().map(|&it| f64::from(it))),
            series: series.into(),
            references: reference.into_iter().collect(),
            size: Size::WIDE,
        }
        .to_svg()
    }

    fn usage_section(&self) -> Result<Section, Error> {
        let steps = self.usage.iter().map(|it| Some(it.steps as f64));
        let chart = BarChart {
            value_label: "steps".to_owned(),
            categories: self.usage.iter().map(|it| format!("{} bits", it.bits)).collect(),
            series: vec![CategorySeries::new("steps", steps)],
            ..BarChart::default()
        };
        let table = Table::from_rows(&self.usage)?;
        Ok(Section::new("Steps at each width").chart(chart.to_svg(), "").table(&table, ""))
    }

    fn cost_section(&self) -> Result<Section, Error> {
        let row = |meter: &str, it: &RunCost| MeterRow {
            meter: meter.to_owned(),
            bitops: it.bitops as f64,
            static_bitops: it.static_bitops as f64,
            relative: it.relative,
            matched: it.matched.map(|it| it.exact),
            below: it.matched.map(|it| it.below),
            cost_below: it.matched.map(|it| it.cost_below),
            above: it.matched.map(|it| it.above),
            cost_above: it.matched.map(|it| it.cost_above),
        };
        let rows = [row("CPT's", &self.cpt), row("of the network", &self.model)];
        Ok(Section::new("What the run costs")
            .prose(format!(
                "BitOPs are multiplications times the widths of both factors. CPT's meter is of one \
                 multiply-accumulate a step, with weights and activations at the width of the step and \
                 gradients of {} bits. That of the network is of one sequence of {} tokens a step; a batch \
                 costs a multiple of it.",
                self.settings.gradient_bits, self.settings.model.seq
            ))
            .table(
                &Table::from_rows(&rows)?,
                "Relative: to the static training at the highest width",
            )
            .prose(
                "The matched width is that of a static training of the same length and cost, with which \
                 the schedule has to be compared. Beside it are the whole widths below and above, with \
                 their costs in relation to the schedule's.",
            ))
    }

    fn operations_section(&self) -> Result<Section, Error> {
        let row = |operation: &str, cost: &Cost| OperationRow {
            operation: operation.to_owned(),
            count: None,
            kind: None,
            precision: None,
            macs: cost.macs as f64,
            share: cost.share,
            at_lowest: cost.bitops_at_lowest as f64,
            at_highest: cost.bitops_at_highest as f64,
        };
        let operations = self.operations.iter().map(|it| OperationRow {
            count: Some(it.count),
            kind: Some(it.kind),
            precision: Some(it.precision),
            ..row(&it.name, &it.cost)
        });
        let parts = self
            .parts
            .iter()
            .map(|it| OperationRow { precision: Some(it.precision), ..row("together", &it.cost) });
        let all = operations.chain(parts).chain([row("all", &self.total)]);
        let [lowest, highest] = self.ends();
        let kernel = match self.settings.model.attention {
            AttentionKernel::Dense => "all scores",
            AttentionKernel::Causal => "the scores that the mask leaves",
        };
        Ok(Section::new("What the operations cost")
            .prose(format!(
                "One sequence: multiply-accumulates (MACs) of the forward pass, BitOPs of the forward and \
                 the backward pass at {lowest} and at {highest} bits. Operations of all blocks are added \
                 up. Attention computes {kernel}.",
            ))
            .prose(
                "What is scheduled has an operand at the width of the step; what is fixed, one below 32 \
                 bits that no schedule changes; everything else is at full precision.",
            )
            .table(&Table::from_rows(&all.collect::<Vec<_>>())?, ""))
    }
}

fn by_step(name: &str, changes: &Changes) -> Series {
    let points = changes.iter().map(|&(step, bits)| (step as f64, f64::from(bits)));
    Series::new(name, Mark::Steps, points)
}

fn in_stretches(stretches: &[Stretch]) -> Series {
    let points = stretches.iter().map(|it| Point {
        x: it.from as f64,
        y: it.mean,
        y_interval: Some((f64::from(it.lowest), f64::from(it.highest))),
        ..Point::default()
    });
    Series::new("mean width, and its range", Mark::Line, points)
}

/// The static training that costs as much, in words.
fn matched(cost: &RunCost) -> String {
    let exact = cost.matched.map(|it| significant(it.exact, 3));
    exact.map_or_else(String::new, |it| format!(", as much as {it} bits throughout"))
}
