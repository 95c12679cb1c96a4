//! What no run can have, said with the key, its value and what was expected.

use super::*;

fn refused(overrides: &[&str], expected: &str) {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    assert_eq!(said(QatConfig::parse(CONFIG, &overrides)), expected, "{overrides:?}");
}

#[test]
fn values_of_a_run() {
    for (overrides, expected) in [
        ("widths=[]", "`widths` is [], expected rising widths below 32"),
        ("widths=[4, 2]", "`widths` is [4, 2], expected rising widths below 32"),
        ("widths=[4, 4]", "`widths` is [4, 4], expected rising widths below 32"),
        ("widths=[4, 32]", "`widths` is [4, 32], expected rising widths below 32"),
        ("calibration.batches=0", "`calibration.batches` is 0, expected at least 1"),
        ("evaluate.batch=0", "`evaluate.batch` is 0, expected at least 1"),
        ("evaluate.shards=0", "`evaluate.shards` is 0, expected at least 1"),
        (
            "quantize.weight={ bits = [2, 4] }",
            "`quantize.weight` is none at 8 bits, expected a rule for every width, or one without \
             `bits` for all others",
        ),
        ("evaluate.strides=[]", "`evaluate.strides` is empty, expected at least one"),
        ("train.steps=0", "`train.steps` is 0, expected at least 1"),
        ("train.shards=3", "`train.shards` is 3, expected a divisor of `batch` 4"),
    ] {
        refused(&[overrides], expected);
    }
    refused(
        &["input_bits=8", "calibration.upstream=own-width"],
        "`calibration.upstream` is own-width, and `input_bits` has one width for all",
    );
    let unknown = said(QatConfig::parse(CONFIG, &["widths=[17]".to_owned()]));
    assert!(unknown.contains("17 bits, expected 1 to 16, or 32 for none"), "{unknown}");
    let unknown = said(QatConfig::parse(CONFIG, &["method={ kind = \"cylic\" }".to_owned()]));
    assert!(unknown.contains("unknown variant `cylic`, expected one of"), "{unknown}");
}

#[test]
fn values_of_methods() {
    let rank = "`rank` is 0, expected at least 1; leave `sites` empty to adapt nothing";
    let cyclic = method("cyclic");
    for (overrides, expected) in [
        (&[method("mergeable"), "method.rank=0"][..], rank),
        (
            &[method("mergeable"), "method.alpha=inf"],
            "`alpha` is inf, expected a finite number below 3.4e38",
        ),
        (
            &[method("mergeable"), "method.scale_rate=0.0"],
            "`method.scale_rate` is 0, expected a positive number",
        ),
        (
            &[method("mergeable"), "method.distillation={ kind = \"cascade\", beta = -1.0 }"],
            "`method.distillation.beta` is -1, expected a number of at least 0",
        ),
        (
            &[method("mergeable"), "quantize.weight_scales=dynamic"],
            "`quantize.weight_scales` is dynamic, expected calibrated: they are learned",
        ),
        (
            &[method("switchable"), "method.adapters=[{ rank = 2, alpha = nan }]"],
            "`alpha` is NaN, expected a finite number below 3.4e38",
        ),
        (
            &[
                method("switchable"),
                "method.distillation={ kind = \"full-precision\", temperature = 0.0 }",
            ],
            "`method.distillation.temperature` is 0, expected a positive number",
        ),
        (
            &[cyclic, "method.rank=0"],
            "`method.rank` is 0 and `method.base` is frozen: nothing would be trained",
        ),
        (
            &[cyclic, "method.precision.widths=[2, 3]"],
            "`method.precision.widths` is 3, expected one of `widths` [2, 4, 8], or 32",
        ),
        (
            &[cyclic, "method.precision.schedule.cycles=7"],
            "`method.precision`: `cycles` is 7, expected at most the length of the run, 6",
        ),
        (
            &[cyclic, "method.gradient_bits=1"],
            "`method.gradient_bits` is 1, expected 2 to 16, or 32",
        ),
        (
            &[
                cyclic,
                "method.gradient_at=factors",
                "quantize.gradient={ rounding = \"nearest\", range = { kind = \"min-max\" } }",
            ],
            "`quantize.gradient.rounding` is nearest, expected stochastic where `method.gradient_at` \
             is factors: before the first step the gradient of A is zero and has no range",
        ),
        (
            &[cyclic, "method.base=trained", "quantize.embeddings={ bits = 8 }"],
            "`quantize.embeddings.bits` is below 32, expected 32 where `method.base` is trained: \
             embeddings are quantised once, before training",
        ),
    ] {
        refused(overrides, expected);
    }
    // At 32 bits only the norms of a frozen base are trained, whatever its rank.
    config(&[cyclic, "method.precision.widths=[2, 4, 8, 32]", "method.gradient_bits=32"]);
}

