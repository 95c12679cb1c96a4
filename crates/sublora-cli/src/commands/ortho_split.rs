//! `sublora ortho split`, and `eval` and `generate` of what it writes.

use std::collections::BTreeMap;

use sublora::EvaluateConfig;
use sublora::corpus::Corpus;
use sublora::ortho::{AlphaRecord, OrthoEvaluation, OrthoModel, OrthoReport, Text};
use sublora::ortho_linear::{Alpha, FILE_NAME};

use crate::args::{Args, Eval, Generate, OrthoSplit, StreamArgs};
use crate::bars::Bars;
use crate::commands::ortho_diagnose::{judged, percent, settings, tables, verdict};
use crate::commands::{Answer, corpora, now};
use crate::failure::Failure;
use crate::{device, table};

pub(super) fn split(args: &Args, split: &OrthoSplit) -> Result<Answer, Failure> {
    let how = &split.how;
    let settings = settings(how)?;
    let corpus = how.corpus.as_deref().map(corpora::open).transpose()?;
    let device = device::open(&args.device)?;
    let text = corpus.as_ref().map(|corpus| Text { corpus, device: device.clone() });
    let pretrained = how.pretrained.as_deref();
    let bars = Bars::new();
    let report =
        settings.split_gpt2(&split.gpt2, pretrained, text.as_ref(), &split.out, &device, &bars)?;
    let is_written = report.refusal().is_none();
    if is_written && report.is_inert() {
        eprintln!("warning: alpha has no effect: in no layer is there an outlier other than zero");
    }
    let answer = if args.json {
        let path = is_written.then_some(&split.out);
        Answer::json(&serde_json::json!({ "path": path, "report": report }))?
    } else if is_written {
        let parts = [
            format!("{}: {} layers split", report.checkpoint, report.layers.len()),
            report.split_in_words(),
            format!("\n{}\n", bytes(&report)),
            format!("folder   {}", split.out.display()),
        ];
        Answer::done(parts.join("\n"))
    } else {
        Answer::done(tables(&report, false))
    };
    Ok(judged(answer, &report))
}

/// What each layer takes in place of its stored matrix.
fn bytes(report: &OrthoReport) -> comfy_table::Table {
    let mut table = table::new([
        "layer",
        "in x out",
        "alpha = 0, error %",
        "outliers %",
        "base bytes",
        "outlier bytes",
        "stored bytes",
        "verdict",
    ]);
    for layer in &report.layers {
        table.add_row([
            layer.name.clone(),
            format!("{} x {}", layer.shape[0], layer.shape[1]),
            percent(layer.diagnosis.error),
            percent(layer.density),
            table::count(layer.base_bytes),
            table::count(layer.outlier_bytes),
            table::count(layer.stored_bytes(&report.settings)),
            verdict(layer, report),
        ]);
    }
    let [base, outliers] = report.bytes().map(table::count);
    let empty = String::new;
    let stored = table::count(report.stored_bytes());
    table.add_row(["all".to_owned(), empty(), empty(), empty(), base, outliers, stored, empty()]);
    table
}

/// Whether a model of bases and outliers is meant: by its folder, or by what was typed.
///
/// # Errors
/// Something typed that is for these alone, and another folder.
fn is_meant(
    folder: &std::path::Path,
    has_alpha: bool,
    streams: &StreamArgs,
) -> Result<bool, Failure> {
    let option = if has_alpha {
        Some("--alpha")
    } else if !streams.layer_alpha.is_empty() {
        Some("--layer-alpha")
    } else {
        streams.extrapolate.then_some("--extrapolate")
    };
    match option {
        _ if OrthoModel::stands_in(folder) => Ok(true),
        None => Ok(false),
        Some(option) => {
            let folder = folder.display();
            let message = format!("`{folder}` holds no `{FILE_NAME}`, expected one for `{option}`");
            Err(Failure::new(message, "`sublora ortho split GPT2 --out DIR` writes one"))
        }
    }
}

