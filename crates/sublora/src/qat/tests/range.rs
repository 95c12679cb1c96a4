//! The precision range test on a run.

use gpt2_model::{assign, parameters, save};
use precision_schedule::{RangeTest, Undecided, Upper, Verdict, Widths};

use super::*;

/// All weights, so that a few steps show at full precision, too.
const METHOD: &str = "method={ kind = \"cyclic\", rank = 0, base = \"trained\", precision = \
                      { widths = [2, 4, 8], schedule = { kind = \"repeated\", cycles = 2 } } }";
const TEST: &str = "range_test={ widths = [2, 4, 8], iterations = 5 }";

fn curves(verdict: &Verdict) -> Vec<(u32, &[f64])> {
    verdict.evidence.iter().map(|it| (it.bits, it.curve.as_slice())).collect()
}

#[test]
fn a_training_after_a_range_test_is_the_one_without() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let overrides = [METHOD, TEST];
    let untested = run(dir.path().join("untested"), &corpus, &overrides, &());
    untested.run(false).unwrap();
    let tested = run(dir.path().join("tested"), &corpus, &overrides, &());
    let verdict = tested.range_test().unwrap();
    assert_eq!(tested.range_test().unwrap(), verdict, "from the same state");
    assert!(!QatRun::stands_in(&tested.folder));
    tested.run(false).unwrap();
    for it in ["qat.toml", "calibration.safetensors", "train/metrics.jsonl", "evaluation.json"] {
        assert!(file(&untested, it) == file(&tested, it), "{it}");
    }
    // From the beginning of the training, though that is over.
    assert_eq!(tested.range_test().unwrap(), verdict);
    let probed: Vec<u32> = curves(&verdict).iter().map(|it| it.0).collect();
    assert_eq!(probed, [32, 2, 4, 8], "{verdict:?}");
    let found = verdict.range.unwrap();
    assert_eq!(found.upper, 8, "the static training that is replaced");
}

/// The schedule keeps those of its widths that are between the ends: of three, the last two where 2 bits
/// do not learn. Without an answer, or where one width would be left, there is no other run.
#[test]
fn a_schedule_takes_over_the_widths_that_a_test_found() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let widths = |run: &QatRun<'_>| match &run.config.method {
        AnyQatMethod::Cyclic(cyclic) => cyclic.precision.widths.as_slice().to_vec(),
        other => panic!("{other:?}"),
    };
    let of = |name: &str, overrides: &[&str]| {
        let overrides = [&[METHOD, TEST], overrides].concat();
        run(dir.path().join(name), &corpus, &overrides, &())
    };
    let (found, verdict) = of("tested", &[]).between_tested_widths().unwrap();
    let lower = verdict.range.unwrap().lower;
    let expected: Vec<u32> = [2, 4, 8].into_iter().filter(|&bits| bits >= lower).collect();
    assert_eq!(widths(&found), expected);
    let flat = "train.learning_rate={ peak = 1e-30, warm_up = 0 }";
    let (found, verdict) = of("flat", &[flat]).between_tested_widths().unwrap();
    assert_eq!(verdict.range, Err(Undecided::NoReference { iterations: 5 }));
    assert_eq!(widths(&found), [2, 4, 8]);
    let one = ["range_test.widths=[8]", "method.precision.widths=[4, 8]"];
    let expected = "`method.precision.widths` is [4, 8], expected at least two widths from 8 to 8, which \
                    the test found";
    assert_eq!(said(of("one", &one).between_tested_widths()), expected);
}

/// A width is probed by the steps of a training at it.
#[test]
fn a_curve_is_that_of_the_training_at_its_width() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let at_four = "method.precision={ widths = [4], schedule = { kind = \"constant\", bits = 4 } }";
    let overrides = [METHOD, at_four, TEST];
    let run = run(dir.path().join("run"), &corpus, &overrides, &());
    let verdict = run.range_test().unwrap();
    run.run(false).unwrap();
    let records = crate::metrics::read(&run.folder.join("train")).unwrap();
    let of_training = records.iter().filter_map(|it| it.values.get("train/bits_per_token"));
    let of_training: Vec<f64> = of_training.map(|it| it.unwrap()).collect();
    let of_probe = curves(&verdict).into_iter().find(|it| it.0 == 4).unwrap().1;
    let of_probe: Vec<f64> = of_probe.iter().map(|it| it / std::f64::consts::LN_2).collect();
    assert_eq!(of_probe, of_training[..5]);
}

