//! `sublora qat` and `sublora eval --precision` on a tiny model.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{done, sublora};

const CONFIG: &str = r#"
seed = 3
widths = [3, 8]

[model]
size = "tiny"
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 16

[train]
steps = 6
batch = 2
seq = 16
eval_every = 3
eval_batches = 1
learning_rate = { peak = 1e-2, floor = 0.1, warm_up = 1 }

[range_test]
widths = [3, 8]
iterations = 4
upper = { kind = "static", bits = 8 }

[evaluate]
documents = 2
"#;

const CYCLIC: &str = r#"
[method]
kind = "cyclic"
base = "trained"
rank = 0
precision = { widths = [3, 8], schedule = { kind = "repeated", cycles = 2 } }
"#;

/// A corpus of repeated lines, and the configurations.
fn prepared(folder: &Path) {
    fs::create_dir(folder.join("text")).unwrap();
    for document in 0..24 {
        let line = format!("document {document} of a small text, line after line\n");
        fs::write(folder.join(format!("text/{document}.txt")), line.repeat(6)).unwrap();
    }
    done(folder, "corpus build --input text --tokenizer byte --val-fraction 0.25 --out corpus");
    let switchable = "\n[method]\nkind = \"switchable\"\nadapters = [{ rank = 2, alpha = 2.0 }]\n";
    fs::write(folder.join("switchable.toml"), format!("{CONFIG}{switchable}")).unwrap();
    fs::write(folder.join("cyclic.toml"), format!("{CONFIG}{CYCLIC}")).unwrap();
    let indented = CONFIG.replace("seed = 3\n", "").replace("\n[", "\n[run.");
    let suite = format!(
        "seeds = [1, 2]\n\n[run]{indented}\n[methods.rounded]\nmethod = {{ kind = \"post-training\" }}\n\
         [methods.cyclic.method]\nkind = \"cyclic\"\nrank = 2\nalpha = 2.0\n\
         precision = {{ widths = [3, 8], schedule = {{ kind = \"repeated\", cycles = 2 }} }}\n\
         [matched]\nstatic = \"cyclic\"\n"
    );
    fs::write(folder.join("suite.toml"), suite).unwrap();
}

fn json(folder: &Path, line: &str) -> Value {
    serde_json::from_str(&done(folder, &format!("{line} --json"))).unwrap()
}

/// Bits and losses.
fn losses(widths: &Value) -> Vec<(u64, f64)> {
    let widths = widths.as_array().unwrap().iter();
    widths
        .map(|it| (it["bits"].as_u64().unwrap(), it["nats_per_token"].as_f64().unwrap()))
        .collect()
}

#[test]
fn a_run_is_trained_evaluated_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepared(folder);
    let record = json(folder, "qat switchable --config switchable.toml --corpus corpus --out run");
    let trained = losses(&record["widths"]);
    assert_eq!(trained.iter().map(|it| it.0).collect::<Vec<_>>(), [3, 8, 32]);
    assert_eq!(record["training"]["passes"], serde_json::json!({ "3": 6, "8": 6 }));

    let evaluated = json(folder, "eval run --corpus corpus --precision 32,3");
    assert_eq!(losses(&evaluated), [trained[2], trained[0]], "as the run found them");
    assert!(evaluated[0]["seconds"].as_f64().unwrap() > 0.0);
    let table = done(folder, "eval run --corpus corpus");
    assert!(table.contains("| bits") && table.contains("own parameters"), "{table}");

    let refused = sublora(folder, "eval run --corpus corpus --precision 5");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("5 bits"), "{}", refused.stderr);
    let again =
        sublora(folder, "qat switchable --config switchable.toml --corpus corpus --out run");
    assert!(again.stderr.contains("already holds a run"), "{}", again.stderr);
    let other = sublora(
        folder,
        "qat switchable --config switchable.toml --corpus corpus --out run --resume --set train.steps=7",
    );
    assert!(other.stderr.contains("`train.steps` was 6, and is 7 now"), "{}", other.stderr);
    let resumed =
        json(folder, "qat switchable --config switchable.toml --corpus corpus --out run --resume");
    assert_eq!(losses(&resumed["widths"]), trained);
    let wrong = sublora(folder, "qat cyclic --config switchable.toml --corpus corpus --out x");
    assert!(wrong.stderr.contains("`method.kind` is switchable, expected one of cyclic"));
    assert!(wrong.stderr.contains("sublora qat switchable"), "{}", wrong.stderr);
}

#[test]
fn the_range_test_leaves_no_trace_in_the_training_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepared(folder);
    let line = |command: &str, out: &str| {
        format!("{command} --config cyclic.toml --corpus corpus --out {out}")
    };
    let plain = json(folder, &line("qat cyclic", "plain"));
    let test = sublora(folder, &format!("{} --json", line("qat range-test", "tested")));
    assert!([0, 1].contains(&test.code), "{test:?}");
    let verdict: Value = serde_json::from_str(&test.stdout).unwrap();
    assert_eq!(verdict["evidence"].as_array().unwrap().len(), 3, "32, 3 and 8 bits");
    assert_eq!(json(folder, &line("qat cyclic", "tested")), plain);
    let file = |run: &str, path: &str| fs::read(folder.join(run).join(path)).unwrap();
    for path in ["evaluation.json", "train/metrics.jsonl", "calibration.safetensors"] {
        assert_eq!(file("tested", path), file("plain", path), "{path}");
    }
    let many = sublora(
        folder,
        &format!("{} --set range_test.iterations=9000000000000000000", line("qat range-test", "y")),
    );
    assert_eq!(many.code, 2);
    assert!(many.stderr.contains("`range_test.iterations` is 9000000000000000000"), "{many:?}");
}

#[test]
fn a_suite_is_run_once_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepared(folder);
    let suite = "qat suite --config suite.toml --corpus corpus --out suite";
    assert!(done(folder, suite).contains("8 runs in `suite`"));
    let record = |run: &str| fs::read(folder.join(format!("suite/{run}/evaluation.json"))).unwrap();
    let before = record("static-3/seed-2");
    assert!(done(folder, suite).contains("8 runs"), "nothing is done twice");
    assert_eq!(record("static-3/seed-2"), before);
    done(folder, "qat compare suite");
    let page = fs::read_to_string(folder.join("suite/report/report.html")).unwrap();
    assert!(page.contains("static") && page.contains("cyclic") && page.contains("rounded"));
    let other = sublora(folder, &format!("{suite} --set run.train.steps=7"));
    assert!(other.stderr.contains("`run.train.steps` was 6, and is 7 now"), "{}", other.stderr);
}

/// The numbers of the literature, from the layers.
#[test]
fn the_parameters_of_gpt2_small() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/qat-switchable.toml");
    fs::copy(root, folder.join("switchable.toml")).unwrap();
    let line = "qat parameters --config switchable.toml --set base={kind=\"random\"}";
    let counts = json(folder, line);
    assert_eq!(counts["base"], 124_439_808);
    assert_eq!(counts["added"], 132_120_576 + 14 * 38_400);
    assert_eq!(counts["widths"][0]["adapters"], 9_437_184);
    assert_eq!(counts["widths"][13]["scales"], 82_944);
    assert!(done(folder, line).contains(" 257,097,984 |"), "base and added");
}
