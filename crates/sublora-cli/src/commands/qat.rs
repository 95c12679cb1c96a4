//! `sublora qat` and `sublora eval --precision`.

use std::path::{Path, PathBuf};

use sublora::corpus::Corpus;
use sublora::precision_schedule::{Evidence, Verdict};
use sublora::qat::{AnyQatMethod, QatConfig, QatRecord, QatRun, QatSuite, SuiteRun, finished};
use sublora::quantizers::BitWidth;
use sublora::{BaseConfig, ModelConfig};

use crate::args::{
    Args, Eval, Qat, QatCyclic, QatParameters, QatRangeTest, QatSuiteArgs, QatTrain,
};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, now, qat_compare, read_config};
use crate::failure::Failure;
use crate::{device, table};

pub(crate) fn run(args: &Args, command: &Qat) -> Result<Answer, Failure> {
    match command {
        Qat::Switchable(train) => {
            trained(args, train, &["post-training", "switchable", "mergeable"], "cyclic", false)
        }
        Qat::Cyclic(QatCyclic { train, range_test }) => {
            trained(args, train, &["cyclic"], "switchable", *range_test)
        }
        Qat::RangeTest(test) => range_test(args, test),
        Qat::Parameters(parameters) => self::parameters(args, parameters),
        Qat::Suite(suite) => self::suite(args, suite),
        Qat::Compare(compare) => qat_compare::run(args, compare),
    }
}

fn trained(
    args: &Args,
    train: &QatTrain,
    kinds: &[&str],
    other: &str,
    test_range: bool,
) -> Result<Answer, Failure> {
    let config = QatConfig::parse(&read(&train.config)?, &train.set)?;
    let kind = config.method.name();
    if !kinds.contains(&kind) {
        let message = format!("`method.kind` is {kind}, expected one of {}", kinds.join(", "));
        return Err(Failure::new(message, &format!("`sublora qat {other}` trains this one")));
    }
    let corpus = corpora::open(&train.corpus)?;
    let bars = Bars::new();
    if train.resume && !QatRun::stands_in(&train.out) {
        let message = format!("there is no run in `{}` to resume", train.out.display());
        return Err(Failure::new(message, "without `--resume` a new one begins"));
    }
    // A run that goes on does what it began, also where a range test had chosen its widths.
    let config = if train.resume { tested(config, &train.out)? } else { config };
    let mut run = open(args, &train.out, config, &corpus, &bars)?;
    if test_range {
        let (tested, verdict) = run.between_tested_widths()?;
        if verdict.range.is_err() {
            return Ok(Answer { yes: false, ..Answer::done(told(&verdict)) });
        }
        eprintln!("{}", told(&verdict));
        run = tested;
    }
    let record = run.run(train.resume)?;
    if args.json { Answer::json(&record) } else { Ok(Answer::done(summary(&record))) }
}

/// `config` with the widths of the schedule that the run in `folder` has.
fn tested(mut config: QatConfig, folder: &Path) -> Result<QatConfig, Failure> {
    let begun = QatRun::read_config(folder, &[])?;
    if let (AnyQatMethod::Cyclic(ours), AnyQatMethod::Cyclic(begun)) =
        (&mut config.method, begun.method)
    {
        ours.precision.widths = begun.precision.widths;
    }
    Ok(config)
}

fn read(path: &Path) -> Result<String, Failure> {
    read_config(path, "`--config` names a TOML file like those in `configs/`")
}

fn open<'a>(
    args: &Args,
    folder: &Path,
    config: QatConfig,
    corpus: &'a Corpus,
    bars: &'a Bars,
) -> Result<QatRun<'a>, Failure> {
    Ok(QatRun {
        folder: folder.to_owned(),
        pretraining: None,
        config,
        corpus,
        device: device::open(&args.device)?,
        device_name: args.device.clone(),
        now: &now,
        progress: bars,
    })
}

fn summary(record: &QatRecord) -> String {
    let widths = table::widths(&record.widths);
    let Some(training) = &record.training else { return widths };
    let passes = training.passes.iter().map(|(bits, passes)| format!("{passes} at {bits} bits"));
    let passes: Vec<String> = passes.collect();
    format!(
        "{widths}\n\
         training           {} steps of {} tokens: {}\n\
         trained            {} parameters, {:.4e} BitOPs",
        training.steps,
        training.tokens_per_step,
        passes.join(", "),
        training.parameters,
        training.bit_ops,
    )
}

fn parameters(args: &Args, parameters: &QatParameters) -> Result<Answer, Failure> {
    let config = QatConfig::parse(&read(&parameters.config)?, &parameters.set)?;
    let shape = match &config.base {
        BaseConfig::Checkpoint { path } => {
            sublora::read_shape(path).map_err(sublora::Error::from)?
        }
        _ => config.model.shape(parameters.vocabulary).map_err(sublora::Error::from)?,
    };
    let counts = config.parameter_counts(&shape)?;
    if args.json { Answer::json(&counts) } else { Ok(Answer::done(table::parameters(&counts))) }
}

fn range_test(args: &Args, test: &QatRangeTest) -> Result<Answer, Failure> {
    let config = QatConfig::parse(&read(&test.config)?, &test.set)?;
    let corpus = corpora::open(&test.corpus)?;
    let bars = Bars::new();
    let probes = config.range_test.probes();
    let steps = config.range_test.iterations.saturating_mul(probes.len() as u64);
    if !args.json {
        eprintln!("{} probes, {steps} training steps in all: {probes:?} bits", probes.len());
    }
    let verdict = open(args, &test.out, config, &corpus, &bars)?.range_test()?;
    let text = if args.json {
        let json = Answer::json(&as_json(&verdict))?;
        json.text
    } else {
        told(&verdict)
    };
    Ok(Answer { yes: verdict.range.is_ok(), ..Answer::done(text) })
}

