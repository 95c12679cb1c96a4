//! Whole sweeps in seconds.

mod failures;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::RunStatus::{Failed, Finished};
use super::*;
use crate::fixture;
use crate::{Verification, verify};

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
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 16

[run.base]
kind = "prior-split"
fraction = 0.5
train = { steps = 6, batch = 4, seq = 16, eval_every = 4, eval_batches = 1 }

[run.lora]
rank = 2

[run.train]
steps = 5
batch = 4
seq = 16
eval_every = 4
eval_batches = 1

[run.compress]
levels = 5

[run.certify]
documents = 6
positions = "all"
top_k = [1]
"#;

/// A mode whose projector finds no weight to move, once it is built.
const NOWHERE: &str = r#"mode=[{ name = "plain" }, { name = "nowhere", projector = { kind = "film", sites = ["none"] } }]"#;

fn corpus(folder: &Path) -> Corpus {
    fixture::corpus(&folder.join("corpus"), &fixture::prose(40, 20), 0.2)
}

fn sweep<'a>(
    folder: PathBuf,
    corpus: &'a Corpus,
    overrides: &[&str],
    progress: &'a dyn SweepProgress,
) -> Sweep<'a> {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    Sweep {
        folder,
        config: SweepConfig::parse(CONFIG, &overrides).unwrap(),
        corpus,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress,
        explain: &|error| format!("{error}\n\nhint: none\n"),
    }
}

fn jobs(jobs: usize) -> SweepLimits {
    SweepLimits { jobs: NonZeroUsize::new(jobs).unwrap(), memory: None }
}

fn statuses(record: &SweepRecord) -> Vec<RunStatus> {
    record.runs.iter().map(|it| it.status).collect()
}

/// Every file but TensorBoard's and burn's record of an optimiser, which differ from run to run.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let below = files(&path).into_iter();
            found.extend(below.map(|(below, bytes)| (Path::new(&name).join(below), bytes)));
        } else if !name.contains("tfevents") && name != "last.safetensors" {
            found.push((PathBuf::from(name), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(names(&one), names(&other));
    for ((path, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{}", path.display());
    }
}

/// Counts what begins, and may ask for an end at every fourth update.
#[derive(Default)]
struct Listener {
    begun: Mutex<Vec<String>>,
    updates: AtomicU64,
    is_impatient: bool,
}

struct Ear<'a>(&'a Listener);

impl Progress for Ear<'_> {
    fn begin(&self, _task: &str, _unit: &'static str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        let updates = self.0.updates.fetch_add(1, Ordering::Relaxed);
        if self.0.is_impatient && updates % 4 == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn end(&self) {}
}

impl SweepProgress for Listener {
    fn tasks(&self, done: usize, total: usize) {
        assert!(done <= total);
    }

    fn begin<'a>(&'a self, name: &str) -> Box<dyn Progress + 'a> {
        self.begun.lock().unwrap().push(name.to_owned());
        Box::new(Ear(self))
    }
}

#[test]
fn a_sweep_is_the_same_at_once_in_parts_and_task_by_task() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let listener = Listener::default();
    let whole = sweep(dir.path().join("whole"), &corpus, &[], &listener);
    let record = whole.run(jobs(1)).unwrap();
    let names = ["plain-d16-s3", "plain-d16-s4", "dense-d16-s3", "dense-d16-s4"];
    let tasks = [&["base s3", "base s4"], &names[..]].concat();
    assert_eq!(*listener.begun.lock().unwrap(), tasks);
    assert_eq!(statuses(&record), [Finished; 4]);
    assert_eq!(record.runs.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), names);
    for name in names {
        let certificate = whole.folder.join("runs").join(name).join("certificate.json");
        let verdict = verify(&certificate, None, Some(&whole.device), &|| 0.0, &()).unwrap();
        assert!(matches!(verdict, Verification::Confirmed { .. }), "{name}: {verdict:?}");
    }

    // Nothing is left to do.
    let updates = listener.updates.load(Ordering::Relaxed);
    assert_eq!(whole.run(jobs(2)).unwrap(), record);
    assert_eq!(listener.updates.load(Ordering::Relaxed), updates);

    let at_once = sweep(dir.path().join("at_once"), &corpus, &[], &());
    at_once.run(jobs(3)).unwrap();
    same(&whole.folder, &at_once.folder);

    let impatient = Listener { is_impatient: true, ..Listener::default() };
    let parts = sweep(dir.path().join("parts"), &corpus, &[], &impatient);
    let mut interruptions = 0;
    while let Err(error) = parts.run(jobs(2)) {
        assert!(matches!(error, Error::Interrupted), "{error}");
        interruptions += 1;
        assert!(interruptions < 100, "it never ends");
    }
    assert!(interruptions > 5, "{interruptions}");
    same(&whole.folder, &parts.folder);

    let array = sweep(dir.path().join("array"), &corpus, &[], &());
    for place in 0..6 {
        assert_eq!(array.run_task(place).unwrap(), TaskEnd::Done);
    }
    let error = array.run_task(6).unwrap_err().to_string();
    assert_eq!(error, "`task` is 6, expected below the 6 tasks of the sweep");
    assert_eq!(array.collect().unwrap(), record);
    same(&whole.folder, &array.folder);
}

