//! `sublora eval`, `generate`, `list` and `completions`.

use std::num::NonZeroU64;

use clap::CommandFactory as _;
use clap_complete::Shell;
use sublora::Run;
use sublora::bounds::AnyBound;
use sublora::corpus::{AnyTokenizer, Split};
use sublora::ortho_linear::{AnyBase, AnySelection};
use sublora::precision_schedule::AnyPrecisionSchedule;
use sublora::qat::{AnyDistillation, AnyQatMethod, QatRun};
use sublora::quantizers::{AnyCodebook, AnyGrid, AnyRange};
use sublora::spectral::AnyEstimator;
use sublora::subspace_projectors::{AnyAllocation, AnyGate, AnyProjector};

use crate::args::{Args, Eval, Family, Generate, Sample, SplitArg};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, open_run, ortho_split, qat};
use crate::failure::Failure;
use crate::table;

pub(crate) fn eval(args: &Args, eval: &Eval) -> Result<Answer, Failure> {
    let is_split = ortho_split::is_evaluated(eval)?;
    if is_split || !eval.precision.is_empty() || QatRun::stands_in(&eval.run) {
        if eval.split.is_some() || eval.blocks.is_some() {
            let message = "`--split` and `--blocks` are for a compressed model";
            let hint = "`--documents N` scores the first N held-out documents";
            return Err(Failure::new(message, hint));
        }
        return if is_split { ortho_split::eval(args, eval) } else { qat::eval(args, eval) };
    }
    if !eval.stride.is_empty() || eval.documents.is_some() {
        let message = "`--stride` and `--documents` are for `--precision` and `--alpha`";
        return Err(Failure::new(message, "`--blocks` says what is scored of a compressed model"));
    }
    let corpus = corpora::open(&eval.corpus)?;
    let bars = Bars::new();
    let run = open_run(args, &eval.run, Run::read_config(&eval.run, &[])?, &corpus, &bars)?;
    let split = match eval.split {
        None | Some(SplitArg::Val) => Split::Val,
        Some(SplitArg::Train) => Split::Train,
    };
    let blocks = eval.blocks.map_or(NonZeroU64::new(16), |Sample(blocks)| blocks);
    let Some(found) = run.held_out(&run.artifact()?, split, blocks)? else {
        let hint = "build it with `--val-fraction` above 0, or look at `--split train`";
        return Err(Failure::new("the corpus holds nothing out", hint));
    };
    if args.json {
        return Answer::json(&found);
    }
    let mut lines = vec![
        match blocks {
            None => format!("{} documents, all {} tokens", found.documents, found.tokens),
            Some(blocks) => format!(
                "{} documents, {blocks} blocks of each, {} tokens; `--blocks all` scores everything",
                found.documents, found.tokens
            ),
        },
        format!("mean over tokens     {:.4} bits per token", found.bits_per_token),
        format!("mean over documents  {:.4} bits per token", found.bits_per_token_of_a_document),
        format!("top-1 error          {:.4}", found.top_1_error),
    ];
    if split == Split::Val {
        let (bound, confidence) = (found.test_set_bound, 100.0 * found.confidence);
        let bound = table::rounded_up(bound);
        lines.push(format!(
            "test-set bound       {bound} bits per token of a new document, at {confidence} %"
        ));
    }
    Ok(Answer::done(lines.join("\n")))
}

pub(crate) fn generate(args: &Args, generate: &Generate) -> Result<Answer, Failure> {
    if !(generate.temperature >= 0.0 && generate.temperature.is_finite()) {
        let message = format!("`--temperature {}` is not 0 or more", generate.temperature);
        return Err(Failure::new(message, "0.8 is the default, 0 takes the likeliest token"));
    }
    let corpus = corpora::open(&generate.corpus)?;
    let tokenizer = corpora::tokenizer(&corpus, generate.tokenizer.as_deref())?;
    let mut tokens = Vec::new();
    tokenizer
        .encode(&generate.prompt, &mut tokens)
        .map_err(|error| Failure::new(error, "try another `--prompt`"))?;
    let drawn = if ortho_split::is_generated_from(generate)? {
        ortho_split::generate(args, generate, &corpus, &tokens)?
    } else {
        let (config, bars) = (Run::read_config(&generate.run, &[])?, Bars::new());
        let run = open_run(args, &generate.run, config, &corpus, &bars)?;
        let Generate { tokens: count, temperature, seed, .. } = *generate;
        run.generate(&run.artifact()?, &tokens, count, temperature, seed)?
    };
    let mut text = generate.prompt.clone().into_bytes();
    tokenizer.decode(&drawn, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    if args.json {
        Answer::json(&serde_json::json!({ "text": text }))
    } else {
        Ok(Answer::done(text))
    }
}

pub(crate) fn list(args: &Args, what: Option<Family>) -> Result<Answer, Failure> {
    let families: [(Family, Vec<(&str, &str)>); 14] = [
        (
            Family::Tokenizers,
            AnyTokenizer::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (
            Family::Projectors,
            AnyProjector::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (
            Family::Allocations,
            AnyAllocation::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (Family::Gates, AnyGate::all().iter().map(|it| (it.name(), it.about())).collect()),
        (Family::Codebooks, AnyCodebook::all().iter().map(|it| (it.name(), it.about())).collect()),
        (Family::Trainings, AnyQatMethod::all().iter().map(|it| (it.name(), it.about())).collect()),
        (
            Family::Distillations,
            AnyDistillation::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (
            Family::Schedules,
            AnyPrecisionSchedule::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (Family::Grids, AnyGrid::all().iter().map(|it| (it.name(), it.about())).collect()),
        (Family::Ranges, AnyRange::all().iter().map(|it| (it.name(), it.about())).collect()),
        (Family::Bases, AnyBase::all().iter().map(|it| (it.name(), it.about())).collect()),
        (
            Family::Selections,
            AnySelection::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (
            Family::Estimators,
            AnyEstimator::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (Family::Bounds, AnyBound::all().iter().map(|it| (it.name(), it.about())).collect()),
    ];
    let chosen = families.iter().filter(|(family, _)| what.is_none_or(|what| what == *family));
    if args.json {
        let entries = chosen.map(|(family, methods)| {
            let methods = methods.iter().map(|(name, about)| ((*name).to_owned(), (*about).into()));
            let methods: serde_json::Map<String, serde_json::Value> = methods.collect();
            (format!("{family:?}").to_lowercase(), methods.into())
        });
        return Answer::json(&entries.collect::<serde_json::Map<String, serde_json::Value>>());
    }
    let mut lines = Vec::new();
    for (family, methods) in chosen {
        lines.push(format!("{family:?}").to_lowercase());
        lines.extend(methods.iter().map(|(name, about)| format!("  {name:<22} {about}")));
    }
    Ok(Answer::done(lines.join("\n")))
}

pub(crate) fn completions(shell: Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "sublora", &mut script);
    Answer::done(String::from_utf8_lossy(&script))
}
