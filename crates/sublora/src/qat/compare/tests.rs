//! Comparisons of runs that were made up.

use std::collections::BTreeMap;
use std::fs;

use corpus::Sha256Hash;
use quantizers::BitWidth;

use super::runs::StepPoint;
use super::*;
use crate::qat::record::{QatRecord, TrainingRecord, WidthRecord};

const SEEDS: [u64; 3] = [1, 2, 3];
/// Widths that are evaluated.
const BITS: [u8; 3] = [2, 4, 32];
/// Of the base, by seed.
const BASE: [f64; 3] = [3.0, 3.1, 3.2];

fn bits(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap()
}

/// A run at two strides, with its losses at 2, 4 and 32 bits, trained at `passes` for `bit_ops`.
fn run(label: &str, seed: u64, nats: [f64; 3], passes: &[u8], bit_ops: f64) -> ComparedRun {
    let width = |stride: u64| {
        BITS.into_iter().zip(nats).map(move |(width, nats)| WidthRecord {
            bits: bits(width),
            input_bits: bits(width),
            context: 128,
            stride,
            documents: 20,
            tokens: 5000,
            nats_per_token: nats + stride as f64 / 1024.0,
            perplexity: (nats + stride as f64 / 1024.0).exp(),
            bits_per_weight: f64::from(width) + 0.125,
            bit_ops_per_token: 1e6 * f64::from(width).powi(2),
            own_parameters: 640,
            seconds: None,
        })
    };
    let training = (!passes.is_empty()).then(|| TrainingRecord {
        steps: 8,
        tokens_per_step: 512,
        passes: passes.iter().map(|&bits| (bits, 8 / passes.len() as u64)).collect(),
        parameters: 1280,
        bit_ops,
    });
    let record = QatRecord {
        version: 1,
        method: if passes.is_empty() { "post-training" } else { "cyclic" }.to_owned(),
        seed,
        corpus: Sha256Hash([7; 32]),
        base: Some(Sha256Hash([u8::try_from(seed).unwrap(); 32])),
        training,
        widths: width(0).chain(width(64)).collect(),
    };
    let steps = (1..=8).zip(passes.iter().cycle());
    let point = |(step, &width): (u64, &u8)| {
        let nats = 5.0 - 0.125 * step as f64;
        StepPoint { step, bits: Some(bits(width)), nats }
    };
    let settings = [("seed", seed.to_string()), ("train.steps", "8".to_owned())];
    ComparedRun {
        label: label.to_owned(),
        folder: format!("suite/{label}/seed-{seed}").into(),
        settings: settings.map(|(key, value)| (key.to_owned(), value)).into(),
        record,
        steps: steps.map(point).collect(),
        held_out: BTreeMap::from([(2, vec![(4, 4.5), (8, 4.0)]), (4, vec![(4, 4.0), (8, 3.5)])]),
    }
}

/// Beside its family at one width each, `cyclic` has 0.11, 0.05 and 0.08 less at 2 bits and more at 4; a
/// run of the family is bad at the width that is not its own.
fn suite() -> Vec<ComparedRun> {
    let gain = [0.11, 0.05, 0.08];
    let of_seed = |(place, seed): (usize, u64)| {
        let (base, gain) = (BASE[place], gain[place]);
        [
            run("static-2", seed, [base + 1.0, 9.0, 9.0], &[2], 1e12),
            run("static-4", seed, [9.0, base + 0.5, 9.0], &[4], 1e12),
            run("cyclic", seed, [base + 1.0 - gain, base + 0.5 + gain, base], &[2, 4], 1.02e12),
            run("rounded", seed, [base + 4.0, base + 2.0, base], &[], 0.0),
        ]
    };
    SEEDS.into_iter().enumerate().flat_map(of_seed).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
}

fn difference(of: &QatComparison, method: &str, reference: &str, bits: u8) -> Difference {
    let is_it = |it: &&Difference| {
        (it.method.as_str(), it.reference.as_str(), it.bits) == (method, reference, bits)
    };
    of.differences.iter().find(is_it).unwrap().clone()
}

#[test]
fn a_family_has_at_each_width_the_run_that_was_trained_at_it() {
    let comparison = QatComparison::of(suite()).unwrap();
    let names: Vec<&str> = comparison.methods().iter().map(|it| it.name).collect();
    assert_eq!(names, ["cyclic", "rounded", "static"]);
    let of_family: Vec<&WidthRow> =
        comparison.widths.iter().filter(|it| it.method == "static" && it.stride == 0).collect();
    assert_eq!(of_family.iter().map(|it| it.bits).collect::<Vec<_>>(), [2, 4]); // none at 32
    close(of_family[0].nats, 4.1); // 4.0, 4.1, 4.2
    close(of_family[0].nats_sd.unwrap(), 0.1);
    close(of_family[1].nats, 3.6); // 3.5, 3.6, 3.7
    assert_eq!((of_family[0].runs, of_family[0].training_bit_ops), (3, Some(1e12)));
    // A label whose number is no width that it was trained at is a method of its own.
    let other = run("static-2", 1, [4.0, 3.5, 3.0], &[4], 1e12);
    assert_eq!(other.method(), ("static-2", None));
}

