//! `sublora sweep` from outside: in one go, killed and gone on with, interrupted, as job arrays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Shown, done, sublora, text};

/// Two modes at one budget, two seeds: two bases and four runs.
const CONFIG: &str = r#"
seeds = [3, 4]
intrinsic_dim = [16]

[[mode]]
name = "plain"

[[mode]]
name = "dense"
projector = { kind = "dense" }

[run.model]
size = "tiny"
n_positions = 32

[run.base]
kind = "prior-split"
fraction = 0.5
train = { steps = 20, batch = 8, seq = 32, eval_every = 10, eval_batches = 2 }

[run.lora]

[run.train]
steps = 20
batch = 8
seq = 32
eval_every = 10
eval_batches = 2

[run.certify]
documents = 20
positions = 20
top_k = [1]
"#;

const SWEEP: &str = "sweep --config sweep.toml --corpus corpus";

/// Corpus, configuration and a finished sweep; made once, copied by whoever changes something.
static MADE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = begun();
    done(folder.path(), &format!("{SWEEP} --out sweep"));
    folder
});

/// Everything that a sweep needs.
fn begun() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(60)).unwrap();
    fs::write(at.join("sweep.toml"), CONFIG).unwrap();
    let build = "corpus build --input text.jsonl --tokenizer byte --val-fraction 0.1 --out corpus";
    done(at, build);
    folder
}

/// Every file of a sweep that is the same in equal ones, with its content. TensorBoard's files and
/// `seconds.json` carry the time, burn's record of an optimiser its weights in any order; the table and
/// the record have seconds in them, which are left out.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_timed = ["last.safetensors", "seconds.json", "slurm"].contains(&name.as_str());
            // A killed program leaves what it had not yet given its name.
            if is_timed || name.contains("tfevents") || name.starts_with(".partial-") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if ["runs.csv", "sweep.json"].contains(&name.as_str()) {
                bytes = timeless(&String::from_utf8(bytes).unwrap()).into_bytes();
            }
            found.push((path.strip_prefix(folder).unwrap().to_owned(), bytes));
        }
    }
    found.sort();
    found
}

