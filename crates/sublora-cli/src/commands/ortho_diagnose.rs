//! `sublora ortho diagnose`, and what is said of splits.

use std::fmt::Write as _;

use sublora::Orientation;
use sublora::ortho::{
    CodingShares, LayerDiagnosis, OrthoDiagnosis, OrthoReport, RuleDiagnosis, Text,
};
use sublora::ortho_linear::{AnyBase, Cause, CodeWidth, Construction};

use crate::args::{Args, OrthoDiagnose, OrthoSettings};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, read_config};
use crate::failure::Failure;
use crate::{device, table};

pub(super) fn diagnose(args: &Args, diagnose: &OrthoDiagnose) -> Result<Answer, Failure> {
    let how = &diagnose.how;
    let settings = settings(how)?;
    let corpus = how.corpus.as_deref().map(corpora::open).transpose()?;
    let text = match &corpus {
        None => None,
        Some(corpus) => Some(Text { corpus, device: device::open(&args.device)? }),
    };
    let pretrained = how.pretrained.as_deref();
    let report = settings.run(&diagnose.checkpoint, pretrained, text.as_ref(), &Bars::new())?;
    if let Some(folder) = &diagnose.out {
        report.write(folder)?;
    }
    let answer = if args.json {
        Answer::json(&serde_json::json!({ "path": diagnose.out, "report": report }))?
    } else {
        let mut said = tables(&report, diagnose.detail);
        if let Some(folder) = &diagnose.out {
            let _ = write!(said, "\nreport   {}", folder.join("report.html").display());
        }
        Answer::done(said)
    };
    Ok(judged(answer, &report))
}

/// The answer as a no if a layer is refused.
pub(super) fn judged(answer: Answer, report: &OrthoReport) -> Answer {
    match report.refusal() {
        None => answer,
        Some(refusal) => answer.refused(Failure::new(refusal, &hint(report))),
    }
}

pub(super) fn settings(how: &OrthoSettings) -> Result<OrthoDiagnosis, Failure> {
    let hint = "CONFIG is a TOML file like `configs/ortho-diagnose.toml`";
    let text = match &how.config {
        None => String::new(),
        Some(path) => read_config(path, hint)?,
    };
    let mut settings =
        OrthoDiagnosis::parse(&text, &[]).map_err(|error| Failure::new(error, hint))?;
    settings.budget = how.budget.unwrap_or(settings.budget);
    settings.seed = how.seed.unwrap_or(settings.seed);
    settings.orientation = how.orientation.map_or(settings.orientation, Orientation::from);
    settings.skip.extend_from_slice(&how.skip);
    let split = &mut settings.split;
    split.construction = how.construction.map_or(split.construction, Into::into);
    split.storage = how.storage.map_or(split.storage, Into::into);
    if let Some(base) = &how.base {
        split.base = base.clone();
        if let (AnyBase::Mixed(mixed), Some(budget)) = (&mut split.base, how.budget) {
            mixed.budget = budget; // one that is built for more would only be refused
        }
    }
    if let Some(selection) = &how.select {
        split.selection = Some(selection.clone());
    }
    if how.base.is_some() && split.construction != Construction::Residual {
        let message = "`--base` is for `--construction residual`";
        return Err(Failure::new(message, "the others have numbers of the storage type as base"));
    }
    let mut overrides = Vec::new();
    if let Some(ratio) = how.ratio {
        split.selection.get_or_insert_default();
        overrides.push(format!("split.selection.ratio={ratio:?}"));
    }
    overrides.extend_from_slice(&how.set);
    settings.overridden(&overrides).map_err(|error| {
        let hint = "`--set split.base.KEY=VALUE` and `--set split.selection.KEY=VALUE` change what `--base` \
                    and `--select` name; of `--ratio`, selections by a threshold have none";
        Failure::new(error, hint)
    })
}

/// The way out for each cause there is.
fn hint(report: &OrthoReport) -> String {
    let is_mixed = matches!(report.settings.split.base, AnyBase::Mixed(_));
    let steps = if is_mixed {
        "steps: more bits, by a smaller `--set split.base.budget`"
    } else {
        "steps: more bits, as `--base int8`, or `--base mixed` for a budget"
    };
    let ways = [
        (Cause::Clipping, "clipping: a base that reaches the largest weights, as `--base int8`"),
        (Cause::Steps, steps),
        (Cause::Mask, "mask: another `--construction`, or a smaller `--ratio`"),
        (Cause::Outputs, "outputs: more inputs, as `--set tokens=4096`"),
    ];
    let is_there = |cause: Cause| report.refused().any(|it| it.1 == cause);
    let ways: Vec<_> = ways.into_iter().filter(|it| is_there(it.0)).map(|it| it.1).collect();
    ways.join("; ")
}