#[test]
fn what_only_a_run_can_know() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let learned = fixture::corpus(&dir.path().join("all"), &fixture::prose(10, 20), 0.0);
    for (corpus, overrides, expected) in [
        (
            &corpus,
            "train.seq=17",
            "`train.seq` is 17, expected at most the model's context `n_positions` 16",
        ),
        (
            &corpus,
            "evaluate.strides=[17]",
            "`evaluate.strides` is 17, expected at most the model's context `n_positions` 16",
        ),
        (&learned, "train.steps=5", "the corpus has no validation split to evaluate on"),
    ] {
        let run = run(dir.path().join(overrides), corpus, &[overrides], &());
        assert_eq!(said(run.run(false)), expected);
    }
}

#[test]
fn values_of_a_suite() {
    let run = "[run]\nwidths = [4, 8]\ntrain = { steps = 60, batch = 4, seq = 16 }\n\
               model = { size = \"tiny\" }\n";
    let cyclic = "[methods.cyclic.method]\nkind = \"cyclic\"\nprecision = { widths = [4, 8] }\n";
    let said_of = |text: &str| match QatSuite::parse(&format!("seeds = [1]\n{run}{text}"), &[]) {
        Ok(suite) => said(suite.runs(257)),
        Err(error) => error.to_string(),
    };
    for (text, expected) in [
        ("[methods]\n", "`seeds` and `methods` have nothing, expected at least one each"),
        (
            "[methods.cyclic]\n[matched]\nstatic = \"cycle\"\n",
            "`matched` names the method `cycle`, expected one of [\"cyclic\"]",
        ),
        (
            "[methods.cyclic]\n[matched]\nstatic = \"cyclic\"\n",
            "`matched` names `cyclic`, expected a cyclic method",
        ),
        (
            "[methods.bases]\n",
            "`methods` is bases, expected letters, digits, `-` and `_`, and not `bases`: it names a \
             folder",
        ),
        (
            "[methods.narrow]\nwidths = [8, 4]\n",
            "method `narrow`: `widths` is [8, 4], expected rising widths below 32",
        ),
    ] {
        assert_eq!(said_of(text), expected);
    }
    let unknown = said_of("[methods.odd]\nsteps = 3\n");
    assert!(unknown.starts_with("method `odd`: unknown field `steps`"), "{unknown}");
    assert_eq!(
        said_of(&format!(
            "base = {{ kind = \"checkpoint\", path = \"gpt2\" }}\n{cyclic}[matched]\nstatic = \"cyclic\"\n"
        )),
        "`matched` needs the shape of the model; take another base than a checkpoint"
    );
}

#[test]
fn a_folder_is_of_one_suite() {
    let dir = tempfile::tempdir().unwrap();
    let suite = |steps: u64| {
        let text = format!("seeds = [1]\n[methods.rounded]\ntrain = {{ steps = {steps} }}\n");
        QatSuite::parse(&text, &[]).unwrap()
    };
    suite(5).open(dir.path()).unwrap();
    suite(5).open(dir.path()).unwrap();
    let found = said(suite(6).open(dir.path()));
    let expected = "was started with another configuration: `methods.rounded.train.steps` was 5, and \
                    is 6 now";
    assert!(found.ends_with(expected), "{found}");
}

#[test]
fn a_folder_is_of_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let mut run = run(dir.path().join("run"), &corpus, &[], &());
    run.run(false).unwrap();
    assert!(said(run.run(false)).ends_with("already holds a run"));
    run.run(true).unwrap();
    let found = said(run.evaluate(&[bits(3)]));
    assert!(found.contains("3 bits") && found.ends_with("calibrate it first"), "{found}");
    run.config.seed = 138;
    assert!(said(run.run(true)).ends_with("configuration: `seed` was 137, and is 138 now"));
}