/// Without the seconds in a table or a record, and what follows from them.
fn timeless(text: &str) -> String {
    let mut lines = Vec::new();
    let mut skipped = 0;
    for line in text.lines() {
        if line.contains("\"seconds\": {") {
            skipped = 3; // mean, deviation, the end
        } else if skipped > 0 {
            skipped -= 1;
        } else if line.contains(",finished,") {
            let cells: Vec<&str> = line.split(',').collect();
            lines.push(cells[..cells.len() - 2].join(","));
        } else if !line.contains("\"seconds\": ") {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

fn same_as_made(folder: &Path) {
    let (made, found) = (content(&MADE.path().join("sweep")), content(folder));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(names(&found), names(&made));
    assert!(found.len() > 30, "{} files", found.len());
    for ((path, found), (_, made)) in found.iter().zip(&made) {
        assert!(found == made, "{}", path.display());
    }
}

/// With one space between two words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn on_the_cpu() -> bool {
    std::env::var("SUBLORA_DEVICE").map_or(true, |device| device == "flex")
}

#[test]
fn a_finished_sweep_is_summed_up_and_not_done_again() {
    let at = MADE.path();
    let written = || {
        let runs = fs::read_dir(at.join("sweep/runs")).unwrap();
        let model = |run: fs::DirEntry| run.path().join("model.sublora");
        let models = runs.map(|run| fs::metadata(model(run.unwrap())).unwrap().modified().unwrap());
        models.collect::<Vec<_>>()
    };
    let before = written();
    let said = done(at, &format!("{SWEEP} --out sweep"));
    assert_eq!(written(), before);
    let rows = ["| plain ", "| dense ", "| new documents, bits per token ", "| new tokens, top-1 "];
    for row in rows {
        assert!(said.contains(row), "no {row} in\n{said}");
    }
    assert!(said.contains("2 of 2") && said.contains("the choice among 4 runs"), "{said}");
    let collected = done(at, &format!("{SWEEP} --out sweep --collect"));
    assert_eq!(collected, said);
    let json = done(at, &format!("{SWEEP} --out sweep --collect --json"));
    assert!(json == fs::read_to_string(at.join("sweep/sweep.json")).unwrap(), "{json:.200}");
    let csv = fs::read_to_string(at.join("sweep/runs.csv")).unwrap();
    assert_eq!(csv.matches(",finished,").count(), 4, "{csv}");
    done(at, "verify sweep/runs/dense-d16-s4");
}

#[test]
fn a_report_says_what_the_sweep_does_and_is_the_same_each_time() {
    let made = MADE.path();
    let said = done(made, "report sweep --out report");
    let expected = [
        "2 modes with d = 16 and 2 seeds: 4 of 4 runs finished.",
        "to “plain”", // the first mode of a uniform allocation
        "2 seeds are few",
        "| dense |",
        "report report/report.html",
    ];
    for expected in expected {
        assert!(words(&said).contains(expected), "no {expected} in\n{said}");
    }
    let files = [
        "report.html",
        "report.json",
        "modes.csv",
        "parts.csv",
        "groups.csv",
        "depth.csv",
        "steps.csv",
    ];
    let read = |folder: &Path| files.map(|name| fs::read(folder.join(name)).unwrap());
    let first = read(&made.join("report"));
    let page = String::from_utf8(first[0].clone()).unwrap();
    for expected in ["No finished run has gates", "tokenizer “byte” (vocabulary 257)", "plain-d16"]
    {
        assert!(page.contains(expected), "no {expected}");
    }
    let json = done(made, "report sweep --out report --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json["modes"].as_array().unwrap().len(), &json["page"]),
        (4, &"report/report.html".into())
    );
    assert_eq!(read(&made.join("report")), first);

    // What is read is copied, beside which the report goes by default.
    let folder = tempfile::tempdir().unwrap();
    let copy = |path: &str| {
        let to = folder.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(made.join(path), to).unwrap();
    };
    copy("sweep/sweep.json");
    for run in ["plain-d16-s3", "plain-d16-s4", "dense-d16-s3", "dense-d16-s4"] {
        copy(&format!("sweep/runs/{run}/train/metrics.jsonl"));
        copy(&format!("sweep/runs/{run}/certificate.json"));
    }
    done(folder.path(), "report sweep");
    assert_eq!(read(&folder.path().join("sweep/report")), first);
    let run = folder.path().join("sweep/runs/dense-d16-s4");
    fs::copy(run.with_file_name("dense-d16-s3/certificate.json"), run.join("certificate.json"))
        .unwrap();
    let shown = sublora(folder.path(), "report sweep");
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("is not the one that was collected"), "{shown:?}");
    fs::remove_file(run.join("train/metrics.jsonl")).unwrap();
    let shown = sublora(folder.path(), "report sweep");
    assert_eq!(shown.code, 2);
    assert!(
        shown.stderr.contains("metrics.jsonl") && shown.stderr.contains("\nhint: "),
        "{shown:?}"
    );
}

/// Starts the program and waits until `path` is there.
fn started(folder: &Path, line: &str, path: &str) -> std::process::Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sublora"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !folder.join(path).exists() && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_mins(2), "no {path}");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn a_killed_sweep_continues_to_the_same_bytes() {
    let folder = begun();
    let line = format!("{SWEEP} --out sweep --jobs 2 --memory 4");
    for path in [
        "sweep/bases/s3/pretrain/metrics.jsonl",
        "sweep/bases/s4/pretrain/last.safetensors",
        "sweep/runs/plain-d16-s3/train/metrics.jsonl",
        "sweep/runs/plain-d16-s4/model.sublora",
        "sweep/runs/dense-d16-s3/.scores-document.partial",
    ] {
        let mut child = started(folder.path(), &line, path);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    done(folder.path(), &line);
    if on_the_cpu() {
        same_as_made(&folder.path().join("sweep"));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_says_so_and_continues() {
    let folder = begun();
    let line = format!("{SWEEP} --out sweep --set run.train.steps=2000");
    let path = "sweep/runs/plain-d16-s3/train/metrics.jsonl";
    let mut child = started(folder.path(), &line, path);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let last = folder.path().join("sweep/runs/plain-d16-s3/train/last.safetensors");
    assert!(last.exists(), "no checkpoint");
    let shown = sublora(folder.path(), &format!("{line} --collect"));
    assert_eq!(shown.code, 1, "{shown:?}");
    let said = words(&shown.stdout);
    assert!(said.contains("| plain-d16-s3 | runs/plain-d16-s3 | begun |"), "{said}");
    assert!(said.contains("| dense-d16-s4 | runs/dense-d16-s4 | waiting |"), "{said}");
}

#[test]
fn a_run_that_fails_is_reported_and_stops_no_other() {
    let folder = begun();
    let at = folder.path();
    let modes = r#"--set mode=[{name="plain"},{name="nowhere",projector={kind="film",sites=["none"]}}] --set seeds=[3]"#;
    let line = format!("{SWEEP} --out sweep {modes} --jobs 2 --memory 0.000001");
    let Shown { code, stdout, stderr } = sublora(at, &line);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(
        stderr.starts_with("note: base s3 is estimated to take 0.1 GiB, more than"),
        "{stderr}"
    );
    assert!(words(&stdout).contains("| runs/nowhere-d16-s3 | failed |"), "{stdout}");
    assert!(stdout.contains("0 of 1") && stdout.contains("1 of 1"), "{stdout}");
    let failed = fs::read_to_string(at.join("sweep/runs/nowhere-d16-s3/failed.txt")).unwrap();
    assert!(
        failed.contains("[\"none\"]") && failed.contains("\n\nhint: set `sublora.projector`"),
        "{failed}"
    );
    let task = sublora(at, &format!("{SWEEP} --out sweep {modes} --task 2"));
    assert_eq!(task.code, 1, "{task:?}");
    assert!(task.stdout.starts_with("nowhere-d16-s3: failed: "), "{task:?}");
    // Another certificate of the run that finished is not quoted, and made the sweep's again.
    let certify = "certify sweep/runs/plain-d16-s3 --corpus corpus --replace --set certify.seed=7";
    done(at, certify);
    let collected = words(&sublora(at, &format!("{SWEEP} --out sweep {modes} --collect")).stdout);
    let because = "is not that of its run: `document-level sample` was 20 units, whole, of seed 7";
    assert!(collected.contains(because) && !collected.contains("| new documents"), "{collected}");
    let again = sublora(at, &format!("{SWEEP} --out sweep {modes}")).stdout;
    let timeless = |said: &str| said[said.find("| least bound").unwrap()..].to_owned();
    assert_eq!(timeless(&again), timeless(&stdout));
}

/// What `sbatch` of a cluster does, on this machine and one task after the other.
#[cfg(unix)]
const SBATCH: &str = r#"#!/usr/bin/env bash
set -euo pipefail
echo "$*" >> "$SUBMITTED"
script=${!#}
array=$(sed -n 's/^#SBATCH --array=//p' "$script")
if [ -z "$array" ]; then
    bash "$script" >&2
else
    for task in $(seq "${array%-*}" "${array#*-}"); do
        SLURM_ARRAY_TASK_ID=$task bash "$script" >&2
    done
fi
echo "7${#script};cluster"
"#;

#[cfg(unix)]
#[test]
fn job_arrays_make_the_same_folder() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = begun();
    let at = folder.path();
    let said = done(at, &format!("{SWEEP} --out sweep --slurm"));
    assert!(
        said.starts_with("6 tasks\nsubmit with  ") && said.contains("slurm/submit.sh"),
        "{said}"
    );
    fs::create_dir(at.join("bin")).unwrap();
    let sbatch = at.join("bin/sbatch");
    fs::write(&sbatch, SBATCH).unwrap();
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).unwrap();
    // What was changed since is not what the arrays run.
    fs::write(at.join("sweep.toml"), "").unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(at.join("sweep/slurm/submit.sh"))
        .args(["--partition=small", "--time=1:00"])
        .env("PATH", format!("{}:{path}", at.join("bin").display()))
        .env("SUBMITTED", at.join("submitted"))
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let submitted = fs::read_to_string(at.join("submitted")).unwrap();
    let options = "--partition=small --time=1:00";
    let expected = format!(
        "--parsable {options} bases.sh\n\
         --parsable --dependency=afterany:78 {options} runs.sh\n\
         --parsable --dependency=afterany:77 {options} collect.sh\n"
    );
    assert_eq!(submitted, expected); // 8 and 7 letters, and no cluster
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "bases.sh: job 78\nruns.sh: job 77\ncollect.sh: job 710\n");
    if on_the_cpu() {
        same_as_made(&at.join("sweep"));
    }
}
