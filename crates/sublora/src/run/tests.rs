//! Whole runs in seconds: interrupted ones end where the others do.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use subspace_projectors::{Fixed, Learned};

use super::*;
use crate::compression::Compression;
use crate::fixture;
use crate::{Verification, verify};

/// Asks for an end at every third update.
struct Impatient(AtomicU64);

impl Progress for Impatient {
    fn begin(&self, _task: &str, _unit: &'static str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        match self.0.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn end(&self) {}
}

const CONFIG: &str = r#"
[model]
size = "tiny"
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 16

[base]
kind = "prior-split"
fraction = 0.5
train = { steps = 8, batch = 4, seq = 16, shards = 2, eval_every = 4, eval_batches = 1 }

[lora]
rank = 2

[sublora]
intrinsic_dim = 16

[train]
steps = 11
batch = 4
seq = 16
accumulation = 2
learning_rate = { peak = 1e-2, warm_up = 2 }
eval_every = 4
eval_batches = 2

[compress]
levels = 5
qat_steps = 5
qat_learning_rate = 1e-3

[certify]
documents = 6
positions = "all"
"#;

fn run<'a>(
    folder: PathBuf,
    corpus: &'a Corpus,
    overrides: &[&str],
    progress: &'a dyn Progress,
) -> Run<'a> {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    Run {
        folder,
        config: RunConfig::parse(CONFIG, &overrides).unwrap(),
        corpus,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress,
    }
}

/// Calls until the answer is not an interruption; how often it was one.
fn insist<T>(mut call: impl FnMut(u64) -> Result<T, Error>) -> (T, u64) {
    for interruptions in 0.. {
        match call(interruptions) {
            Ok(value) => return (value, interruptions),
            Err(Error::Interrupted) => assert!(interruptions < 100, "it never ends"),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a hundred interruptions are enough")
}

/// The second with gates, which turn from step to step and are trained through their code.
#[test]
fn an_interrupted_run_ends_as_one_that_was_not() {
    for mode in ["uniform", "learned"] {
        interrupted_and_whole(&format!("sublora.allocation_mode={mode}"));
    }
}

fn interrupted_and_whole(allocation: &str) {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(40, 20), 0.2);
    let whole = run(dir.path().join("whole"), &corpus, &[allocation], &());
    let outcome = whole.train(false).unwrap();
    whole.compress(false).unwrap();
    let certificate = whole.certify(0).unwrap();

    let impatient = Impatient(AtomicU64::new(0));
    let parts = run(dir.path().join("parts"), &corpus, &[allocation], &impatient);
    let (resumed, interruptions) = insist(|attempt| parts.train(attempt > 0));
    assert!(interruptions >= 5, "{interruptions}");
    assert_eq!(resumed, outcome);
    let (_, interruptions) = insist(|_| parts.compress(true));
    assert!(interruptions >= 1, "{interruptions}");
    let (resumed, interruptions) = insist(|_| parts.certify(0));
    assert!(interruptions >= 5, "{interruptions}");
    assert_eq!(resumed, certificate);

    let files = [
        "pretrain/metrics.jsonl",
        "base/model.safetensors",
        "train/metrics.jsonl",
        "qat/metrics.jsonl",
        "model.sublora",
        "compression.json",
        "scores.safetensors",
        "certificate.json",
    ];
    for file in files {
        let read = |run: &Run<'_>| std::fs::read(run.folder.join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file}");
    }
    let verdict =
        verify(&parts.certificate_path(), None, Some(&parts.device), &|| 0.0, &()).unwrap();
    assert!(matches!(verdict, Verification::Confirmed { .. }), "{verdict:?}");
    let left: Vec<_> = std::fs::read_dir(&parts.folder).unwrap().collect();
    assert_eq!(left.len(), 10); // no partial scores: config, provenance, four folders, four files
}

#[test]
fn a_killed_run_without_a_checkpoint_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let run = run(dir.path().join("run"), &corpus, &["base={ kind = \"random\" }"], &());
    std::fs::create_dir_all(run.folder.join("train")).unwrap();
    std::fs::write(run.folder.join("train/metrics.jsonl"), "{\"step\":1}\n{\"st").unwrap();
    run.record().unwrap();
    run.train(true).unwrap();
    let metrics = std::fs::read_to_string(run.folder.join("train/metrics.jsonl")).unwrap();
    assert!(metrics.starts_with("{\"step\":1,\"train/bits_per_token\":"), "{metrics}");
}