#[test]
fn a_seed_drives_the_whole_run_and_a_run_is_what_it_would_be_alone() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let sweep = sweep(dir.path().join("sweep"), &corpus, &[], &());
    sweep.run(jobs(2)).unwrap();
    let read = |path: &str| std::fs::read(sweep.folder.join(path)).unwrap();
    assert_ne!(read("bases/s3/base/model.safetensors"), read("bases/s4/base/model.safetensors"));
    assert_ne!(read("runs/plain-d16-s3/model.sublora"), read("runs/plain-d16-s4/model.sublora"));
    let of_sweep = &sweep.config.runs().unwrap()[0];
    let alone = Run {
        folder: dir.path().join("alone"),
        ..sweep.as_run(&SweepTask::Run(of_sweep.clone()), &())
    };
    alone.train(false).unwrap();
    alone.compress(false).unwrap();
    alone.certify(0).unwrap();
    let in_sweep = sweep.folder.join("runs/plain-d16-s3");
    for file in
        ["base/model.safetensors", "train/metrics.jsonl", "model.sublora", "certificate.json"]
    {
        let one = std::fs::read(alone.folder.join(file)).unwrap();
        // Paths in a certificate start from its folder.
        let other = std::fs::read(in_sweep.join(file)).unwrap();
        if file == "certificate.json" {
            let bounds = |bytes: &[u8]| -> serde_json::Value {
                serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["bounds"].clone()
            };
            assert_eq!(bounds(&one), bounds(&other));
        } else {
            assert!(one == other, "{file}");
        }
    }
}

#[test]
fn a_folder_is_one_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let folder = dir.path().join("sweep");
    let random = "run.base={ kind = \"random\" }";
    let one = ["seeds=[3]", "run.train.steps=1", random];
    let said = |sweep: &Sweep<'_>| sweep.run(jobs(1)).unwrap_err().to_string();
    let ours = sweep(folder.clone(), &corpus, &one, &());
    let nothing = ours.collect().unwrap_err().to_string();
    assert!(nothing.ends_with("holds no sweep") && !folder.exists(), "{nothing}");
    ours.run(jobs(1)).unwrap();
    let changed = sweep(folder.clone(), &corpus, &[&one[..], &["run.lora.rank=3"]].concat(), &());
    let expected = "configuration: `run.lora.rank` was 2, and is 3 now";
    assert!(said(&changed).ends_with(expected), "{}", said(&changed));
    assert!(changed.collect().is_err() && changed.run_task(0).is_err());
    let more = sweep(folder.clone(), &corpus, &["run.train.steps=1", random], &());
    assert!(said(&more).ends_with("`seeds` was [3], and is [3, 4] now"), "{}", said(&more));
    let other = fixture::corpus(&dir.path().join("other"), &fixture::prose(39, 20), 0.2);
    let elsewhere = sweep(folder.clone(), &other, &one, &());
    assert!(said(&elsewhere).contains("was trained on the corpus"), "{}", said(&elsewhere));
    let of_run = sweep(folder.join("runs/plain-d16-s3"), &corpus, &one, &());
    assert!(said(&of_run).ends_with("already holds a run"), "{}", said(&of_run));
    // A run that somebody changed is none of this sweep.
    let config = folder.join("runs/plain-d16-s3/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("steps = 1\n", "steps = 2\n")).unwrap();
    let record = ours.collect().unwrap();
    assert_eq!(statuses(&record), [Failed, Finished]);
    let failure = record.runs[0].failure.as_deref().unwrap();
    assert!(failure.contains("`train.steps` was 2, and is 1 now"), "{failure}");
}

#[test]
fn what_is_wrong_is_found_before_a_folder_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let folder = dir.path().join("sweep");
    let cases = [
        ("run.train.seq=17", "`train.seq` is 17, expected at most the model's context"),
        ("run.certify.top_k=[300]", "`certify.top_k` is [300]"),
        ("run.model.size=tyny", "unknown model size `tyny`"),
        (
            "intrinsic_dim=[16, 100000]",
            "mode `plain`: the intrinsic dimension is 100000, expected at most the ambient dimension",
        ),
        (
            "mode=[{ name = \"b-heavy\", allocation_mode = \"fixed\", allocation_ratio = 1.5 }]",
            "mode `b-heavy`: the ratio is 1.5, expected 0 to 1",
        ),
        (
            "mode=[{ name = \"a-only\", allocation_mode = \"fixed\", allocation_ratio = 0 }]\nintrinsic_dim=[100]",
            // Rank 2 of 16 numbers on query, value and head.
            "mode `a-only`: A of all layers has 96 parameters, expected at least its 100 coordinates",
        ),
    ];
    for (change, reason) in cases {
        let changes: Vec<&str> = change.lines().collect();
        let error = sweep(folder.clone(), &corpus, &changes, &()).run(jobs(1)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!folder.exists(), "{change}");
    }
    let dropout = sweep(folder, &corpus, &["run.lora.dropout=0.1", "seeds=[3]"], &());
    let error = dropout.run(jobs(2)).unwrap_err().to_string();
    assert!(error.starts_with("`run.lora.dropout` is 0.1, expected 0 for several"), "{error}");
}

