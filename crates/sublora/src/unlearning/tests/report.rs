//! Means over seeds and the sentences about them, of records written by hand.

use corpus::Sha256Hash;

use super::super::summary::meets;
use super::*;

fn measures(forget_nats: f64, recall: f64, retain_nats: f64) -> Measures {
    Measures { forget_nats, recall, paraphrase_nats: 3.0, paraphrase_recall: 0.0, retain_nats }
}

fn row(selection: &str, is_control: bool, alpha: f32, measures: Measures) -> SweepRow {
    let selection = selection.to_owned();
    SweepRow {
        selection,
        is_control,
        ratio: 0.25,
        captured: 0.5,
        outlier_bytes: 100,
        alpha,
        measures,
    }
}

fn quantized(model: &str, base: &str, recall: f64) -> QuantizedRow {
    let measures = measures(1.0, recall, 2.0);
    QuantizedRow {
        model: model.to_owned(),
        ratio: None,
        base: base.to_owned(),
        moved: 0.1,
        measures,
    }
}

/// $L_F$ is 0.5 where taught and 2.5 where not; text at 2.
fn record(seed: u64, forgotten: f64, control: f64) -> SeedRecord {
    SeedRecord {
        head: Head {
            version: Head::VERSION,
            seed,
            corpus: Sha256Hash([7; 32]),
            settings: Sha256Hash([8; 32]),
            base: None,
        },
        retain_tokens: 100,
        pretrained: measures(2.5, 0.0, 2.1),
        memorized: measures(0.5, 1.0, 2.0),
        sweep: vec![
            row("memory-delta", false, 0.0, measures(0.5 + 2.0 * forgotten, 0.25, 2.01)),
            row("memory-delta", false, 1.0, measures(0.5, 1.0, 2.0)),
            row("random", true, 0.0, measures(0.5 + 2.0 * control, 1.0, 2.0)),
        ],
        streams: vec![],
        quantized: vec![quantized("ascent", "fp16", 0.0), quantized("ascent", "int4", 0.75)],
    }
}

fn report(records: Vec<SeedRecord>) -> UnlearningReport {
    UnlearningReport { config: config(&["seeds=[1, 2, 3]"]), records }
}

#[test]
fn shares_are_of_the_way_back() {
    let report = report(vec![record(1, 0.6, 0.1), record(2, 0.8, 0.1)]);
    let sweep = report.sweep();
    assert_eq!(sweep.len(), 3);
    let first = &sweep[0];
    assert_eq!((first.model.as_str(), first.seeds, first.alpha), ("memory-delta", 2, Some(0.0)));
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(first.forgotten, 0.7);
    close(first.forgotten_sd.unwrap(), 0.02_f64.sqrt()); // .1^2 + .1^2 over one
    close(first.forget_perplexity, 1.9_f64.exp());
    close(first.retain_change, 0.01_f64.exp() - 1.0);
    close(sweep[1].forgotten, 0.0);
    assert_eq!(sweep[1].retain_change_sd, Some(0.0));
}

#[test]
fn the_criterion_has_three_parts() {
    let judged = |forgotten: [f64; 2], control: [f64; 2], retain_change: Option<f64>| {
        let records = [0, 1].map(|it| record(it as u64 + 1, forgotten[it], control[it]));
        let mut sweep = report(records.to_vec()).sweep();
        if let Some(change) = retain_change {
            sweep[0].retain_change = change;
        }
        meets(&sweep[0], &[&sweep[2]])
    };
    assert!(judged([0.6, 0.8], [0.1, 0.1], None));
    assert!(!judged([0.4, 0.5], [0.1, 0.1], None), "not half of the way");
    assert!(!judged([0.6, 0.8], [0.5, 0.7], None), "no more than the control by the spread, .14");
    assert!(!judged([0.6, 0.8], [0.1, 0.1], Some(-0.021)), "text changed");
}

#[test]
fn what_cannot_be_judged_is_not() {
    let verdict = |report: &UnlearningReport| report.findings()[1].clone();
    let one = verdict(&report(vec![record(1, 0.8, 0.1)]));
    assert!(one.starts_with("memory-delta is not judged: a single seed has no spread;"), "{one}");
    let two = || vec![record(1, 0.8, 0.1), record(2, 0.8, 0.1)];
    let mut without = report(two());
    without.config.controls.clear();
    let without = verdict(&without);
    assert!(without.contains("not judged: there is no control"), "{without}");
    let mut untaught = two();
    untaught[1].memorized.recall = 0.4;
    let untaught = verdict(&report(untaught));
    assert!(untaught.contains("not judged: not all seeds were taught"), "{untaught}");
}

#[test]
fn what_is_said_of_them() {
    let report = report(vec![record(1, 0.6, 0.1), record(2, 0.8, 0.1)]);
    let findings = report.findings();
    assert_eq!(findings.len(), 3, "{findings:#?}"); // nothing was taught to outliers alone
    let expected = "memory-delta meets it with 25.0 % of the weights; the smallest that goes so far, 25.0 %, \
                    has 50.0 % of the change: 70.0 % forgotten (random 10.0 %), text +1.01 %.";
    assert_eq!(findings[1], expected);
    let expected =
        "Quantising brings back most with int4 after ascent: recall from 0.0 % (fp16) to 75.0 %.";
    assert_eq!(findings[2], expected);
    let folder = tempfile::tempdir().unwrap();
    report.write(folder.path()).unwrap();
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(
        page.contains("facts, 25 % of the weights") && page.contains("Quantised after"),
        "{page}"
    );
    let table = std::fs::read_to_string(folder.path().join("sweep.csv")).unwrap();
    assert_eq!(table.lines().count(), 4);
}
