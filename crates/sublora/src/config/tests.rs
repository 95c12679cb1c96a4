//! What a configuration file may say, and what is said to who gets it wrong.

use super::*;
use crate::ortho::OrthoDiagnosis;
use crate::qat::{QatConfig, QatSuite};
use crate::unlearning::UnlearningConfig;
use crate::{Error, ScheduleStudy, SweepConfig};

fn parse(text: &str, overrides: &[&str]) -> Result<RunConfig, String> {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    RunConfig::parse(text, &overrides).map_err(|error| error.to_string())
}

fn refused(text: &str, overrides: &[&str], parts: &[&str]) {
    let error = parse(text, overrides).unwrap_err();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn every_configuration_of_the_repository_is_one() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let read = match () {
            () if name.starts_with("schedule-") => ScheduleStudy::parse(&text, &[]).map(drop),
            () if name.starts_with("ortho-diagnose") => OrthoDiagnosis::parse(&text, &[]).map(drop),
            () if name.starts_with("ortho-sweep") => UnlearningConfig::parse(&text, &[]).map(drop),
            () if name.starts_with("qat-suite") => {
                QatSuite::parse(&text, &[]).and_then(|suite| suite.runs(257)).map(drop)
            }
            () if name.starts_with("qat-") => QatConfig::parse(&text, &[]).map(drop),
            () => runs_of(&text),
        };
        read.unwrap_or_else(|it| panic!("{path:?}: {it}"));
    }
}

/// Reads the runs of a sweep, or a run.
fn runs_of(text: &str) -> Result<(), Error> {
    let configs = if text.contains("\n[[mode]]\n") {
        SweepConfig::parse(text, &[])?.runs()?.into_iter().map(|run| run.config).collect()
    } else {
        vec![RunConfig::parse(text, &[])?]
    };
    for config in configs {
        config.model.shape(257)?;
    }
    Ok(())
}

#[test]
fn the_published_setting_is_as_published() {
    let config = include_str!("../../../../configs/gpt2-small-sublora.toml");
    let config = parse(config, &[]).unwrap();
    let subspace = config.sublora.unwrap();
    assert_eq!((subspace.intrinsic_dim, subspace.projector.name()), (50_000, "rdkronqr"));
    assert_eq!((config.compress.levels, config.compress.codebook.name()), (11, "k-means"));
    assert_eq!((config.model.size.as_str(), config.lora.unwrap().rank), ("small", 4));
}

#[test]
fn a_written_configuration_reads_as_it_was() {
    let all = RunConfig {
        certify: CertifyConfig { documents: None, positions: None, ..Default::default() },
        ..RunConfig::default()
    };
    let adapters = RunConfig { lora: Some(LoraConfig::default()), ..all.clone() };
    let subspace = RunConfig { sublora: Some(SubspaceConfig::default()), ..adapters.clone() };
    let train = Box::new(TrainConfig::default());
    let prior =
        RunConfig { base: BaseConfig::PriorSplit { fraction: 0.25, train }, ..subspace.clone() };
    for config in [RunConfig::default(), all, adapters, subspace, prior] {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(parse(&text, &[]).unwrap(), config, "{text}");
    }
}

#[test]
fn unknown_keys_and_values_name_the_known_ones() {
    refused("stepz = 1", &[], &["unknown field `stepz`", "`seed`", "`train`"]);
    refused("[train]\nstep = 1", &[], &["unknown field `step`", "`steps`", "`batch`"]);
    refused("", &["lora.rnk=2"], &["unknown field `rnk`", "`rank`"]);
    refused(
        "[sublora]\nprojector = { kind = \"kron\" }",
        &[],
        &["unknown variant `kron`", "`rdkronqr`", "`rectkronqr`"],
    );
    refused("[base]\nkind = \"prior\"", &[], &["unknown variant `prior`", "`prior-split`"]);
}

#[test]
fn overrides_make_their_tables_and_take_toml_or_a_bare_word() {
    let overrides = [
        "seed=7",
        "model.size=tiny",
        "sublora.intrinsic_dim=64",
        "certify.documents=all",
        "certify.positions = 12",
        "compress.codebook={ kind = \"uniform\" }",
    ];
    let config = parse("seed = 1\n[model]\nsize = \"mini\"\nbias = true", &overrides).unwrap();
    assert_eq!((config.seed, config.model.size.as_str(), config.model.bias), (7, "tiny", true));
    assert_eq!(config.sublora.unwrap().intrinsic_dim, 64);
    assert_eq!((config.certify.documents, config.certify.positions), (None, Some(12)));
    assert_eq!(config.compress.codebook.name(), "uniform");
    refused("", &["seed"], &["`seed` is no `key=value`"]);
    refused("seed = 1", &["seed.x=1"], &["`seed` in `seed.x` is no table"]);
    refused("", &["=1"], &["`` names no key"]);
}