#[test]
fn a_certificate_pays_for_the_choice_and_the_record_says_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let overrides = ["run.certify.configurations=3", "run.base={ kind = \"random\" }"];
    let sweep = sweep(dir.path().join("sweep"), &corpus, &overrides, &());
    let record = sweep.run(jobs(2)).unwrap();
    assert_eq!((record.choice.runs, record.choice.configurations), (4, 12));
    assert_eq!(record.choice.best.len(), 4); // two levels, bits and the top-1 error
    for best in &record.choice.best {
        let claim = |it: &RunRecord| it.best(best.unit, best.metric, best.k).unwrap().bound;
        let least = record.runs.iter().map(claim).fold(f64::INFINITY, f64::min);
        assert!(best.bound <= least && best.bound_alone <= best.bound, "{best:?}");
        // Of 12 in place of 3: log2 rounded up, 4 in place of 2.
        assert_eq!(best.code_length, best.code_length_alone + 2);
    }
    // Where a bound is not at its upper limit.
    assert!(record.choice.best.iter().any(|it| it.bound_alone < it.bound), "{:?}", record.choice);
    for run in &record.runs {
        assert_eq!(run.code_length.unwrap().configuration, 4);
    }
    let json = std::fs::read(sweep.folder.join("sweep.json")).unwrap();
    assert_eq!(serde_json::from_slice::<SweepRecord>(&json).unwrap(), record);
    let csv = std::fs::read_to_string(sweep.folder.join("runs.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    let head = "mode,intrinsic_dim,seed,status,code_length,bits_header,bits_codebook,bits_counts,\
        bits_symbols,bits_padding,bits_allocation,bits_configuration,held_out_bits_per_token,\
        best_step,quantization_loss,\
        document_bits_per_token_risk,document_bits_per_token_bound,document_top_1_error_risk,\
        document_top_1_error_bound,token_bits_per_token_risk,token_bits_per_token_bound,\
        token_top_1_error_risk,token_top_1_error_bound,seconds,failure";
    assert_eq!((lines.len(), lines[0]), (5, head));
    assert!(lines[1].starts_with("plain,16,3,finished,"), "{}", lines[1]);
    let group = &record.groups[0];
    let mean = |value: &dyn Fn(&RunRecord) -> f64| {
        f64::midpoint(value(&record.runs[0]), value(&record.runs[1]))
    };
    let held_out = mean(&|it| it.held_out.unwrap().bits_per_token);
    assert!((group.held_out.unwrap().mean - held_out).abs() < 1e-12);
    let bound =
        mean(&|it| it.best(group.bounds[0].unit, group.bounds[0].metric, None).unwrap().bound);
    assert!((group.bounds[0].bound.mean - bound).abs() < 1e-12);
}

#[test]
fn a_base_is_taken_over_by_runs_that_would_pretrain_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    let sweep = sweep(dir.path().join("sweep"), &corpus, &[], &());
    let tasks = sweep.tasks().unwrap();
    let base = sweep.as_run(&tasks[0], &());
    let mut run = Run { folder: dir.path().join("run"), ..sweep.as_run(&tasks[2], &()) };
    let said = run.adopt_base(&base).unwrap_err().to_string();
    assert!(said.ends_with("bases/s3` holds no base") && !run.folder.exists(), "{said}");
    base.pretrain_base(false).unwrap();
    run.config.seed = 4;
    let said = run.adopt_base(&base).unwrap_err().to_string();
    let expected = "is not the base of this run: `seed` was 3, and is 4 now";
    assert!(said.ends_with(expected) && !run.folder.exists(), "{said}");
    run.config.seed = 3;
    let other = fixture::corpus(&dir.path().join("other"), &fixture::prose(39, 20), 0.2);
    let elsewhere = Run { corpus: &other, ..sweep.as_run(&tasks[0], &()) };
    assert!(run.adopt_base(&elsewhere).is_err());
    // A copy that was cut off is made anew.
    std::fs::create_dir_all(run.folder.join(".partial-base")).unwrap();
    std::fs::write(run.folder.join(".partial-base/half"), "").unwrap();
    run.adopt_base(&base).unwrap();
    run.adopt_base(&base).unwrap();
    same(&run.folder.join("base"), &base.folder.join("base"));
    assert!(!run.folder.join(".partial-base").exists());
    run.train(true).unwrap();
    // What the base run holds besides is no run to go on with under another configuration.
    let theirs = Run { folder: base.folder.clone(), ..sweep.as_run(&tasks[2], &()) };
    assert!(matches!(theirs.train(true), Err(Error::OtherConfig { .. })));
    let random = Run {
        config: crate::RunConfig { base: crate::BaseConfig::Random {}, ..run.config.clone() },
        ..sweep.as_run(&tasks[2], &())
    };
    assert!(random.pretrain_base(false).is_err() && random.adopt_base(&base).is_err());
}