pub(super) fn tables(report: &OrthoReport, detail: bool) -> String {
    let mut parts = vec![
        format!(
            "{}: {} of {} tensors diagnosed\n{}",
            report.checkpoint,
            report.layers.len(),
            report.layers.len() + report.left_out.len(),
            report.split_in_words()
        ),
        channels(report).to_string(),
        bases(report).to_string(),
    ];
    if matches!(report.settings.split.base, AnyBase::Mixed(_)) {
        parts.push(widths(report).to_string());
    }
    if detail {
        parts.extend(report.layers.iter().map(|it| format!("{}\n\n{}", it.name, rules(it))));
    }
    if !report.left_out.is_empty() {
        let mut left_out = table::new(["left out", "shape", "type", "because"]);
        for it in &report.left_out {
            left_out.add_row([&it.name, &it.shape, &it.dtype, &it.reason]);
        }
        parts.push(left_out.to_string());
    }
    let [base, outliers] = report.bytes();
    parts.push(format!(
        "weights  {}\ninputs   {}\nbytes    bases {}, outliers {}; stored {}\nbudget   {} %",
        report.cast_in_words(),
        report.inputs_in_words(),
        table::count(base),
        table::count(outliers),
        table::count(report.stored_bytes()),
        percent(report.settings.budget),
    ));
    parts.join("\n\n")
}

/// Three digits behind the point, in percent, and no zero below zero.
pub(super) fn percent(share: f64) -> String {
    let thousandths = (1e5 * share).round() + 0.0;
    format!("{:.3}", 1e-3 * thousandths)
}

/// What the channels of each layer are like, and what rules for their scales do.
fn channels(report: &OrthoReport) -> comfy_table::Table {
    let base = &report.settings.split.base;
    let bits = if matches!(base, AnyBase::Int4(_)) { CodeWidth::Four } else { CodeWidth::Eight };
    let at = u8::from(bits);
    let mut table = table::new([
        "layer",
        "in x out",
        "near zero %",
        "Gaussian %",
        "heavy-tailed %",
        "light-tailed %",
        "rule of the base: error % (predicted)",
        &format!("best rule at {at} bits"),
        &format!("worst rule at {at} bits"),
    ]);
    let error = |it: &RuleDiagnosis| {
        let [measured, predicted] = [it.error.total.measured, it.error.total.predicted];
        format!("{}: {} ({})", it.rule, percent(measured), percent(predicted))
    };
    for layer in &report.layers {
        let shares = layer.channels;
        let [best, worst] =
            layer.best_and_worst_rule(bits).map_or_else(Default::default, |it| it.map(error));
        let share = |share: f64| format!("{:.1}", 100.0 * share);
        table.add_row([
            layer.name.clone(),
            format!("{} x {}", layer.shape[0], layer.shape[1]),
            share(shares.near_zero),
            share(shares.gaussian),
            share(shares.heavy_tailed),
            share(shares.light_tailed),
            layer.rule_of(base).map_or_else(|| "-".to_owned(), error),
            best,
            worst,
        ]);
    }
    table
}

/// What the base of each layer does alone.
fn bases(report: &OrthoReport) -> comfy_table::Table {
    let mut table = table::new([
        "layer",
        "alpha = 0, error % (predicted)",
        "clipping %",
        "steps %",
        "mask %",
        "shrinkage %",
        "random inputs %",
        "text %",
        "outliers %",
        "base bytes",
        "outlier bytes",
        "verdict",
    ]);
    for layer in &report.layers {
        let it = &layer.diagnosis;
        let predicted =
            layer.predicted.map_or_else(String::new, |it| format!(" ({})", percent(it)));
        table.add_row([
            layer.name.clone(),
            percent(it.error) + &predicted,
            percent(it.clipping),
            percent(it.steps),
            percent(it.mask),
            percent(it.shrinkage),
            percent(it.outputs),
            it.activations.map_or_else(|| "-".to_owned(), percent),
            percent(layer.density),
            table::count(layer.base_bytes),
            table::count(layer.outlier_bytes),
            verdict(layer, report),
        ]);
    }
    table
}

/// What a budget has bought.
fn widths(report: &OrthoReport) -> comfy_table::Table {
    let mut table =
        table::new(["layer", "channels at 4 bits %", "at 8 bits %", "fp16 %", "stored %"]);
    for layer in &report.layers {
        let CodingShares { int4, int8, fp16, stored } = layer.codings;
        let shares = [int4, int8, fp16, stored].map(|it| format!("{:.1}", 100.0 * it));
        table.add_row([vec![layer.name.clone()], shares.to_vec()].concat());
    }
    table
}

pub(super) fn verdict(layer: &LayerDiagnosis, report: &OrthoReport) -> String {
    let remark = layer.remark(&report.settings);
    if layer.cause().is_some() { format!("REFUSED, {remark}") } else { remark }
}

/// Every rule for the scales of a layer.
fn rules(layer: &LayerDiagnosis) -> comfy_table::Table {
    let mut table = table::new([
        "rule",
        "bits",
        "clipping, predicted %",
        "measured %",
        "error, predicted %",
        "measured %",
        "verdict",
    ]);
    for it in &layer.rules {
        let cause = it.cause.map_or_else(|| "pass".to_owned(), |cause| cause.to_string());
        table.add_row([
            if it.published { format!("{}, published", it.rule) } else { it.rule.to_string() },
            u8::from(it.bits).to_string(),
            percent(it.error.clip.predicted),
            percent(it.error.clip.measured),
            percent(it.error.total.predicted),
            percent(it.error.total.measured),
            cause,
        ]);
    }
    table
}