/// Overrides of every allocation, each with both gates where it has one.
const ALLOCATIONS: [&[&str]; 8] = [
    &["sublora.allocation_mode=uniform"],
    &["sublora.allocation_mode=fixed", "sublora.allocation_ratio=0.8"],
    &["sublora.allocation_mode=fixed", "sublora.allocation_ratio=1"],
    &["sublora.allocation_mode=per-layer"],
    &[
        "sublora.allocation_mode=per-layer",
        "sublora.allocation_table={ \"h.0\" = [2, 6], rest = [1, 7] }",
    ],
    &["sublora.allocation_mode=learned"],
    &["sublora.allocation_mode=learned", "sublora.allocation_gate.kind=soft-mask"],
    &["sublora.allocation_mode=learned-shared"],
];

#[test]
fn every_allocation_begins_alike_and_goes_the_whole_way() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let mut first_losses = Vec::new();
    for (place, overrides) in ALLOCATIONS.iter().enumerate() {
        let overrides = [&["base={ kind = \"random\" }"], *overrides].concat();
        let run = run(dir.path().join(place.to_string()), &corpus, &overrides, &());
        run.train(false).unwrap();
        let metrics = std::fs::read_to_string(run.folder.join("train/metrics.jsonl")).unwrap();
        let (loss, _) = metrics.split_once(",\"learning_rate\"").unwrap();
        first_losses.push(loss.to_owned());
        // One block and the head, both sides of each; of a side without coordinates there is none.
        for name in ["gradient_A/h.0", "gradient_B/h.0", "gradient_A/rest", "gradient_B/rest"] {
            let alone = overrides.contains(&"sublora.allocation_ratio=1") && name.contains("_A");
            let expected = if alone { 0 } else { 3 }; // steps 4, 8 and 11
            assert_eq!(metrics.matches(name).count(), expected, "{overrides:?} {name}");
        }
        let artifact = run.compress(false).unwrap();
        let limits = artifact.spec.plan().unwrap().unwrap().limits();
        assert_eq!(artifact.allocation.len(), limits.len());
        let record = Compression::read(&run.folder).unwrap();
        let bits: u32 = limits.iter().map(|&it| u64::BITS - (it - 1).leading_zeros()).sum();
        assert_eq!(record.bits.allocation, u64::from(bits.next_multiple_of(8)), "{overrides:?}");
        assert_eq!((record.intrinsic_dim, record.trained_weights), (16, 674)); // 2 (2 (32) + 16 + 257)
        assert_eq!(record.gates.is_empty(), !metrics.contains("gate/h.0"));
        let certificate = run.certify(0).unwrap();
        assert_eq!(certificate.artifact.code_length, record.code_length);
        let verdict = verify(&run.certificate_path(), None, Some(&run.device), &|| 0.0, &());
        assert!(matches!(verdict, Ok(Verification::Confirmed { .. })), "{verdict:?}");
    }
    assert!(first_losses.windows(2).all(|pair| pair[0] == pair[1]), "{first_losses:?}");
}

