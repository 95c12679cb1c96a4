//! `sublora qat compare`.

use std::path::{Path, PathBuf};

use sublora::Error;
use sublora::qat::{QatComparison, WidthRow};

use crate::args::{Args, QatCompare};
use crate::commands::Answer;
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, compare: &QatCompare) -> Result<Answer, Failure> {
    let folder = out(compare)?;
    let comparison = QatComparison::read(&compare.runs, &compare.label).map_err(failure)?;
    for run in comparison.left_out() {
        eprintln!("left out: `{}` is not over", run.display());
    }
    comparison.write(&folder)?;
    let page = folder.join("report.html");
    if args.json {
        Answer::json(&serde_json::json!({
            "page": page,
            "left_out": comparison.left_out().collect::<Vec<_>>(),
            "findings": comparison.findings(),
            "widths": comparison.widths(),
            "differences": comparison.differences(),
        }))
    } else {
        Ok(Answer::done(said(&comparison, &page)))
    }
}

/// Where the page goes.
fn out(compare: &QatCompare) -> Result<PathBuf, Failure> {
    match (&compare.out, &compare.runs[..]) {
        (Some(out), _) => Ok(out.clone()),
        (None, [suite]) => Ok(suite.join("report")),
        (None, runs) => {
            let message = format!("there is no `--out` for {} folders", runs.len());
            Err(Failure::new(message, "`--out DIR` says where the page goes"))
        }
    }
}

/// What is wrong with the runs.
fn failure(error: Error) -> Failure {
    let hint = match error {
        Error::Unfinished { what: "run that is over", .. } => {
            "`sublora qat suite`, or `qat cyclic` and the like with `--resume`, finishes runs"
        }
        Error::Unfinished { .. } => {
            "a run has a `qat.toml`; a suite has runs as LABEL/seed-N, as `sublora qat suite` makes them"
        }
        Error::Mismatch(_) => {
            "runs of one corpus, text and base are compared, those of a label on several seeds"
        }
        Error::Config(_) => "without `--label`, the folder above that of a run is its label",
        error => return error.into(),
    };
    Failure { hint: hint.to_owned(), ..error.into() }
}

/// The findings, and a line a stride, width and method.
fn said(comparison: &QatComparison, page: &Path) -> String {
    let mut rows = table::new([
        "method",
        "bits",
        "stride",
        "runs",
        "nats per token",
        "perplexity",
        "bits per weight",
    ]);
    let spread = |mean: f64, deviation: Option<f64>, digits: usize| match deviation {
        None => format!("{mean:.digits$}"),
        Some(deviation) => format!("{mean:.digits$} ± {deviation:.digits$}"),
    };
    for it in comparison.widths() {
        let WidthRow { method, bits, stride, runs, .. } = it;
        rows.add_row([
            method.clone(),
            bits.to_string(),
            stride.to_string(),
            runs.to_string(),
            spread(it.nats, it.nats_sd, 4),
            spread(it.perplexity, it.perplexity_sd, 2),
            format!("{:.3}", it.bits_per_weight),
        ]);
    }
    format!(
        "{}\n\n{rows}\nmeans and standard deviations over runs\n\nreport  {}",
        comparison.findings().join("\n"),
        page.display()
    )
}
