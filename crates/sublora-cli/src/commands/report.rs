//! `sublora report`.

use std::path::Path;

use sublora::{Error, ModeRow, SweepReport, SweepSummary};

use crate::args::{Args, Report};
use crate::commands::Answer;
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, report: &Report) -> Result<Answer, Failure> {
    let folder = report.out.clone().unwrap_or_else(|| report.sweep.join("report"));
    let of_sweep = SweepReport::read(&report.sweep).map_err(failure)?;
    of_sweep.write(&folder)?;
    let (page, summary) = (folder.join("report.html"), of_sweep.summary());
    if args.json {
        let SweepSummary { findings, modes } = summary;
        Answer::json(&serde_json::json!({ "page": page, "findings": findings, "modes": modes }))
    } else {
        Ok(Answer::done(said(&summary, &page)))
    }
}

/// What is wrong with a sweep.
fn failure(error: Error) -> Failure {
    let hint = match error {
        Error::Unfinished { what: "sweep", .. } => {
            "SWEEP is the folder that `sublora sweep --out SWEEP` made"
        }
        Error::Unfinished { .. } | Error::Mismatch(_) | Error::Format { .. } => {
            "the `sublora sweep` that made the folder, with `--collect`, writes `sweep.json` anew"
        }
        Error::File(_) => "the folders of all finished runs have to be in that of the sweep",
        error => return error.into(),
    };
    Failure { hint: hint.to_owned(), ..error.into() }
}

/// The findings, and a line a level, budget and mode.
fn said(summary: &SweepSummary<'_>, page: &Path) -> String {
    let mut rows = table::new([
        "mode",
        "d",
        "level",
        "seeds",
        "bound",
        "difference",
        "p (t)",
        "p (flips)",
        "held out",
        "quantisation loss",
        "K (bits)",
    ]);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.4}"));
    let spread = |mean: Option<f64>, deviation: Option<f64>| match deviation {
        None => number(mean),
        Some(deviation) => format!("{} ± {deviation:.4}", number(mean)),
    };
    for it in summary.modes {
        let ModeRow { mode, intrinsic_dim, level, finished, .. } = it;
        rows.add_row([
            mode.clone(),
            intrinsic_dim.to_string(),
            level.clone(),
            finished.to_string(),
            spread(it.bound, it.bound_sd),
            number(it.difference),
            number(it.t_p_adjusted),
            number(it.sign_flip_p_adjusted),
            spread(it.held_out, it.held_out_sd),
            number(it.quantization_loss),
            it.code_length.map_or("-".to_owned(), |it| format!("{it:.1}")),
        ]);
    }
    let mut parts = vec![summary.findings.join("\n")];
    if !summary.modes.is_empty() {
        parts.push(format!(
            "{rows}\nmeans and standard deviations over seeds, in bits per token; p of paired tests, \
             adjusted (Holm)"
        ));
    }
    parts.push(format!("report  {}", page.display()));
    parts.join("\n\n")
}