// stats.ttest_1samp([-0.11, -0.05, -0.08], 0), as in `paired`: t = -4.6188, p = 0.0438.
#[test]
fn differences_are_paired_by_seed_and_have_verdicts() {
    let comparison = QatComparison::of(suite()).unwrap();
    let helps = difference(&comparison, "cyclic", "static", 2);
    close(helps.difference, -0.08);
    close(helps.low.unwrap(), -0.154_524_131_352_509_92);
    close(helps.high.unwrap(), -0.005_475_868_647_490_098);
    close(helps.p.unwrap(), 0.043_817_112_532_485_09);
    close(helps.bit_ops_ratio.unwrap(), 1.02);
    assert_eq!((helps.pairs, helps.verdict), (3, Verdict::Helps));
    let hurts = difference(&comparison, "cyclic", "static", 4);
    assert_eq!(hurts.verdict, Verdict::Hurts);
    close(hurts.low.unwrap(), 0.005_475_868_647_490_098);
    // Beside what was not trained: -3.11, -3.05, -3.08 with a standard deviation of 0.03.
    let trained = difference(&comparison, "cyclic", "rounded", 2);
    close(trained.difference, -3.08);
    assert_eq!((trained.bit_ops_ratio, trained.verdict), (None, Verdict::Helps));
    let full = difference(&comparison, "cyclic", "rounded", 32);
    assert_eq!((full.difference, full.p, full.verdict), (0.0, None, Verdict::Same));
    // Always -3.0: no spread, no test.
    let constant = difference(&comparison, "static", "rounded", 2);
    assert_eq!((constant.p, constant.verdict), (None, Verdict::Undecided));
    // Of four tests at a stride, the two at 0.0438 are the largest: twice that.
    close(helps.p_adjusted.unwrap(), 2.0 * helps.p.unwrap());
    // Nothing is compared with what learned at as many widths or at more.
    assert!(comparison.differences.iter().all(|it| it.reference != "cyclic"));
    assert!(comparison.differences.iter().all(|it| it.method != "rounded"));
    assert_eq!(comparison.differences.len(), 2 * (3 + 2 + 2)); // two strides
}

#[test]
fn seeds_that_one_of_two_lacks_are_left_out() {
    let mut runs = suite();
    runs.retain(|it| it.label == "rounded" || it.seed() != 2);
    let lacking = QatComparison::of(runs).unwrap();
    let two = difference(&lacking, "cyclic", "rounded", 2);
    assert_eq!(two.pairs, 2);
    close(two.difference, -3.095); // -3.11, -3.08
    let one: Vec<ComparedRun> = suite().into_iter().filter(|it| it.seed() == 1).collect();
    let one = QatComparison::of(one).unwrap();
    let single = difference(&one, "cyclic", "static", 2);
    assert_eq!((single.pairs, single.low, single.verdict), (1, None, Verdict::Undecided));
    assert!(one.findings().last().unwrap().starts_with("No two methods have several seeds"));
}

#[test]
fn findings_by_hand() {
    let findings = QatComparison::of(suite()).unwrap().findings();
    assert_eq!(
        findings,
        [
            "12 runs of 3 methods with the seeds 1, 2 and 3. Losses are means over 5000 tokens of 20 \
             documents, context 128, stride 0; and again over 5000 tokens of 20 documents, context 128, \
             stride 64, in nats per token.",
            "“cyclic” beside “static” helps at 2 bits; hurts at 4 bits. Training took about as many BitOPs at each width: 1.02 times the latter's.",
            "“cyclic” beside “rounded” helps at 2 and 4 bits; is the same at 32 bits. The latter was not \
             trained.",
            "“static” beside “rounded” is undecided at 2 and 4 bits. The latter was not trained.",
            "Helps and hurts are where Student's interval of 95 % of the paired differences, over up to 3 \
             seeds, is below or above zero, at each width by itself. Adjusted for all 4 tests (Holm), 2 of \
             these 4 hold.",
        ]
    );
    let mut runs = suite();
    for run in runs.iter_mut().filter(|it| it.label == "static-4") {
        run.record.training.as_mut().unwrap().bit_ops = 2e12;
    }
    let findings = QatComparison::of(runs).unwrap().findings();
    let expected = "Training took other BitOPs: 0.510 to 1.02 times the latter's.";
    assert!(findings[1].ends_with(expected), "{}", findings[1]);
}

