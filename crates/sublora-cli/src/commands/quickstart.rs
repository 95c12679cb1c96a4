//! `sublora quickstart`: the whole way on real text, and what it is worth.

use std::path::PathBuf;

use sublora::bounds::Unit;
use sublora::corpus::Source;
use sublora::{MetricName, Report, Row, cargo_sources, quickstart_config};

use crate::args::{Args, Base, Quickstart};
use crate::bars::Bars;
use crate::commands::{Answer, now};
use crate::failure::Failure;
use crate::{device, table};

/// Pins the versions of the default text.
const CARGO_LOCK: &str = include_str!("../../../../Cargo.lock");

pub(crate) fn run(args: &Args, quickstart: &Quickstart) -> Result<Answer, Failure> {
    if quickstart.out.exists() && !quickstart.resume {
        let message = format!("`{}` already exists", quickstart.out.display());
        let hint = "`--resume` goes on with it, `--out` names another folder";
        return Err(Failure::new(message, hint));
    }
    let has_corpus = quickstart.out.join("corpus").exists();
    if has_corpus && !quickstart.text.is_empty() {
        let message = format!("`{}` already holds the text it is about", quickstart.out.display());
        let hint = "leave `--text` out, or name another folder with `--out`";
        return Err(Failure::new(message, hint));
    }
    let sources = if has_corpus {
        Vec::new()
    } else if quickstart.text.is_empty() {
        let files = cargo_sources(CARGO_LOCK, &cargo_home()?).map_err(|error| {
            Failure::new(error, "`cargo fetch` brings them; `--text PATH` uses other text")
        })?;
        vec![Source::Files(files)]
    } else {
        quickstart.text.iter().map(Source::detect).collect::<Result<Vec<_>, _>>()?
    };
    let bars = Bars::new();
    let start = now();
    let report = sublora::Quickstart {
        out: quickstart.out.clone(),
        sources,
        config: quickstart_config(quickstart.base == Base::PriorSplit)?,
        device: device::open(&args.device)?,
        device_name: args.device.clone(),
        now: &now,
        progress: &bars,
        corpus_progress: &bars,
    }
    .run()?;
    if args.json {
        Answer::json(&report)
    } else {
        Ok(Answer::done(summary(&report, now() - start)))
    }
}

/// Where cargo unpacks the sources it builds from.
fn cargo_home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    home.ok_or_else(|| {
        Failure::new(
            "no home folder, so no cargo registry",
            "set `CARGO_HOME`, or use `--text PATH`",
        )
    })
}

fn summary(report: &Report, seconds: f64) -> String {
    let mut rows = table::new([
        "bits/byte, best bound of each",
        "held out, measured",
        "certified, new tokens",
        "certified, new documents",
        "top-1 error, new tokens",
        "code length (bits)",
    ]);
    let certified = |value: Option<f64>, vacuous_above: f64| match value {
        None => "-".to_owned(),
        Some(bound) if bound >= vacuous_above => format!("{} (vacuous)", table::rounded_up(bound)),
        Some(bound) => table::rounded_up(bound),
    };
    let above = |metric| {
        let claims = &report.certificate.bounds;
        claims.iter().find(|it| it.metric == metric).map_or(f64::INFINITY, |it| it.vacuous_above)
    };
    let (bits, error) = (above(MetricName::BitsPerToken), above(MetricName::TopKError));
    let held_out = |row: &Row| {
        row.held_out.map_or_else(|| "-".to_owned(), |it| format!("{:.4}", it.bits_per_token))
    };
    for row in &report.rows {
        rows.add_row([
            row.predictor.clone(),
            held_out(row),
            certified(row.token, bits),
            certified(row.document, bits),
            certified(row.top_1_error, error),
            row.code_length.to_string(),
        ]);
    }
    let lines = verdicts(report);
    let program = std::env::args().next().unwrap_or_else(|| "sublora".to_owned());
    let certificate_path = report.certificate_path.display();
    format!(
        "{}\n\n{rows}\n{}\n\
         took               {seconds:.0} s\n\n\
         corpus       {}\n\
         model        {}\n\
         certificate  {certificate_path}, verified\n\n\
         verify all:  {program} verify {certificate_path} --full",
        table::certificate(&report.certificate),
        lines.join("\n"),
        report.corpus_path.display(),
        report.artifact_path.display(),
    )
}

/// Whether the bounds say anything, and which simpler predictors certify better, said plainly.
fn verdicts(report: &Report) -> Vec<String> {
    let Some((_, simpler)) = report.rows.split_first() else { return Vec::new() };
    let columns = [("new tokens", Unit::Token), ("new documents", Unit::Document)];
    let lines = columns.into_iter().filter_map(|(column, unit)| {
        let ours = report.certificate.best(unit, MetricName::BitsPerToken, None)?;
        if ours.vacuous {
            let uniform = ours.vacuous_above;
            return Some(format!(
                "{column}: vacuous, nothing better than {uniform:.4} is certified"
            ));
        }
        let value = |row: &Row| if unit == Unit::Token { row.token } else { row.document };
        let better = simpler.iter().filter(|row| value(row).is_some_and(|it| it < ours.bound));
        let names: Vec<&str> = better.map(|row| row.predictor.as_str()).collect();
        Some(match names.as_slice() {
            [] => format!("{column}: no simpler predictor certifies better"),
            names => format!("{column}: certified better by {}", names.join(" and ")),
        })
    });
    lines.collect()
}
