//! `sublora ortho sweep`.

use std::path::Path;

use sublora::unlearning::{Forgetting, UnlearningConfig, UnlearningReport, UnlearningStudy};

use crate::args::{Args, OrthoSweep};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, now, read_config};
use crate::failure::Failure;
use crate::{device, table};

pub(crate) fn run(args: &Args, sweep: &OrthoSweep) -> Result<Answer, Failure> {
    let hint = "`--config` names a TOML file like `configs/ortho-sweep.toml`";
    let mut overrides = sweep.set.clone();
    if !sweep.alpha.is_empty() {
        overrides.push(format!("alphas={:?}", sweep.alpha));
    }
    if sweep.extrapolate {
        overrides.push("extrapolate=true".to_owned());
    }
    let config = UnlearningConfig::parse(&read_config(&sweep.config, hint)?, &overrides)?;
    let corpus = corpora::open(&sweep.corpus)?;
    let tokenizer = corpora::tokenizer(&corpus, sweep.tokenizer.as_deref())?;
    let bars = Bars::new();
    let study = UnlearningStudy {
        folder: sweep.out.clone(),
        config,
        corpus: &corpus,
        tokenizer: tokenizer.as_ref(),
        device: device::open(&args.device)?,
        device_name: args.device.clone(),
        now: &now,
        progress: &bars,
    };
    study.run()?;
    let report = UnlearningReport::read(&sweep.out)?;
    let folder = sweep.out.join("report");
    report.write(&folder)?;
    let page = folder.join("report.html");
    if args.json {
        Answer::json(&serde_json::json!({
            "page": page,
            "findings": report.findings(),
            "sweep": report.sweep(),
            "streams": report.streams(),
            "quantized": report.quantized(),
        }))
    } else {
        Ok(Answer::done(said(&report, &page)))
    }
}

/// The findings, a line a split at alpha = 0, and a line a quantised model.
fn said(report: &UnlearningReport, page: &Path) -> String {
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    let spread = |mean: f64, deviation: Option<f64>| match deviation {
        None => percent(mean),
        Some(deviation) => format!("{} ± {}", percent(mean), percent(deviation)),
    };
    let size = |it: &Forgetting| it.ratio.map_or_else(String::new, percent);
    let mut splits = table::new([
        "mask, alpha = 0",
        "weights, %",
        "change, %",
        "forgotten, %",
        "recall, %",
        "facts, perplexity",
        "text, change %",
    ]);
    for it in report.sweep().iter().filter(|it| it.alpha == Some(0.0)) {
        splits.add_row([
            it.model.clone(),
            size(it),
            it.captured.map_or_else(String::new, percent),
            spread(it.forgotten, it.forgotten_sd),
            percent(it.recall),
            format!("{:.3}", it.forget_perplexity),
            spread(it.retain_change, it.retain_change_sd),
        ]);
    }
    let mut quantized = table::new([
        "model",
        "weights, %",
        "base",
        "forgotten, %",
        "recall, %",
        "text, perplexity",
        "moved, %",
    ]);
    for it in report.quantized() {
        quantized.add_row([
            it.model.clone(),
            size(&it),
            it.base.clone().unwrap_or_default(),
            spread(it.forgotten, it.forgotten_sd),
            spread(it.recall, it.recall_sd),
            format!("{:.3}", it.retain_perplexity),
            it.moved.map_or_else(String::new, percent),
        ]);
    }
    format!(
        "{}\n\n{splits}\n\n{quantized}\nmeans and standard deviations over seeds\n\nreport  {}",
        report.findings().join("\n"),
        page.display()
    )
}