#[test]
fn another_allocation_is_never_taken_for_the_one_that_was_trained() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.2);
    let base = "base={ kind = \"random\" }";
    let fixed = ["sublora.allocation_mode=fixed", "sublora.allocation_ratio=0.8", base];
    let mut run = run(dir.path().join("run"), &corpus, &fixed, &());
    run.train(false).unwrap();
    let artifact = run.compress(false).unwrap();

    // Going on with another ratio.
    let equal = Fixed { ratio: 0.5 };
    run.config.sublora.as_mut().unwrap().allocation = equal.clone().into();
    let error = run.train(true).unwrap_err().to_string();
    assert!(error.ends_with("`sublora.allocation_ratio` was 0.8, and is 0.5 now"), "{error}");

    // A header that says another one than the payload.
    let mut forged = artifact.clone();
    forged.spec.sublora.as_mut().unwrap().allocation = equal.into();
    let forged = Artifact::from_bytes(&forged.to_bytes().unwrap()).unwrap();
    let error = forged.rebuild(None, &run.device).unwrap_err().to_string();
    let expected =
        "the stored allocation [800] is not the configured one, expected [500] and 0 gates";
    assert_eq!(error, expected);

    // A checkpoint of gates for coordinates without any.
    run.config.sublora.as_mut().unwrap().allocation = Learned::default().into();
    run.folder = dir.path().join("learned");
    run.train(false).unwrap();
    let text = std::fs::read_to_string(run.folder.join("config.toml")).unwrap();
    run.config.sublora.as_mut().unwrap().allocation = Fixed { ratio: 0.8 }.into();
    std::fs::write(run.folder.join("config.toml"), toml::to_string(&run.config).unwrap()).unwrap();
    assert!(text.contains("allocation_mode = \"learned\""));
    let error = run.compress(false).unwrap_err().to_string();
    assert_eq!(error, "the checkpoint holds gates, and this allocation has none");
}

type Change = fn(&mut RunConfig);

#[test]
fn every_mode_trains() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let modes: [(&str, Change); 4] = [
        ("sublora", |_| {}),
        ("lora", |config| config.sublora = None),
        ("subspace", |config| {
            config.lora = None;
            config.trainable = vec!["*.ln_*".to_owned(), "ln_f.weight".to_owned()];
        }),
        ("full", |config| (config.lora, config.sublora) = (None, None)),
    ];
    for (name, change) in modes {
        let mut run = run(dir.path().join(name), &corpus, &["base={ kind = \"random\" }"], &());
        change(&mut run.config);
        let outcome = run.train(false).unwrap();
        assert!(outcome.best_loss < 5.6, "{name}: {outcome:?}"); // ln 257 = 5.549 at the start
        let can_be_coded = run.config.sublora.is_some();
        assert_eq!(run.compress(false).is_ok(), can_be_coded, "{name}");
        if can_be_coded {
            run.certify(0).unwrap();
        }
    }
}

#[test]
fn a_folder_is_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(10, 20), 0.0);
    let random = ["base={ kind = \"random\" }", "train.steps=1"];
    let mut run = run(dir.path().join("run"), &corpus, &random, &());
    let untrained = run.compress(false).unwrap_err().to_string();
    assert!(untrained.ends_with("holds no trained model"), "{untrained}");
    run.train(false).unwrap();
    let again = run.train(false).unwrap_err().to_string();
    assert!(again.ends_with("already holds a run"), "{again}");
    run.train(true).unwrap();
    run.config.seed += 1;
    let other = run.train(true).unwrap_err().to_string();
    assert!(other.ends_with("configuration: `seed` was 137, and is 138 now"), "{other}");
}

#[test]
fn what_is_wrong_is_found_before_a_folder_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let checkpoint = dir.path().join("checkpoint");
    let (spec, folder) = (fixture::spec(16), dir.path().join("run"));
    gpt2_model::save(&fixture::base(&spec), &spec.model, &checkpoint).unwrap();
    let checkpoint = format!("base={{ kind = \"checkpoint\", path = {checkpoint:?} }}");
    let random = "base={ kind = \"random\" }";
    let cases: [(&[&str], &str); 11] = [
        (&["train.seq=17"], "`train.seq` is 17, expected at most the model's context"),
        (&["base.train.seq=17"], "`base.train.seq` is 17"),
        (&[random, "train.seq=17"], "`train.seq` is 17"),
        (&[&checkpoint, "train.seq=17"], "`train.seq` is 17"),
        (&["certify.stride=17"], "`certify.stride` is 17"),
        (&["certify.top_k=[300]"], "`certify.top_k` is [300]"),
        (&["sublora.intrinsic_dim=100000"], "100000"),
        (&[random, "sublora.intrinsic_dim=100000"], "100000"),
        (&["lora.sites=[]"], "nothing to train"),
        (&["model.n_head=3"], "`n_head` is 3"),
        (&["base.fraction=1e-6"], "window"),
    ];
    for (overrides, reason) in cases {
        let error = run(folder.clone(), &corpus, overrides, &()).train(false).unwrap_err();
        assert!(error.to_string().contains(reason), "{overrides:?}: {error}");
        assert!(!folder.exists(), "{overrides:?}");
    }
    let mut run = run(folder, &corpus, &[random], &());
    run.config.train.eval_batches = 0; // not from a file
    let error = run.train(false).unwrap_err().to_string();
    assert!(error.contains("`train.eval_batches` is 0") && !run.folder.exists(), "{error}");
}

