//! Whole studies.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::Sha256Hash;

use super::super::record::KeptMeasures;
use super::*;
use crate::{Error, Progress};

/// Stops at the update of this number.
struct StopAt(AtomicU64);

impl Progress for StopAt {
    fn begin(&self, _task: &str, _unit: &str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn end(&self) {}
}

#[test]
fn a_study_measures_what_it_says_and_a_stopped_one_measures_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (text(dir.path()), bytes());
    let run = |name: &str, progress: &dyn Progress| {
        study(&dir.path().join(name), config(&[]), &corpus, tokenizer.as_ref(), progress).run()
    };
    let records = run("whole", &()).unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert!(record.retain_tokens >= 100);
    // Taught: the loss on the facts falls, by .095 with this seed.
    let taught = record.pretrained.forget_nats - record.memorized.forget_nats;
    assert!(taught > 0.05, "{taught}");
    let found: Vec<_> = record
        .sweep
        .iter()
        .map(|it| (it.selection.as_str(), it.ratio, it.alpha, it.is_control))
        .collect();
    let expected = [
        ("memory-delta", 0.25, 0.0, false),
        ("memory-delta", 0.25, 0.5, false),
        ("memory-delta", 0.25, 1.0, false),
        ("memory-delta", 1.0, 0.0, false),
        ("memory-delta", 1.0, 0.5, false),
        ("memory-delta", 1.0, 1.0, false),
        ("random", 0.25, 0.0, true),
        ("random", 0.25, 0.5, true),
        ("random", 0.25, 1.0, true),
        ("magnitude", 0.25, 0.0, true),
        ("magnitude", 0.25, 0.5, true),
        ("magnitude", 0.25, 1.0, true),
    ];
    assert_eq!(found, expected);
    // All of the change removed is the untaught model, none is the taught one; to the bit.
    assert_eq!(record.sweep[3].measures, record.pretrained);
    assert_eq!(record.sweep[5].measures, record.memorized);
    assert!(record.sweep[0].captured > record.sweep[6].captured);
    // What is taught to outliers alone is gone without them.
    let streams: Vec<_> = record.streams.iter().map(|it| (it.ratio, it.alpha)).collect();
    assert_eq!(streams, [(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]);
    assert_eq!(record.streams[0].measures, record.pretrained);
    let taught = record.pretrained.forget_nats - record.streams[2].measures.forget_nats;
    assert!(taught > 0.02, "{taught}");
    let models: Vec<_> = record.quantized.iter().map(|it| it.model.as_str()).collect();
    let each = ["pretrained", "memorized", "ascent", "memory-delta", "memory-delta"];
    assert_eq!(models, [each, each, each].concat());
    let quantized = |model: &str, base: &str| {
        record.quantized.iter().find(|it| it.model == model && it.base == base).unwrap()
    };
    assert_eq!(quantized("memorized", "fp16").measures, record.memorized);
    assert_eq!(quantized("memorized", "int4").moved, 0.0);
    assert!(quantized("ascent", "fp16").moved > 0.9, "an ascent of AdamW moves every weight");

    // The seventh update is in the first training, and then in the measurements after 1 + 4 of trainings.
    for _ in 0..2 {
        let stopped = run("stopped", &StopAt(AtomicU64::new(7)));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    }
    // What was measured before that is on disk: 2 ends, and a split at 0 and at .5.
    let kept = dir.path().join("stopped/study/seed-1/measuring.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    assert_eq!(text.matches("\"recall\"").count(), 4, "{text}");
    // A kill before the first checkpoint of a training leaves its log.
    let memorize = dir.path().join("stopped/study/seed-1/memorize");
    std::fs::remove_file(memorize.join("last.safetensors")).unwrap();
    assert_eq!(run("stopped", &()).unwrap(), records);
    assert!(!kept.exists());
    let bytes = |name: &str| {
        std::fs::read(dir.path().join(name).join("study/seed-1/measured.json")).unwrap()
    };
    assert_eq!(bytes("stopped"), bytes("whole"));
}