fn as_json(verdict: &Verdict) -> serde_json::Value {
    let evidence = verdict.evidence.iter().map(|Evidence { bits, curve, gain }| {
        serde_json::json!({
            "bits": bits,
            "gain": gain.map(|it| it.value),
            "standard_error": gain.map(|it| it.standard_error),
            "curve": curve,
        })
    });
    let evidence: Vec<_> = evidence.collect();
    match &verdict.range {
        Ok(range) => serde_json::json!({
            "lower": range.lower,
            "upper": range.upper,
            "threshold": range.threshold,
            "evidence": evidence,
        }),
        Err(undecided) => {
            serde_json::json!({ "undecided": undecided.to_string(), "evidence": evidence })
        }
    }
}

fn told(verdict: &Verdict) -> String {
    let mut table = table::new(["bits", "gain, nats a step", "standard error", "first", "last"]);
    for Evidence { bits, curve, gain } in &verdict.evidence {
        let of = |value: Option<f64>| value.map_or_else(|| "none".into(), |it| format!("{it:.3e}"));
        let loss = |value: Option<&f64>| value.map_or_else(String::new, |it| format!("{it:.4}"));
        table.add_row([
            bits.to_string(),
            of(gain.map(|it| it.value)),
            of(gain.map(|it| it.standard_error)),
            loss(curve.first()),
            loss(curve.last()),
        ]);
    }
    let answer = match &verdict.range {
        Ok(range) => format!(
            "range              {} to {} bits: the first gain of at least {:.3e}",
            range.lower, range.upper, range.threshold
        ),
        Err(undecided) => format!("no range           {undecided}"),
    };
    format!("{table}\n{answer}")
}

fn suite(args: &Args, suite: &QatSuiteArgs) -> Result<Answer, Failure> {
    let settings = QatSuite::parse(&read(&suite.config)?, &suite.set)?;
    let corpus = corpora::open(&suite.corpus)?;
    let vocab_size = corpus.manifest().tokenizer.vocab_size as usize;
    let runs = settings.runs(vocab_size)?;
    settings.open(&suite.out)?;
    let bars = Bars::new();
    for (place, SuiteRun { folder, pretraining, config }) in runs.iter().enumerate() {
        let folder = suite.out.join(folder);
        if finished(&folder, &corpus)?.is_some() {
            continue;
        }
        eprintln!("run {} of {}: {}", place + 1, runs.len(), folder.display());
        let mut run = open(args, &folder, config.clone(), &corpus, &bars)?;
        run.pretraining = Some(suite.out.join(pretraining));
        run.run(QatRun::stands_in(&folder))?;
    }
    let out = suite.out.display();
    Ok(Answer::done(format!(
        "{} runs in `{out}`; `sublora qat compare {out}` compares them",
        runs.len()
    )))
}

/// `sublora eval` of a run of `sublora qat`, or of a checkpoint that is quantised for it.
pub(crate) fn eval(args: &Args, eval: &Eval) -> Result<Answer, Failure> {
    let corpus = corpora::open(&eval.corpus)?;
    let bars = Bars::new();
    let widths = |config: &QatConfig| match &eval.precision[..] {
        [] => config.widths.iter().copied().chain([BitWidth::FULL]).collect(),
        widths => widths.to_vec(),
    };
    let records = if QatRun::stands_in(&eval.run) {
        let mut config = QatRun::read_config(&eval.run, &[])?;
        evaluation(eval, &mut config);
        let widths = widths(&config);
        let run = open(args, &eval.run, config, &corpus, &bars)?;
        run.evaluate(&widths)?
    } else {
        let mut config = post_training(eval)?;
        evaluation(eval, &mut config);
        let widths = widths(&config);
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new(error, "a temporary folder holds the calibration"))?;
        open(args, folder.path(), config, &corpus, &bars)?.evaluate_base(&widths)?
    };
    if !args.json {
        return Ok(Answer::done(table::widths(&records)));
    }
    let timed = records.iter().map(|record| {
        let mut json = serde_json::to_value(record)?;
        json["seconds"] = serde_json::to_value(record.seconds)?;
        Ok(json)
    });
    let timed = timed.collect::<serde_json::Result<Vec<_>>>();
    Answer::json(&timed.map_err(|error| Failure::new(error, "try without `--json`"))?)
}

/// What was typed, in place of what is configured.
fn evaluation(eval: &Eval, config: &mut QatConfig) {
    if !eval.stride.is_empty() {
        config.evaluate.strides.clone_from(&eval.stride);
    }
    config.evaluate.documents = eval.documents.or(config.evaluate.documents);
}

/// The checkpoint, quantised after its training.
fn post_training(eval: &Eval) -> Result<QatConfig, Failure> {
    if !eval.run.join("config.json").exists() {
        let message =
            format!("`{}` is no run of `sublora qat`, and no GPT-2 folder", eval.run.display());
        return Err(Failure::new(
            message,
            "`--precision` is for these; leave it out for a compressed model",
        ));
    }
    let text = eval.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let mut config = QatConfig::parse(&text, &[])?;
    config.base = BaseConfig::Checkpoint { path: PathBuf::from(&eval.run) };
    config.method = sublora::qat::PostTraining {}.into();
    config.model = ModelConfig::default();
    config.widths = eval.precision.iter().copied().filter(|bits| !bits.is_full()).collect();
    config.widths.sort_unstable();
    config.widths.dedup();
    Ok(config)
}
