//! Reports of sweeps that were made up.

use std::fs;

use bounds::Unit;
use corpus::Sha256Hash;
use serde_json::json;
use subspace_projectors::{Group, Side};

use super::*;
use crate::artifact::CodeLength;
use crate::certificate::{Claim, MetricName};
use crate::sweep::{Best, Choice, HeldOutLoss, SweepRun};
use crate::{Compression, SweepConfig};

const CONFIG: &str = r#"
seeds = [1, 2, 3]
intrinsic_dim = [10]
mode = [{ name = "uniform" }, { name = "learned", allocation_mode = "learned" }]
[run.model]
size = "tiny"
[run.lora]
"#;

/// Two modes whose bounds differ by 0.11, 0.05 and 0.08.
fn bound(run: &SweepRun) -> f64 {
    match (run.mode.as_str(), run.seed) {
        ("learned", 1) => 6.39,
        ("learned", 2) => 6.35,
        ("learned", _) => 6.37,
        (_, 1) => 6.5,
        (_, 2) => 6.4,
        _ => 6.45,
    }
}

const BITS: CodeLength = CodeLength {
    header: 8,
    codebook: 64,
    counts: 0,
    symbols: 100,
    padding: 4,
    allocation: 8,
    configuration: 3,
};

fn compression(gated: bool, layers: u32) -> Compression {
    let groups = || (0..layers).map(Group::Layer).chain([Group::Rest]);
    let gate = |(place, group): (usize, Group)| json!({ "group": group, "share": share(place) });
    let gates: Vec<_> = groups().enumerate().filter(|_| gated).map(gate).collect();
    let sides = |group| {
        [(Side::A, 0.5), (Side::B, 1.5)]
            .map(|(side, value)| json!({ "group": group, "side": side, "value": value }))
    };
    let dimensions: Vec<_> = groups().flat_map(sides).collect();
    let compression = json!({
        "version": 1, "intrinsic_dim": 10, "trained_weights": 200, "compression_ratio": 20.0,
        "bits": BITS, "code_length": 187, "bits_per_coordinate": 18.7,
        "trained_bits_per_token": 5.0, "decoded_bits_per_token": 5.125, "quantization_loss": 0.125,
        "gates": gates, "gate_depth_pearson": null, "gate_depth_spearman": null,
        "effective_dimensions": dimensions,
    });
    serde_json::from_value(compression).unwrap()
}

/// The gate of the group at `place`, which rises with it.
fn share(place: usize) -> f64 {
    0.4 + 0.1 * place as f64
}

fn run(of: &SweepRun, layers: u32) -> RunRecord {
    let bound = bound(of);
    RunRecord {
        name: of.name.clone(),
        mode: of.mode.clone(),
        intrinsic_dim: of.intrinsic_dim,
        seed: of.seed,
        path: format!("runs/{}", of.name),
        status: RunStatus::Finished,
        failure: None,
        seconds: Some(2.0),
        estimated_bytes: 1 << 20,
        held_out: Some(HeldOutLoss { bits_per_token: 5.0, step: 4 }),
        code_length: Some(BITS),
        compression: Some(compression(of.mode == "learned", layers)),
        bounds: vec![Claim {
            name: "strict".to_owned(),
            unit: Unit::Document,
            metric: MetricName::BitsPerToken,
            k: None,
            alpha: None,
            risk: 5.5,
            complexity_term: 0.25,
            sampling_term: bound - 5.75,
            bound,
            vacuous_above: 8.0,
            vacuous: false,
        }],
    }
}

fn trace(mode: &str, layers: u32) -> Trace {
    let mut trace = Trace { held_out: vec![(2, 5.5), (4, 5.0)], ..Trace::default() };
    for (place, group) in (0..layers).map(Group::Layer).chain([Group::Rest]).enumerate() {
        if mode == "learned" {
            trace.gates.insert(group, vec![(2, 0.5), (4, share(place))]);
        }
        trace.gradients.insert((group, Side::A), vec![(2, 0.0), (4, 0.25)]);
        trace.gradients.insert((group, Side::B), vec![(2, 1.0), (4, 0.5)]);
    }
    trace
}