/// Whether [`eval`] is meant.
pub(crate) fn is_evaluated(eval: &Eval) -> Result<bool, Failure> {
    is_meant(&eval.run, !eval.alpha.is_empty(), &eval.streams)
}

/// `sublora eval` of a model of bases and outliers.
pub(crate) fn eval(args: &Args, eval: &Eval) -> Result<Answer, Failure> {
    if !eval.precision.is_empty() {
        let message = format!("`{}` holds bases and outliers", eval.run.display());
        let hint = "`--alpha` is for these; `--precision` for the GPT-2 they were made of";
        return Err(Failure::new(message, hint));
    }
    let alphas = if eval.alpha.is_empty() { &[0.0, 1.0][..] } else { &eval.alpha };
    let alphas = alphas.iter().map(|&it| alpha(it, &eval.streams)).collect::<Result<_, _>>()?;
    let layers = layers(&eval.streams)?;
    let corpus = corpora::open(&eval.corpus)?;
    let mut evaluate = EvaluateConfig { documents: eval.documents, ..EvaluateConfig::default() };
    if !eval.stride.is_empty() {
        evaluate.strides.clone_from(&eval.stride);
    }
    let model = OrthoModel::load(&eval.run, &device::open(&args.device)?)?;
    let (corpus, bars) = (&corpus, Bars::new());
    let evaluation =
        OrthoEvaluation { alphas, layers, evaluate, corpus, now: &now, progress: &bars };
    let records = evaluation.run(&model)?;
    if args.json { Answer::json(&records) } else { Ok(Answer::done(rows(&records))) }
}

fn rows(records: &[AlphaRecord]) -> String {
    let mut table =
        table::new(["alpha", "stride", "tokens", "nats/token", "perplexity", "seconds"]);
    for it in records {
        table.add_row([
            it.alpha.to_string(),
            it.stride.to_string(),
            it.tokens.to_string(),
            format!("{:.4}", it.nats_per_token),
            format!("{:.3}", it.perplexity),
            format!("{:.1}", it.seconds),
        ]);
    }
    let mut lines = vec![table.to_string()];
    if let Some(AlphaRecord { layers, documents, context, .. }) = records.first() {
        lines.extend(layers.iter().map(|it| format!("{:<18} alpha {} in all rows", it.0, it.1)));
        lines.push(format!("held-out text      {documents} documents, context {context}"));
    }
    lines.join("\n")
}

/// Whether [`generate`] is meant.
pub(crate) fn is_generated_from(generate: &Generate) -> Result<bool, Failure> {
    is_meant(&generate.run, generate.alpha.is_some(), &generate.streams)
}

/// Tokens of `sublora generate` from a model of bases and outliers.
pub(crate) fn generate(
    args: &Args,
    generate: &Generate,
    corpus: &Corpus,
    prompt: &[u32],
) -> Result<Vec<u32>, Failure> {
    let alpha = alpha(generate.alpha.unwrap_or(1.0), &generate.streams)?;
    let layers = layers(&generate.streams)?;
    let model = OrthoModel::load(&generate.run, &device::open(&args.device)?)?;
    model.set_alpha(alpha, &layers)?;
    let Generate { tokens, temperature, seed, .. } = *generate;
    Ok(model.generate(corpus, prompt, tokens, temperature, seed)?)
}

fn alpha(alpha: f32, streams: &StreamArgs) -> Result<Alpha, Failure> {
    let new = if streams.extrapolate { Alpha::extrapolated } else { Alpha::new };
    new(alpha).map_err(|error| {
        Failure::new(error, "`--extrapolate` takes every finite number, also below 0 and above 1")
    })
}

fn layers(streams: &StreamArgs) -> Result<BTreeMap<String, Alpha>, Failure> {
    let mut layers = BTreeMap::new();
    for own in &streams.layer_alpha {
        if layers.insert(own.layer.clone(), alpha(own.alpha, streams)?).is_some() {
            let message = format!("`--layer-alpha` has `{}` twice", own.layer);
            return Err(Failure::new(message, "a layer has one gain in every evaluation"));
        }
    }
    Ok(layers)
}