/// Kept measures are taken as they are, unless they are of something else.
#[test]
fn what_is_kept_is_not_measured_again() {
    let dir = tempfile::tempdir().unwrap();
    let head = Head {
        version: Head::VERSION,
        seed: 1,
        corpus: Sha256Hash([7; 32]),
        settings: Sha256Hash([8; 32]),
        base: None,
    };
    let measures = |recall| Measures {
        forget_nats: 1.0,
        recall,
        paraphrase_nats: 2.0,
        paraphrase_recall: 0.0,
        retain_nats: 3.0,
    };
    let take = |head: &Head, name: &str, recall| {
        let kept = KeptMeasures::open(dir.path(), head).unwrap();
        kept.take(name, || Ok(measures(recall))).unwrap().recall
    };
    assert_eq!(take(&head, "a", 0.25), 0.25);
    assert_eq!(take(&head, "b", 0.5), 0.5);
    assert_eq!(take(&head, "a", 1.0), 0.25);
    let failed =
        KeptMeasures::open(dir.path(), &head).unwrap().take("c", || Err(Error::Interrupted));
    assert!(matches!(failed, Err(Error::Interrupted)));
    assert_eq!(take(&head, "b", 1.0), 0.5);
    let other = Head { settings: Sha256Hash([9; 32]), ..head };
    assert_eq!(take(&other, "a", 1.0), 1.0);
}

#[test]
fn a_folder_has_one_study() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (text(dir.path()), bytes());
    let stopped = StopAt(AtomicU64::new(1));
    let run = |overrides: &[&str]| {
        study(dir.path(), config(overrides), &corpus, tokenizer.as_ref(), &stopped).run()
    };
    assert!(matches!(run(&[]), Err(Error::Interrupted)));
    // Seeds do not know of each other.
    let stopped = StopAt(AtomicU64::new(1));
    let more = config(&["seeds=[1, 2]"]);
    let more = study(dir.path(), more, &corpus, tokenizer.as_ref(), &stopped).run();
    assert!(matches!(more, Err(Error::Interrupted)), "{more:?}");
    let error = run(&["memorize.train.steps=9"]).unwrap_err().to_string();
    assert!(error.contains("`memorize.train.steps` was 8, and is 9 now"), "{error}");
    let error = UnlearningReport::read(&dir.path().join("study")).err().unwrap().to_string();
    assert!(error.ends_with("holds no seed that is over"), "{error}");
    let error = UnlearningReport::read(dir.path()).err().unwrap().to_string();
    assert!(error.ends_with("holds no unlearning study"), "{error}");
}