#[test]
fn a_family_costs_what_all_its_runs_cost() {
    let comparison = QatComparison::of(suite()).unwrap();
    assert_eq!(comparison.common_bits(), [bits(2), bits(4)]);
    let methods = comparison.methods();
    let overall = |place: usize, widths: &[u8]| {
        let widths: Vec<BitWidth> = widths.iter().map(|&it| bits(it)).collect();
        methods[place].overall(2, &widths, 0)
    };
    let (bit_ops, loss) = overall(2, &[2, 4]).unwrap();
    close(loss, 3.1 + 0.75);
    close(bit_ops / 1e12, 2.0); // two runs
    let (bit_ops, loss) = overall(0, &[2, 4]).unwrap();
    close(loss, 3.1 + 0.75); // what is gained at 2 bits is lost at 4
    close(bit_ops / 1e12, 1.02);
    assert_eq!(overall(1, &[2, 4]), None); // no training
    assert_eq!(overall(2, &[2, 32]), None); // no run at 32 bits
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let refused = |change: &dyn Fn(&mut ComparedRun)| {
        let mut runs = suite();
        let is_it = |it: &&mut ComparedRun| it.label == "static-4" && it.seed() == 2;
        change(runs.iter_mut().find(is_it).unwrap());
        QatComparison::of(runs).unwrap_err().to_string()
    };
    let corpus = refused(&|it| it.record.corpus = Sha256Hash([8; 32]));
    assert_eq!(
        corpus,
        format!(
            "`suite/cyclic/seed-1` and `suite/static-4/seed-2` cannot be compared: their corpora are {} \
             and {}",
            "07".repeat(32),
            "08".repeat(32)
        )
    );
    let text = refused(&|it| it.record.widths.iter_mut().for_each(|it| it.tokens = 4000));
    assert!(
        text.contains("evaluated on 5000 tokens of 20 documents, context 128, stride 0;"),
        "{text}"
    );
    assert!(text.contains("and on 4000 tokens of 20 documents"), "{text}");
    let base = refused(&|it| it.record.base = None);
    let expected = format!("their bases of seed 2 are {} and a random one", "02".repeat(32));
    assert!(base.ends_with(&expected), "{base}");
    let settings =
        refused(&|it| drop(it.settings.insert("train.steps".to_owned(), "9".to_owned())));
    let expected = "both are “static-4”, but `train.steps` is 8 and 9";
    assert!(settings.ends_with(expected), "{settings}");
    let twice = refused(&|it| {
        it.record.seed = 1;
        it.record.base = Some(Sha256Hash([1; 32]));
    });
    assert!(twice.ends_with("both are “static-4” with seed 1"), "{twice}");
    let one_method = refused(&|it| it.label = "static".to_owned());
    assert!(one_method.ends_with("would be one method"), "{one_method}");
    let mut nothing = run("cyclic", 1, [3.0; 3], &[2], 1.0);
    nothing.record.widths.clear();
    let nothing = QatComparison::of(vec![nothing]).unwrap_err().to_string();
    assert_eq!(nothing, "`suite/cyclic/seed-1` holds no evaluated width");
}

#[test]
fn the_page_and_the_tables_are_written_whole_and_the_same_again() {
    let mut comparison = QatComparison::of(suite()).unwrap();
    comparison.left_out.push("suite/cyclic/seed-4".into());
    let dir = tempfile::tempdir().unwrap();
    let [first, again] = ["first", "again"].map(|it| dir.path().join(it));
    comparison.write(&first).unwrap();
    comparison.write(&again).unwrap();
    for name in ["report.html", "widths.csv", "differences.csv", "runs.csv"] {
        let read = |folder: &Path| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read(&first), read(&again));
    }
    let html = fs::read_to_string(first.join("report.html")).unwrap();
    for title in [
        "Held-out loss by width",
        "Where it helps and where it hurts",
        "Precision and loss over the training",
        "BitOPs against loss",
        "Settings and provenance",
    ] {
        assert!(html.contains(&format!("{title}</h2>")), "{title}");
    }
    for told in ["“cyclic”, seed 1", "unquantised base, 3.100", "suite/cyclic/seed-4", "helps"]
    {
        assert!(html.contains(told), "{told}");
    }
    let csv = fs::read_to_string(first.join("runs.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 12 * 6);
    assert_eq!(
        lines[0],
        "method,label,seed,bits,stride,nats,perplexity,bits_per_weight,bit_ops_per_token,\
         training_bit_ops,own_parameters"
    );
    let starting = |start: &str| lines.iter().any(|it| it.starts_with(start));
    assert!(starting("static,static-2,1,2,0,4.0,"));
    assert!(
        starting(",static-2,1,4,0,9.0,"),
        "at a width that is not its own it stands for nothing"
    );
}