#[test]
fn only_a_finished_training_is_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let (random, impatient) = ("base={ kind = \"random\" }", Impatient(AtomicU64::new(0)));
    let run = run(dir.path().join("run"), &corpus, &[random], &impatient);
    assert!(matches!(run.train(false), Err(Error::Interrupted)));
    let error = run.compress(false).unwrap_err().to_string();
    assert!(error.ends_with("run` is trained for 3 of 11 steps"), "{error}");
    insist(|_| run.train(true));
    insist(|_| run.compress(true));
}

#[test]
fn other_levels_begin_another_quantisation_aware_training() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let random = "base={ kind = \"random\" }";
    let changes: [&[&str]; 4] = [
        &[],
        &["compress.levels=3"],
        &["compress.codebook={ kind = \"uniform\" }"],
        &["compress.qat_learning_rate=1e-2"],
    ];
    let again = run(dir.path().join("run"), &corpus, &[random], &());
    again.train(false).unwrap();
    let mut artifacts = Vec::new();
    for (i, change) in changes.into_iter().enumerate() {
        // Changed in a run that was compressed before, and from the start.
        let overrides = [&[random], change].concat();
        let fresh = run(dir.path().join(format!("fresh{i}")), &corpus, &overrides, &());
        fresh.train(false).unwrap();
        let changed = run(again.folder.clone(), &corpus, &overrides, &());
        let artifact = changed.compress(true).unwrap();
        assert_eq!(artifact, fresh.compress(true).unwrap(), "{change:?}");
        assert!(!artifacts.contains(&artifact), "{change:?}");
        artifacts.push(artifact);
    }
}

#[test]
fn a_base_that_was_there_before_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let run = run(dir.path().join("run"), &corpus, &[], &());
    std::fs::create_dir_all(run.folder.join("base")).unwrap();
    assert!(matches!(run.train(false), Err(Error::RunExists(_))));
    assert!(matches!(run.train(true), Err(Error::RunExists(_))));
}

fn error<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_run_stays_with_its_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let prose = fixture::prose(40, 20);
    let corpus = fixture::corpus(&dir.path().join("corpus"), &prose, 0.2);
    let other = fixture::corpus(&dir.path().join("other"), &prose[1..], 0.2);
    let folder = dir.path().join("run");
    let random = "base={ kind = \"random\" }";
    let ours = run(folder.clone(), &corpus, &[random], &());
    ours.train(false).unwrap();
    let theirs = run(folder.clone(), &other, &[random], &());
    let [expected, found] = [&corpus, &other].map(Corpus::sha256);
    let said = format!("was trained on the corpus {expected}, this one is {found}");
    assert!(error(theirs.train(true)).ends_with(&said));
    assert!(error(theirs.compress(true)).ends_with(&said));
    let artifact = ours.compress(true).unwrap();
    assert!(error(theirs.certify(0)).ends_with(&said));
    assert!(error(theirs.held_out(&artifact, Split::Val, None)).ends_with(&said));
    ours.certify(0).unwrap();
    assert!(ours.held_out(&artifact, Split::Val, None).unwrap().is_some());
    // To generate, the same tokens are enough.
    theirs.generate(&artifact, &[101], 2, 1.0, 0).unwrap();
    let path = folder.join("provenance.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"eot\": 256", "\"eot\": 255")).unwrap();
    let said = error(theirs.generate(&artifact, &[101], 2, 1.0, 0));
    assert!(said.contains("was trained on tokens of `byte`"), "{said}");
    std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    assert!(error(ours.certify(0)).ends_with("its version is 2, this program reads 1"));
}

