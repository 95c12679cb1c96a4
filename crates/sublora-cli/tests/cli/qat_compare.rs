//! `sublora qat compare`, of runs that were made up.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::messages::{check, transcript};
use crate::{done, sublora};

const CYCLIC: &str = r#"method = { kind = "cyclic", precision = { widths = [2, 4], schedule = { kind = "cyclic-cosine", period = 4 } } }"#;

/// A run in `folder` that was trained for eight steps at `passes`, with its losses at 2, 4 and 32 bits.
fn run(folder: &Path, seed: u64, method: &str, passes: &[u64], nats: [f64; 3]) {
    fs::create_dir_all(folder.join("train")).unwrap();
    let config = format!("seed = {seed}\nwidths = [2, 4]\n{method}\n[train]\nsteps = 8\n");
    fs::write(folder.join("qat.toml"), config).unwrap();
    let steps = (1..=8).fold(String::new(), |mut steps, step| {
        writeln!(steps, r#"{{"step":{step},"train/bits_per_token":{}}}"#, 9 - step).unwrap();
        steps
    });
    let held_out = r#"{"step":8,"held_out/bits_per_token":4.5,"held_out/bits_per_token_at_2":5.0,"held_out/bits_per_token_at_4":4.0}"#;
    fs::write(folder.join("train/metrics.jsonl"), format!("{steps}{held_out}\n")).unwrap();
    let width = |(bits, nats): (u64, f64)| {
        json!({
            "bits": bits, "input_bits": bits, "context": 64, "stride": 64, "documents": 3, "tokens": 640,
            "nats_per_token": nats, "perplexity": nats.exp(), "bits_per_weight": bits,
            "bit_ops_per_token": 1e6 * (bits * bits) as f64, "own_parameters": 96,
        })
    };
    let widths: Vec<Value> = [2, 4, 32].into_iter().zip(nats).map(width).collect();
    let each = 8 / passes.len().max(1) as u64;
    let counts: Value = passes.iter().map(|bits| (bits.to_string(), json!(each))).collect();
    let training = (!passes.is_empty()).then(|| {
        json!({
            "steps": 8, "tokens_per_step": 128, "passes": counts, "parameters": 96, "bit_ops": 1e12,
        })
    });
    let record = json!({
        "version": 1, "method": if passes.is_empty() { "post-training" } else { "cyclic" }, "seed": seed,
        "corpus": "07".repeat(32), "base": "01".repeat(32), "training": training, "widths": widths,
    });
    fs::write(folder.join("evaluation.json"), record.to_string()).unwrap();
}

/// Two seeds of three methods, and a run that is not over.
fn suite(folder: &Path) {
    let fixed = |bits: u64| {
        format!(
            r#"method = {{ kind = "cyclic", precision = {{ widths = [{bits}], schedule = {{ kind = "constant", bits = {bits} }} }} }}"#
        )
    };
    for seed in [1, 2] {
        let at = |label: &str| folder.join(label).join(format!("seed-{seed}"));
        let little = 0.001 * seed as f64;
        run(&at("cyclic"), seed, CYCLIC, &[2, 4], [3.5 + little, 3.25, 3.0]);
        run(&at("static-2"), seed, &fixed(2), &[2], [3.75, 9.0, 9.0]);
        run(&at("static-4"), seed, &fixed(4), &[4], [9.0, 3.125 + little, 9.0]);
        run(&at("rounded"), seed, "", &[], [6.0, 4.0, 3.0]);
    }
    let open = folder.join("cyclic/seed-3");
    fs::create_dir_all(&open).unwrap();
    fs::write(open.join("qat.toml"), CYCLIC).unwrap();
}

#[test]
fn qat_compare() {
    let folder = tempfile::tempdir().unwrap();
    suite(&folder.path().join("suite"));
    let other = folder.path().join("other/cyclic/seed-1");
    run(&other, 1, CYCLIC, &[2, 4], [3.5, 3.25, 3.0]);
    let record = fs::read_to_string(other.join("evaluation.json")).unwrap();
    let record = record.replace(&"07".repeat(32), &"08".repeat(32));
    fs::write(other.join("evaluation.json"), record).unwrap();
    let lines = [
        "qat compare --help",
        "qat compare suite",
        "qat compare suite/cyclic/seed-1 suite/rounded/seed-1 --label first --out two",
        "qat compare suite/cyclic/seed-1 suite/rounded/seed-1",
        "qat compare suite/cyclic/seed-3",
        "qat compare suite/cyclic",
        "qat compare suite other --out both",
    ];
    check("qat_compare", &transcript(&folder, &lines));
}

#[test]
fn what_is_compared_comes_from_the_files_of_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    suite(&at.join("suite"));
    let found: Value =
        serde_json::from_str(&done(at, "qat compare suite --out page --json")).unwrap();
    assert_eq!(found["left_out"], json!(["suite/cyclic/seed-3"]));
    let row = &found["differences"][0];
    assert_eq!(
        [&row["method"], &row["reference"], &row["bits"]],
        [&json!("cyclic"), &json!("static"), &json!(2)]
    );
    let difference = row["difference"].as_f64().unwrap();
    assert!((difference + 0.2485).abs() < 1e-9, "{difference}"); // -0.249, -0.248
    assert_eq!(row["verdict"], "helps");
    let page = fs::read_to_string(at.join("page/report.html")).unwrap();
    assert!(page.contains("“cyclic”, seed 1") && page.contains("held out, 2 bits"));
    assert_eq!(fs::read_dir(at.join("page")).unwrap().count(), 4);
    // With labels of their own, the same two runs are two methods of one seed.
    let line =
        "qat compare suite/cyclic/seed-1 suite/cyclic/seed-2 --label a --label b --out ab --json";
    let found: Value = serde_json::from_str(&done(at, line)).unwrap();
    assert_eq!(found["differences"], json!([]));
    let shown = sublora(at, "qat compare suite/cyclic/seed-1 suite/cyclic/seed-1 --out twice");
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("both are “cyclic” with seed 1"), "{}", shown.stderr);
}