#[test]
fn values_that_no_run_can_have_are_refused() {
    let cases = [
        ("train.steps=-1", "invalid value"),
        ("train.batch=0", "`train.batch` is 0, expected at least 1"),
        ("train.shards=3", "`train.shards` is 3, expected a divisor of `batch` 8"),
        ("train.steps=0", "`train.steps` is 0, expected at least 1"),
        ("train.eval_batches=0", "`train.eval_batches` is 0, expected at least 1"),
        ("train.clip=nan", "`train.clip` is NaN, expected a number above 0"),
        ("train.clip=0.0", "`train.clip` is 0, expected a number above 0"),
        ("train.weight_decay=-1.0", "`train.weight_decay` is -1, expected 0 or more"),
        ("train.learning_rate.peak=0.0", "`train.learning_rate.peak` is 0, expected a number"),
        ("train.learning_rate.peak=inf", "`train.learning_rate.peak` is inf, expected a number"),
        ("train.learning_rate.peak=nan", "`train.learning_rate.peak` is NaN, expected a number"),
        ("train.learning_rate.floor=1.1", "`train.learning_rate.floor` is 1.1, expected a frac"),
        ("train.learning_rate.floor=nan", "`train.learning_rate.floor` is NaN, expected a frac"),
        ("base={ kind = \"prior-split\", fraction = 1.0 }", "`base.fraction` is 1"),
        (
            "base={ kind = \"prior-split\", fraction = 0.5, train = { learning_rate.peak = -1.0 } }",
            "`base.train.learning_rate.peak` is -1, expected a number above 0",
        ),
        ("compress.levels=0", "`compress.levels` is 0, expected 1 to 255"),
        ("compress.qat_learning_rate=-1.0", "`compress.qat_learning_rate` is -1, expected a num"),
        (
            "compress.codebook={ kind = \"entropy-constrained\", lambda = -1.0 }",
            "`compress.codebook`: lambda is -1, expected a finite number",
        ),
        ("certify.top_k=[0]", "`certify.top_k` is [0], expected different numbers above 0"),
        ("certify.top_k=[5, 1, 5]", "`certify.top_k` is [5, 1, 5], expected different numbers"),
        ("certify.batch=0", "`certify.batch` is 0, expected at least 1"),
        ("certify.configurations=0", "`certify.configurations` is 0"),
        ("certify.failure_probability=1.0", "`certify.failure_probability` is 1"),
        ("certify.documents=0", "expected a number above 0, or \"all\""),
        ("certify.positions=none", "expected a number above 0, or \"all\""),
        ("certify.positions=1.5", "expected a number above 0, or \"all\""),
        ("lora.rank=0", "`rank` is 0"),
    ];
    for (assignment, reason) in cases {
        refused("", &[assignment], &[reason]);
    }
    refused("", &["lora.dropout=0.1", "train.shards=2"], &["1 where `lora.dropout`"]);
}

#[test]
fn values_that_do_not_fit_the_model_or_the_text_are_refused() {
    let base = "base={ kind = \"prior-split\", fraction = 0.5, train = { seq = 32 } }";
    let fits = ["model.n_positions=32", "train.seq=32", base, "certify.stride=32"];
    let check = |change: &str| {
        let config = parse("[certify]\ntop_k = [256]", &[&fits[..], &[change]].concat()).unwrap();
        let shape = config.model.shape(257).unwrap();
        config.validate_for(&shape, 257).map_err(|error| error.to_string())
    };
    check("seed=1").unwrap();
    let cases = [
        ("train.seq=33", "`train.seq` is 33, expected at most the model's context"),
        ("base.train.seq=33", "`base.train.seq` is 33, expected at most the model's context"),
        ("certify.stride=33", "`certify.stride` is 33, expected at most the model's context"),
        ("certify.top_k=[1, 257]", "`certify.top_k` is [1, 257], expected numbers below the 257"),
    ];
    for (change, reason) in cases {
        let error = check(change).unwrap_err();
        assert!(error.starts_with(reason), "{error}");
    }
}