/// A head that is quantised with one scale for all, a row of a byte that never occurs with a weight four
/// times the largest other, $M$: at 2 bits the codes are -1, 0 and 1 times $M$, and all other weights, below
/// $M/4$, are 0 and stay 0 while eight steps of 0.005 move them by 0.04 at most. The logits are then equal,
/// whatever is trained below; at 8 bits the scale is $M/127$.
#[test]
fn a_width_that_cannot_learn_is_not_the_lower_end() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let spec = fixture::spec(16);
    let base = fixture::base(&spec);
    let table: Vec<f32> = base.wte.weight.val().inner().into_data().iter::<f32>().collect();
    let largest = table.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    let base = assign(base, |name, shape| {
        if name == "wte.weight" {
            let mut table = table.clone();
            table[255 * 16] = 4.0 * largest;
            return Some(table);
        }
        // The direction of the large weight is not used.
        name.starts_with("ln_f.").then(|| {
            let gain = if name.ends_with("weight") { 1.0 } else { 0.0 };
            let mut values = vec![gain; shape[0]];
            values[0] = 0.0;
            values
        })
    });
    assert!(parameters(&base).iter().any(|it| it.name == "ln_f.weight"));
    let checkpoint = dir.path().join("checkpoint");
    save(&base, &spec.model, &checkpoint).unwrap();
    let base = format!("base={{ kind = \"checkpoint\", path = {checkpoint:?} }}");
    let overrides = [
        base.as_str(),
        "widths=[2, 3, 4, 8]",
        "quantize.head=true",
        "quantize.weight={ granularity = \"tensor\" }",
        "train.steps=8",
        "train.learning_rate={ peak = 5e-3, floor = 1.0, warm_up = 0 }",
        "method={ kind = \"cyclic\", rank = 0, base = \"trained\", precision = { widths = [2, 8] }}",
        "range_test={ widths = [2, 3, 4, 8], iterations = 8 }",
    ];
    let mut run = run(dir.path().join("run"), &corpus, &overrides, &());
    let verdict = run.range_test().unwrap();
    let range = verdict.range.unwrap();
    assert!(range.lower >= 3 && range.upper == 8, "{verdict:?}");
    let two = &verdict.evidence[1];
    assert_eq!(two.bits, 2);
    assert!(two.gain.unwrap().value < 0.1 * range.threshold, "{verdict:?}");
    // With that width alone there is no answer, but what was seen.
    let widths = Widths::new([2]).unwrap();
    let upper = Upper::Static { bits: 2 };
    run.config.range_test = RangeTest { widths, upper, ..run.config.range_test };
    let undecided = run.range_test().unwrap();
    assert_eq!(undecided.range, Err(Undecided::NoLower { highest: 2, threshold: range.threshold }));
    assert_eq!(curves(&undecided), curves(&verdict)[..2]);
}

#[test]
fn tests_that_are_none_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let cyclic = method("cyclic");
    let cases: [(&[&str], &str); 8] = [
        (
            &[cyclic, TEST, "range_test.criterion={ kind = \"accuracy\", threshold = 0.01 }"],
            "`range_test.criterion.kind` is accuracy, expected loss-slope: a language model is probed \
             by its loss",
        ),
        (
            &[cyclic, TEST, "range_test.iterations=7"],
            "`range_test.iterations` is 7, expected at most `train.steps` 6",
        ),
        (
            &[cyclic, "range_test={ widths = [2, 3, 8], iterations = 5 }"],
            "`range_test.widths` is 3, expected one of `widths` [2, 4, 8], or 32",
        ),
        (
            &[cyclic, TEST, "range_test.iterations=2"],
            "`range_test`: `iterations` is 2, expected at least 3",
        ),
        (
            &[cyclic, "range_test={ widths = [2, 4], iterations = 5 }"],
            "`range_test`: `upper.bits` is 8, expected one of `widths`, [2, 4]",
        ),
        (
            &[method("post-training"), TEST],
            "`method.kind` is post-training, expected cyclic: at 32 bits, which the test compares with, \
             it trains nothing",
        ),
        (
            &[method("switchable"), TEST],
            "`method.kind` is switchable, expected cyclic: at 32 bits, which the test compares with, it \
             trains nothing",
        ),
        (
            &[method("mergeable"), TEST],
            "`method.kind` is mergeable, expected cyclic: at 32 bits, which the test compares with, it \
             trains nothing",
        ),
    ];
    for (overrides, expected) in cases {
        let run = run(dir.path().join("run"), &corpus, overrides, &());
        assert_eq!(said(run.range_test()), expected);
        assert!(!run.folder.exists(), "{expected}");
    }
}

/// It begins again; one that is interrupted after its last probe is over.
#[test]
fn a_range_test_that_is_interrupted_has_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let impatient = Impatient::new(&[2, 6]);
    let run = run(dir.path().join("run"), &corpus, &[METHOD, TEST], &impatient);
    assert!(matches!(run.range_test(), Err(Error::Interrupted)));
    assert_eq!(curves(&run.range_test().unwrap()).len(), 4);
}
