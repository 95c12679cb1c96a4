//! `sublora schedule`.

use std::path::{Path, PathBuf};

use sublora::precision_schedule::{MatchedWidth, Widths};
use sublora::{Cost, RunCost, ScheduleReport, ScheduleStudy};

use crate::args::{Args, ScheduleArgs, ScheduleCommand};
use crate::commands::{Answer, read_config};
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, command: &ScheduleCommand) -> Result<Answer, Failure> {
    match command {
        ScheduleCommand::Table(schedule) => {
            let report = report(schedule)?;
            if args.json { Answer::json(&report) } else { Ok(Answer::done(tables(&report))) }
        }
        ScheduleCommand::Plot(plot) => {
            let page = page(&plot.out);
            report(&plot.schedule)?.write(&page)?;
            if args.json {
                Answer::json(&serde_json::json!({ "page": page }))
            } else {
                Ok(Answer::done(format!("report  {}", page.display())))
            }
        }
    }
}

fn report(schedule: &ScheduleArgs) -> Result<ScheduleReport, Failure> {
    let hint = "CONFIG is a TOML file like `configs/schedule-cpt.toml`";
    let text = read_config(&schedule.config, hint)?;
    let steps = schedule.steps.map(|steps| format!("steps={steps}"));
    let study = ScheduleStudy::parse(&text, steps.as_slice())?;
    warn(&study.precision.widths);
    Ok(study.report()?)
}

/// Says which widths have a cost but no quantiser here.
fn warn(widths: &Widths) {
    let beyond: Vec<String> = widths.beyond_simulation().map(|bits| bits.to_string()).collect();
    if !beyond.is_empty() {
        eprintln!(
            "hint: `widths` has {}; simulated quantisers have widths 1 to 16 and 32",
            beyond.join(" and ")
        );
    }
}

/// Where the page goes.
fn page(out: &Path) -> PathBuf {
    let is_file = out.extension().is_some_and(|it| it == "html") && !out.is_dir();
    if is_file { out.to_owned() } else { out.join("schedule.html") }
}

fn tables(report: &ScheduleReport) -> String {
    let settings = &report.settings;
    let widths = &settings.precision.widths;
    let mut usage = table::new(["bits", "steps", "share"]);
    for it in &report.usage {
        usage.add_row([it.bits.to_string(), it.steps.to_string(), format!("{:.4}", it.share)]);
    }
    format!(
        "{} over {} steps, {:.3} bits in the mean\n\n{usage}\n\n{}\n\
         a step is one multiply-accumulate with gradients of {} bits by CPT's meter, one sequence by the \
         network's\n\n{}\n\
         one sequence of {} tokens: MACs of the forward pass, BitOPs of a training step",
        settings.precision.schedule.name(),
        settings.steps,
        report.mean_bits,
        costs(report, widths.highest()),
        settings.gradient_bits,
        operations(report, widths),
        settings.model.seq,
    )
}

/// A line a meter.
fn costs(report: &ScheduleReport, highest: u32) -> comfy_table::Table {
    let mut table = table::new([
        "meter",
        "BitOPs",
        &format!("static {highest} bits"),
        "relative",
        "matched width",
        "width below",
        "width above",
    ]);
    for (meter, cost) in [("CPT's", &report.cpt), ("network's", &report.model)] {
        let RunCost { bitops, static_bitops, relative, matched } = cost;
        let matched = matched.map(|it| {
            let MatchedWidth { exact, below, above, cost_below, cost_above } = it;
            let whole = |bits, cost| format!("{bits} at {cost:.4}");
            [format!("{exact:.3}"), whole(below, cost_below), whole(above, cost_above)]
        });
        let first = [meter.to_owned(), count(*bitops), count(*static_bitops)];
        let last = matched.unwrap_or_else(|| ["-"; 3].map(str::to_owned));
        table.add_row(first.into_iter().chain([format!("{relative:.4}")]).chain(last));
    }
    table
}

/// A line an operation, a precision and for the whole network.
fn operations(report: &ScheduleReport, widths: &Widths) -> comfy_table::Table {
    let mut table = table::new([
        "operation",
        "count",
        "kind",
        "precision",
        "MACs",
        "share",
        &format!("BitOPs at {} bits", widths.lowest()),
        &format!("at {} bits", widths.highest()),
    ]);
    let mut row = |[name, copies, kind, precision]: [String; 4], cost: &Cost| {
        table.add_row([
            name,
            copies,
            kind,
            precision,
            count(cost.macs.into()),
            format!("{:.4}", cost.share),
            count(cost.bitops_at_lowest),
            count(cost.bitops_at_highest),
        ]);
    };
    let word = |it: &dyn std::fmt::Debug| format!("{it:?}").to_lowercase();
    for it in &report.operations {
        let what = [it.name.clone(), it.count.to_string(), word(&it.kind), word(&it.precision)];
        row(what, &it.cost);
    }
    let together = |precision| ["together".to_owned(), String::new(), String::new(), precision];
    for it in &report.parts {
        row(together(word(&it.precision)), &it.cost);
    }
    row(together("all".to_owned()), &report.total);
    table
}

/// A whole number, to four digits if it is large; `--json` has every digit.
fn count(number: u128) -> String {
    if number < 10_000_000 { number.to_string() } else { format!("{:.3e}", number as f64) }
}