#[test]
fn settings_that_no_study_can_have() {
    let refused = |setting: &str| {
        UnlearningConfig::parse(CONFIG, &[setting.to_owned()]).unwrap_err().to_string()
    };
    for (setting, expected) in [
        ("ratios=[0.5, 1.5]", "`ratios` is 1.5, expected 0 to 1"),
        ("ratios=[nan]", "`ratios` is NaN, expected 0 to 1"),
        ("streams.ratios=[2.0]", "`streams.ratios` is 2, expected 0 to 1"),
        ("ratios=[]", "`ratios` is empty, expected at least one"),
        ("bases=[]", "`bases` is empty, expected at least one"),
        ("facts=0", "`facts` is 0, expected 1 to 4096"),
        ("facts=1000000000", "`facts` is 1000000000, expected 1 to 4096"),
        (
            "selections=[{ kind = \"memory-delta\", ratio = 0.3 }]",
            "`selections` have a `ratio`, expected it in `ratios` alone",
        ),
        ("unlearning.fisher={ forget = 1.0 }", "`unlearning` is fisher, expected letters"),
        ("retain_tokens=0", "`retain_tokens` is 0, expected at least 1"),
        ("seeds=[2, 2]", "`seeds` have 2 twice"),
        ("ratios=[0.5, 0.5]", "`ratios` have 0.5 twice"),
        ("streams.ratios=[0.5, 0.5]", "`streams.ratios` have 0.5 twice"),
        (
            "controls=[{ kind = \"memory-delta\" }]",
            "`selections` and `controls` have \"memory-delta\" twice",
        ),
        (
            "bases=[{ kind = \"int8\" }, { kind = \"int8\", range = \"mse\" }]",
            "`bases` have int8 twice",
        ),
        ("storage=\"f32\"", "`storage` is f32, expected f16 or bf16"),
        ("alphas=[-0.5]", "`alphas`: alpha is -0.5, expected 0 to 1"),
        ("alphas=[inf]", "`alphas`: alpha is inf, expected 0 to 1"),
        ("selections=[{ kind = \"iqr\" }]", "`selections`: unknown field `ratio`"),
        ("controls=[{ kind = \"none\" }]", "`controls`: unknown variant `none`"),
        ("memorize.train.steps=0", "`memorize.train.steps` is 0, expected at least 1"),
        ("unlearning.ascent.forget=nan", "`unlearning.ascent.forget` is NaN, expected a number"),
        ("unlearning.base={ forget = 1.0 }", "`unlearning` is base, expected letters"),
        ("unlearning.stream-1={ forget = 1.0 }", "`unlearning` is stream-1, expected letters"),
    ] {
        let found = refused(setting);
        assert!(found.starts_with(expected), "{setting}: {found}");
    }
    let extrapolated = config(&["alphas=[-0.5, 2.0]", "extrapolate=true"]).alphas().unwrap();
    assert_eq!(extrapolated.iter().map(|it| it.get()).collect::<Vec<_>>(), [-0.5, 0.0, 2.0]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (text(dir.path()), bytes());
    for (setting, expected) in [
        ("retain_tokens=1000000", "`retain_tokens` is 1000000, expected at most "),
        ("base={ kind = \"prior-split\", fraction = 2.0 }", "`base.fraction` is 2"),
        (
            "base={ kind = \"prior-split\", fraction = 0.5, train = { steps = 10, eval_every = 5, seq = 16 } }",
            "`base.train.eval_every` is 5, expected at least `base.train.steps`",
        ),
        ("memorize.train.seq=49", "`train.seq` is 49, expected at most"),
        ("selections=[{ kind = \"hessian\" }]", "`selections`: `hessian` needs"),
        ("streams.selection={ kind = \"memory-delta\" }", "`streams`: `memory-delta` needs"),
        ("streams.selection={ kind = \"fisher\" }", "`streams`: `fisher` needs"),
    ] {
        let study = study(dir.path(), config(&[setting]), &corpus, tokenizer.as_ref(), &());
        let error = study.run().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{setting}: {error}");
        assert!(!dir.path().join("study").exists(), "{setting}");
    }
}

#[test]
fn a_seed_of_other_settings_is_not_taken_for_one_of_these() {
    let dir = tempfile::tempdir().unwrap();
    let (corpus, tokenizer) = (text(dir.path()), bytes());
    let run = |overrides: &[&str]| {
        study(dir.path(), config(overrides), &corpus, tokenizer.as_ref(), &()).run()
    };
    let short = ["memorize.train.steps=1", "unlearning={}", "streams.ratios=[]", "alphas=[]"];
    let first = run(&short).unwrap();
    assert_eq!(run(&short).unwrap(), first);
    std::fs::remove_file(dir.path().join("study/unlearning.toml")).unwrap();
    let error = run(&[&short[..], &["facts=5"]].concat()).unwrap_err().to_string();
    assert!(error.ends_with("was measured with another seed, corpus or settings"), "{error}");
    let path = dir.path().join("study/seed-1/measured.json");
    let json = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, json.replace("\"version\": 1,", "\"version\": 2, \"more\": 0,")).unwrap();
    let error = SeedRecord::find(path.parent().unwrap()).unwrap_err().to_string();
    assert!(error.contains("its version is 2, this program reads 1"), "{error}");
}