/// A sweep whose runs are all finished, before `change` makes something else of it.
fn report(overrides: &[&str], layers: u32, change: impl Fn(&mut RunRecord)) -> SweepReport {
    let record = record(overrides, layers, change);
    let traces = record
        .runs
        .iter()
        .map(|it| (it.status == RunStatus::Finished).then(|| trace(&it.mode, layers)));
    let traces = traces.collect();
    SweepReport::of(record, traces, Vec::new()).unwrap()
}

fn record(overrides: &[&str], layers: u32, change: impl Fn(&mut RunRecord)) -> SweepRecord {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    let config = SweepConfig::parse(CONFIG, &overrides).unwrap();
    let of_config = config.runs().unwrap();
    let mut runs: Vec<RunRecord> = of_config.iter().map(|it| run(it, layers)).collect();
    runs.iter_mut().for_each(change);
    let best = Best {
        unit: Unit::Document,
        metric: MetricName::BitsPerToken,
        k: None,
        run: "learned-d10-s2".to_owned(),
        bound: 6.35,
        code_length: 187,
        bound_alone: 6.3,
        code_length_alone: 184,
    };
    SweepRecord {
        format: "sublora-sweep".to_owned(),
        version: 1,
        corpus: Sha256Hash([0; 32]),
        config,
        bases: Vec::new(),
        choice: Choice { runs: 6, configurations: 6, best: vec![best] },
        groups: Vec::new(),
        runs,
    }
}

fn same(_: &mut RunRecord) {}

fn fail(run: &mut RunRecord) {
    run.status = RunStatus::Failed;
    run.failure = Some("it diverged\n\nhint: none".to_owned());
    (run.held_out, run.code_length, run.compression) = (None, None, None);
    run.bounds.clear();
}

fn holds(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "no {expected:?} in\n{text:.20000}");
    }
}

