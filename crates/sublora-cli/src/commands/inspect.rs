//! `sublora eval`, `generate`, `list` and `completions`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use sublora::bounds::AnyBound;
use sublora::corpus::{AnyTokenizer, Tokenizer};
use sublora::quantizers::AnyCodebook;
use sublora::subspace_projectors::AnyProjector;
use sublora::{Artifact, Run};

use crate::args::{Args, Family, Generate, RunArgs};
use crate::bars::Bars;
use crate::commands::{corpora, open_run, print_json};
use crate::failure::Failure;

pub(crate) fn eval(args: &Args, run_args: &RunArgs) -> Result<ExitCode, Failure> {
    let corpus = corpora::open(&run_args.corpus)?;
    let bars = Bars::new();
    let run = open_run(args, &run_args.run, Run::read_config(&run_args.run)?, &corpus, &bars)?;
    let artifact = Artifact::read(&run.artifact_path())?;
    let Some(bits) = run.held_out(&artifact)? else {
        return Err(Failure::new("the corpus holds nothing out")
            .with_hint("build it with `--val-fraction` above 0"));
    };
    if args.json {
        print_json(&serde_json::json!({ "held_out_bits_per_token": bits }))?;
    } else {
        println!("held out: {bits:.4} bits per token");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn generate(args: &Args, generate: &Generate) -> Result<ExitCode, Failure> {
    if !(generate.temperature >= 0.0 && generate.temperature.is_finite()) {
        let message = format!("`--temperature {}` is not 0 or more", generate.temperature);
        return Err(Failure::new(message));
    }
    let corpus = corpora::open(&generate.corpus)?;
    let bars = Bars::new();
    let run = open_run(args, &generate.run, Run::read_config(&generate.run)?, &corpus, &bars)?;
    let identity = &corpus.manifest().tokenizer;
    let tokenizer: Box<dyn Tokenizer> = identity.name.parse::<AnyTokenizer>()?.as_dyn().load()?;
    let mut tokens = Vec::new();
    tokenizer.encode(&generate.prompt, &mut tokens).map_err(Failure::new)?;
    let artifact = Artifact::read(&run.artifact_path())?;
    let drawn =
        run.generate(&artifact, &tokens, generate.tokens, generate.temperature, generate.seed)?;
    let mut text = generate.prompt.clone().into_bytes();
    tokenizer.decode(&drawn, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    if args.json {
        print_json(&serde_json::json!({ "text": text }))?;
    } else {
        println!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn list(args: &Args, what: Option<Family>) -> Result<ExitCode, Failure> {
    let families: [(Family, Vec<(&str, &str)>); 4] = [
        (
            Family::Tokenizers,
            AnyTokenizer::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (
            Family::Projectors,
            AnyProjector::all().iter().map(|it| (it.name(), it.about())).collect(),
        ),
        (Family::Codebooks, AnyCodebook::all().iter().map(|it| (it.name(), it.about())).collect()),
        (Family::Bounds, AnyBound::all().iter().map(|it| (it.name(), it.about())).collect()),
    ];
    let chosen = families.iter().filter(|(family, _)| what.is_none_or(|what| what == *family));
    if args.json {
        let entries = chosen.map(|(family, methods)| {
            let methods = methods.iter().map(|(name, about)| ((*name).to_owned(), (*about).into()));
            let methods: serde_json::Map<String, serde_json::Value> = methods.collect();
            (format!("{family:?}").to_lowercase(), methods.into())
        });
        print_json(&entries.collect::<serde_json::Map<String, serde_json::Value>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    for (family, methods) in chosen {
        println!("{}", format!("{family:?}").to_lowercase());
        for (name, about) in methods {
            println!("  {name:<22} {about}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "sublora", &mut script);
    std::io::stdout().write_all(&script).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}
