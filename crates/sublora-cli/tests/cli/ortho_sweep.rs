//! `sublora ortho sweep` on a tiny model.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{done, sublora};

const CONFIG: &str = r#"
seeds = [1, 2]
facts = 4
retain_tokens = 100
ratios = [0.25, 1.0]
alphas = [0.0, 1.0]
selections = [{ kind = "memory-delta" }, { kind = "fisher", perturbation = "delta" }]
controls = [{ kind = "random" }]
bases = [{ kind = "fp16" }, { kind = "int4" }]

[model]
size = "tiny"
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 48

[base]
kind = "prior-split"
fraction = 0.5

[base.train]
steps = 4
batch = 2
seq = 16
eval_every = 4
eval_batches = 1

[memorize.train]
steps = 8
batch = 4
seq = 16
learning_rate = { peak = 3e-2, warm_up = 1 }
eval_every = 4
eval_batches = 1

[unlearning.ascent]
forget = -1.0
retain = 0.0

[unlearning.ascent.train]
steps = 2
batch = 2
seq = 16
eval_every = 1
eval_batches = 1
"#;

fn prepared(folder: &Path) {
    fs::create_dir(folder.join("text")).unwrap();
    for document in 0..24 {
        let line = format!("document {document} of a small text, line after line\n");
        fs::write(folder.join(format!("text/{document}.txt")), line.repeat(6)).unwrap();
    }
    done(folder, "corpus build --input text --tokenizer byte --val-fraction 0.25 --out corpus");
    fs::write(folder.join("sweep.toml"), CONFIG).unwrap();
}

const LINE: &str = "ortho sweep --config sweep.toml --corpus corpus --out study";

#[test]
fn a_study_from_pretraining_to_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepared(folder);
    let found: Value = serde_json::from_str(&done(folder, &format!("{LINE} --json"))).unwrap();
    let rows: Vec<_> = found["sweep"].as_array().unwrap().iter().collect();
    let keys: Vec<_> =
        rows.iter().map(|it| json!([it["model"], it["ratio"], it["alpha"]])).collect();
    let expected = json!([
        ["memory-delta", 0.25, 0.0],
        ["memory-delta", 0.25, 1.0],
        ["memory-delta", 1.0, 0.0],
        ["memory-delta", 1.0, 1.0],
        ["fisher", 0.25, 0.0],
        ["fisher", 0.25, 1.0],
        ["random", 0.25, 0.0],
        ["random", 0.25, 1.0],
    ]);
    assert_eq!(json!(keys), expected);
    for row in &rows {
        assert_eq!(row["seeds"], 2);
        // All of it at alpha 1; and all of it gone where the mask is everything.
        let forgotten = &row["forgotten"];
        let (nothing, all) = (json!(0.0), json!(1.0));
        if row["alpha"] == 1.0 {
            assert_eq!(*forgotten, nothing, "{row}");
        } else if row["ratio"] == 1.0 {
            assert_eq!(*forgotten, all, "{row}");
        } else {
            assert!(*forgotten != nothing && *forgotten != all, "{row}");
        }
    }
    // 3 models and 3 splits, by 2 bases.
    assert_eq!(found["quantized"].as_array().unwrap().len(), 12);

    let measured = fs::read(folder.join("study/seed-2/measured.json")).unwrap();
    let page = fs::read(folder.join("study/report/report.html")).unwrap();
    fs::remove_dir_all(folder.join("study/report")).unwrap();
    fs::remove_dir_all(folder.join("study/seed-2/memorize")).unwrap(); // what is measured is not trained again
    let table = done(folder, LINE);
    assert!(
        table.contains("Criterion, set before measuring") && table.contains("| fisher "),
        "{table}"
    );
    assert_eq!(fs::read(folder.join("study/seed-2/measured.json")).unwrap(), measured);
    assert_eq!(fs::read(folder.join("study/report/report.html")).unwrap(), page);
}

#[test]
fn what_a_study_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepared(folder);
    let refused = |more: &str| {
        let shown = sublora(folder, &format!("{LINE} {more}"));
        assert_eq!(shown.code, 2, "{more}");
        shown.stderr
    };
    for (more, expected) in [
        ("--alpha 0,2", "`alphas`: alpha is 2, expected 0 to 1"),
        ("--alpha -0.5,1", "`alphas`: alpha is -0.5, expected 0 to 1"),
        ("--set ratios=[1.5]", "`ratios` is 1.5, expected 0 to 1"),
        ("--set retain_tokens=1000000", "`retain_tokens` is 1000000, expected at most"),
        ("--set model.n_positions=16", "`model.n_positions` is 16, expected at least"),
        ("--set memorize.train.seq=64", "`train.seq` is 64, expected at most"),
        ("--tokenizer other.json", "other.json"),
    ] {
        let found = refused(more);
        assert!(found.contains(expected), "{more}: {found}");
        assert!(!folder.join("study").exists(), "{more}");
    }
    let missing = sublora(folder, "ortho sweep --config none.toml --corpus corpus --out study");
    assert!(missing.stderr.contains("configs/ortho-sweep.toml"), "{}", missing.stderr);
}