#[test]
fn a_base_that_saw_the_text_is_no_prior() {
    let dir = tempfile::tempdir().unwrap();
    let prose = fixture::prose(40, 20);
    let corpus = fixture::corpus(&dir.path().join("corpus"), &prose, 0.0);
    let first = run(dir.path().join("first"), &corpus, &[], &());
    first.train(false).unwrap();
    let artifact = first.compress(false).unwrap();
    assert_eq!(artifact.spec.corpus, corpus.sha256());
    assert_eq!(artifact.spec.base.prior(), Some(Partition { fraction: 0.5, seed: 137 }));

    let base = format!("base={{ kind = \"checkpoint\", path = {:?} }}", first.folder.join("base"));
    let second = run(dir.path().join("second"), &corpus, &[&base], &());
    let said = error(second.train(false));
    let part = format!("a part of the corpus {}: fraction 0.5, seed 137", corpus.sha256());
    assert!(said.ends_with(&part) && !second.folder.exists(), "{said}");
    // To another text it is a checkpoint like any other, and the artifact says so.
    let other = fixture::corpus(&dir.path().join("other"), &fixture::prose(80, 20)[40..], 0.0);
    let second = run(second.folder.clone(), &other, &[&base], &());
    second.train(false).unwrap();
    let base = second.compress(false).unwrap().spec.base;
    assert!(base.is_external() && !artifact.spec.base.is_external(), "{base:?}");

    // Nor does a run take another base, or another prior part, than its own.
    let mut changed = run(first.folder.clone(), &corpus, &["base.fraction=0.4"], &());
    assert!(error(changed.certify(0)).ends_with("made with another prior part of the corpus"));
    changed.config = first.config.clone();
    let path = first.folder.join("base/provenance.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"seed\": 137", "\"seed\": 138")).unwrap();
    assert!(error(changed.compress(true)).ends_with("made with another prior part of the corpus"));
    // One that was killed before it wrote the file writes it when it goes on.
    std::fs::remove_file(&path).unwrap();
    changed.train(true).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn numbers_that_are_none_stop_the_training() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(40, 20), 0.2);
    let (random, peak) = ("base={ kind = \"random\" }", "train.learning_rate.peak=1e30");
    let [cold, flat] = ["train.learning_rate.warm_up=0", "train.learning_rate.floor=1.0"];
    let train = |name: &str, overrides: &[&str]| {
        let overrides = [&[random, cold, flat], overrides].concat();
        let run = run(dir.path().join(name), &corpus, &overrides, &());
        (error(run.train(false)), run)
    };
    let (said, run) = train("loss", &[peak]);
    assert_eq!(said, "train: the loss is NaN at step 1, at a learning rate of 1e30");
    assert!(!run.folder.join("train/last.safetensors").exists());
    let (said, run) = train("held-out", &[peak, "train.eval_every=1"]);
    assert_eq!(said, "train: the held-out loss is NaN at step 0, at a learning rate of 1e30");
    assert!(error(run.compress(false)).ends_with("holds no trained model"));
    // What was finished before is kept: quantisation-aware training fails, the run does not.
    let qat = ["compress.qat_learning_rate=1e30", "compress.qat_steps=3"];
    let overrides = [&[random], &qat[..]].concat();
    let run = self::run(dir.path().join("qat"), &corpus, &overrides, &());
    run.train(false).unwrap();
    let said = error(run.compress(false));
    let expected =
        "quantisation-aware training: the loss is NaN at step 1, at a learning rate of 1e30";
    assert_eq!(said, expected);
    run.train(true).unwrap();
}

#[cfg(unix)] // one root, so that a relative path leads everywhere
#[test]
fn a_checkpoint_is_found_from_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(20, 20), 0.0);
    let (spec, checkpoint) = (fixture::spec(16), dir.path().join("checkpoint"));
    gpt2_model::save(&fixture::base(&spec), &spec.model, &checkpoint).unwrap();
    let here = std::path::absolute("here").unwrap();
    let here = here.parent().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(checkpoint.strip_prefix("/").unwrap());
    let base = format!("base={{ kind = \"checkpoint\", path = {relative:?} }}");
    let run = run(dir.path().join("run"), &corpus, &[&base], &());
    run.train(false).unwrap();
    let BaseConfig::Checkpoint { path } = Run::read_config(&run.folder, &[]).unwrap().base else {
        panic!("another kind of base")
    };
    assert!(path.is_absolute() && relative.is_relative(), "{path:?}");
    run.train(true).unwrap();
}