#[test]
fn findings_say_what_the_tests_support() {
    let findings = report(&[], 4, same).findings();
    // Student's p is 0.0438 at 2 degrees of freedom, as in `paired`.
    let expected = [
        "2 modes with d = 10 and 3 seeds: 6 of 6 runs finished.",
        "For new documents at d = 10, “learned” has the lowest mean bound, 6.370 ± 0.020 bits per token \
         (mean ± standard deviation over 3 seeds). Its difference to “uniform” over 3 seeds is −0.0800 (95 % \
         interval −0.155 to −0.00548): it is distinguishable from zero only if the differences are taken for \
         normal (adjusted p = 0.044 by Student's test, 0.25 by sign flips).",
        "Of 1 difference of mean bounds to “uniform”, 0 are distinguishable from zero by Student's paired \
         test and by sign flips, 1 by Student's test alone, 0 by sign flips alone, 0 by neither: p below \
         0.05, two-sided, adjusted for 1 test (Holm). 3 seeds are few: sign flips of 3 differences cannot come \
         below p = 0.25, which adjusted for 1 test is above 0.05, so that nothing here holds without taking \
         the differences for normal. That would take 6 seeds.",
        "The least bound for new documents is 6.3500 bits per token, of “learned-d10-s2”. It may be quoted: \
         it pays for the choice among 6 configurations, with 3 bits of its K of 187 and in its sampling term. \
         Had it been the only run, its K would be 184 bits and the bound 6.3000.",
        "6 of 6 bounds (6 at each of 1 level) are below 8.000 bits per token, where a bound begins to say \
         something.",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_mode_that_is_lowest_by_chance_is_not_called_better() {
    // The third seed is worse: the differences are -0.11, -0.05 and 0.12.
    let worse = |run: &mut RunRecord| {
        if run.mode == "learned" && run.seed == 3 {
            run.bounds[0].bound = 6.57;
        }
    };
    let findings = report(&[], 4, worse).findings();
    holds(
        &findings[1],
        &["“learned” has the lowest mean bound", "it is not distinguishable from zero"],
    );
    // And the baseline is not called better either.
    let above = |run: &mut RunRecord| {
        if run.mode == "learned" {
            run.bounds[0].bound += if run.seed == 1 { 1.0 } else { 0.1 };
        }
    };
    let findings = report(&[], 4, above).findings();
    let expected = "“uniform” has the lowest mean bound, 6.450 ± 0.050 bits per token (mean ± standard \
                    deviation over 3 seeds). Of the others, not distinguishable: “learned”.";
    holds(&findings[1], &[expected]);
    // Nor is one of two that are the same, at a limit that all bounds have.
    let limit = |run: &mut RunRecord| run.bounds[0].bound = 9.0;
    let findings = report(&[], 4, limit).findings();
    let expected = "For new documents at d = 10, “uniform”, “learned” share the lowest mean bound, 9.000 ± 0 \
                    bits per token (mean ± standard deviation over 3 seeds). Such a bound says nothing.";
    assert_eq!(findings[1], expected);
}

#[test]
fn a_sweep_in_parts_says_what_is_missing() {
    let first = report(&[], 4, |run| {
        if run.name == "learned-d10-s1" {
            fail(run);
        }
    });
    let findings = first.findings();
    assert_eq!(
        findings[0],
        "2 modes with d = 10 and 3 seeds: 5 of 6 runs finished; 1 failed. All means are over the finished ones."
    );
    holds(&findings[1], &["Not all modes finished the same seeds", "over 2 seeds is −0.0650"]);
    let page = first.page().unwrap().to_html();
    holds(&page, &["learned-d10-s1", "it diverged", "5 of 6"]);
    assert!(!page.contains("hint: none"));

    let none = report(&[], 4, fail);
    assert_eq!(none.findings()[1], "No run is finished, so there is nothing to compare.");
    holds(&none.page().unwrap().to_html(), &["0 of 6", "it diverged"]);

    let one = report(&["seeds=[1]"], 4, same);
    let findings = one.findings();
    holds(&findings[1], &["6.390 bits per token, of one seed", "no test of a single pair"]);
    holds(&findings[2], &["no test: of a single seed a difference says nothing of the next"]);
    assert_eq!((one.modes[1].bound_sd, one.modes[1].t_p), (None, None));

    let alone = report(&["mode=[{ name = \"learned\", allocation_mode = \"learned\" }]"], 4, same);
    holds(&alone.findings()[2], &["so there are no paired tests"]);
    let baseline = report(&["mode=[{ name = \"plain\" }, { name = \"b\" }]"], 4, same).baseline;
    assert_eq!(baseline.as_deref(), Some("plain")); // the first with a uniform allocation
}

#[test]
fn the_page_has_the_numbers_and_is_the_same_each_time() {
    let report = report(&[], 4, same);
    let page = report.page().unwrap().to_html();
    assert_eq!(page, report.page().unwrap().to_html());
    let expected = [
        "6.370 ± 0.020", // the bound of the learned mode
        "−0.08000",      // its difference
        "−4.619",        // its t
        "0.04382",       // its p
        "187",           // K
        "18.70",         // K/d
        "20.00",         // D/d
        "5.375",         // the risk before quantisation: 5.5 - 0.125
        "Pareto frontier",
        "learned, d = 10: gamma by depth",
        "0.08333", // two orders of 24 are as steep
        "Gates against the ratio of the gradients at the end",
        "annealed",
        "What did not finish</h2><p>Everything did.",
    ];
    holds(&page, &expected);
}

#[test]
fn what_is_not_there_is_said() {
    let shallow = report(&[], 2, same).page().unwrap().to_html();
    holds(&shallow, &["the models have 2 layers", "a correlation means nothing"]);
    assert!(!shallow.contains("gamma by depth"));
    let ungated = report(&["mode=[{ name = \"uniform\" }]"], 4, same);
    holds(
        &ungated.page().unwrap().to_html(),
        &["No finished run has gates", "There is no mode beside “uniform”"],
    );
}

#[test]
fn tables_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/report");
    report(&[], 4, same).write(&folder).unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let modes = read("modes.csv");
    let lines: Vec<&str> = modes.lines().collect();
    let head = "level,mode,intrinsic_dim,runs,finished,bound,bound_sd,risk,risk_sd,vacuous_above,vacuous,\
                pairs,difference,difference_low,difference_high,t,t_freedom,t_p,t_p_adjusted,sign_flip_p,\
                sign_flip_p_adjusted,sign_flip_p_least,held_out,held_out_sd,code_length,code_length_sd,\
                bits_per_coordinate,compression_ratio,quantization_loss,quantization_loss_sd,seconds,\
                seconds_sd";
    assert_eq!((lines.len(), lines[0]), (3, head));
    assert!(lines[1].starts_with("document,uniform,10,3,3,6.45,"), "{}", lines[1]);
    let parts = read("parts.csv");
    let row: Vec<&str> = parts.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(row[..4], ["document", "uniform", "10", "1"]);
    let terms = row[4..9].iter().map(|it| it.parse::<f64>().unwrap()).collect::<Vec<_>>();
    assert_eq!(terms, [5.375, 0.125, 0.25, 0.75, 6.5]); // the first four sum to the last
    let groups = read("groups.csv");
    let row = groups.lines().find(|it| it.starts_with("learned,10,2,h.1,")).unwrap();
    // From 1/2 it stays, and so has no change to turn.
    assert_eq!(row, "learned,10,2,h.1,0.5,1.5,0.25,0.5,0.5,0.5,0.0,0.0,0,0");
    let depth = read("depth.csv");
    let seeds: Vec<&str> = depth.lines().skip(1).map(|it| it.split(',').nth(2).unwrap()).collect();
    assert_eq!(seeds, ["1", "2", "3", "all"]);
    let steps = read("steps.csv");
    assert_eq!(steps.lines().count(), 1 + 6 * 2 * 6); // runs, steps, five groups and all
    // The norm over five groups of 1/2 each is sqrt(5) / 2.
    assert!(
        steps.contains("uniform,10,1,4,all,5.0,,0.5590169943749475,1.118033988749895\n"),
        "{steps}"
    );
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["modes"][1]["mode"], "learned");
    assert_eq!(json["findings"].as_array().unwrap().len(), 5);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 7);
}

#[test]
fn what_is_no_sweep_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let said = || SweepReport::read(at).unwrap_err().to_string();
    assert!(said().ends_with("holds no sweep"), "{}", said());
    fs::write(at.join("sweep.toml"), "").unwrap();
    assert!(said().ends_with("holds no record of a sweep"), "{}", said());
    let write =
        |json: &serde_json::Value| fs::write(at.join("sweep.json"), json.to_string()).unwrap();
    write(&json!([1]));
    assert!(said().contains("is no valid record of a sweep"), "{}", said());
    write(&json!({ "format": "other", "version": 1 }));
    assert!(said().ends_with("its format is `other`, expected `sublora-sweep`"), "{}", said());
    let whole = serde_json::to_value(record(&[], 4, same)).unwrap();
    let changed = |key: &str, value: serde_json::Value| {
        let mut record = whole.clone();
        record[key] = value;
        write(&record);
    };
    changed("version", json!(9));
    assert!(said().ends_with("its version is 9, this program reads 1"), "{}", said());
    changed("runs", json!([]));
    assert!(said().ends_with("its runs are not those of its configuration"), "{}", said());
    write(&whole);
    assert!(said().contains("metrics.jsonl"), "{}", said());
}
