//! `sublora train` and `sublora compress`.

use sublora::{CodeLength, Run, RunConfig};

use crate::args::{Args, RunArgs, Train};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, open_run, read_config};
use crate::failure::Failure;

pub(crate) fn train(args: &Args, train: &Train) -> Result<Answer, Failure> {
    let hint = "`--config` names a TOML file like those in `configs/`";
    let text = read_config(&train.config, hint)?;
    let config = RunConfig::parse(&text, &train.set)?;
    let corpus = corpora::open(&train.corpus)?;
    let bars = Bars::new();
    let run = open_run(args, &train.out, config, &corpus, &bars)?;
    if train.resume && !train.out.join("config.toml").exists() {
        let message = format!("there is no run in `{}` to resume", train.out.display());
        return Err(Failure::new(message, "without `--resume` a new one begins"));
    }
    let outcome = run.train(train.resume)?;
    let bits = outcome.best_loss / std::f64::consts::LN_2;
    if args.json {
        Answer::json(&serde_json::json!({
            "best_step": outcome.best_step,
            "best_bits_per_token": bits,
            "steps": run.config.train.steps,
            "path": train.out,
        }))
    } else {
        let step = outcome.best_step;
        Ok(Answer::done(format!("best held-out loss {bits:.4} bits per token, at step {step}")))
    }
}

pub(crate) fn compress(args: &Args, run_args: &RunArgs) -> Result<Answer, Failure> {
    let corpus = corpora::open(&run_args.corpus)?;
    let bars = Bars::new();
    let config = Run::read_config(&run_args.run, &[])?;
    let run = open_run(args, &run_args.run, config, &corpus, &bars)?;
    let artifact = run.compress(true)?;
    let bits = CodeLength::of(&artifact, run.config.certify.configurations)?;
    if args.json {
        Answer::json(&serde_json::json!({
            "coordinates": artifact.payload.symbols().len(),
            "levels": artifact.payload.codebook().len(),
            "code_length": bits.total(),
            "bits": bits,
            "path": run.artifact_path(),
        }))
    } else {
        Ok(Answer::done(format!(
            "{} coordinates, {} levels, K = {} bits\n{}",
            artifact.payload.symbols().len(),
            artifact.payload.codebook().len(),
            bits.total(),
            run.artifact_path().display()
        )))
    }
}
