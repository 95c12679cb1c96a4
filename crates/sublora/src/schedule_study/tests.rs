use precision_schedule::{OperationKind, Random, Widths};

use super::OperandPrecision::{Fixed, Full, Scheduled};
use super::*;

const CPT: &str = include_str!("../../../../configs/schedule-cpt.toml");

fn parse(text: &str) -> ScheduleStudy {
    ScheduleStudy::parse(text, &[]).unwrap()
}

fn refused(text: &str, reason: &str) {
    let error = ScheduleStudy::parse(text, &[]).unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn cpt_from_4_to_8_bits() {
    let report = parse(CPT).report().unwrap();
    let usage: Vec<_> = report.usage.iter().map(|it| (it.bits, it.steps)).collect();
    assert_eq!(usage, [(4, 14_728), (5, 12_128), (6, 10_296), (7, 12_128), (8, 14_720)]);
    assert_eq!(format!("{:.6}", report.usage[0].share), "0.230125"); // 14 728 / 64 000
    assert_eq!(format!("{:.3}", report.mean_bits), "6.000");

    // b^2 + 16 b is 80, 105, 132, 161, 192 at 4 to 8 bits.
    let bitops = 14_728 * 80 + 12_128 * 105 + 10_296 * 132 + 12_128 * 161 + 14_720 * 192;
    assert_eq!((report.cpt.bitops, report.cpt.static_bitops), (bitops, 64_000 * 192));
    assert_eq!(format!("{:.4}", report.cpt.relative), "0.6990");
    // A step costs 8 589 600 / 64 000 = 134.2125: sqrt(64 + 134.2125) - 8 = 6.079 bits.
    let matched = report.cpt.matched.unwrap();
    assert_eq!(format!("{:.3}", matched.exact), "6.079");
    assert_eq!((matched.below, matched.above), (6, 7));
    assert_eq!(format!("{:.3}", matched.cost_above), "1.200"); // 161 / 134.2125

    assert_eq!(format!("{:.4}", report.model.relative), "0.9748");
    let meter = Gpt2Shape::default().meter(&CostPolicy::default()).unwrap();
    assert_eq!(report.model.static_bitops, 64_000 * meter.step(8));
    assert_eq!(report.total.bitops_at_lowest, meter.step(4));
    assert_eq!(report.total.bitops_at_highest, meter.step(8));
}

/// One block of a tiny network with an adapter: quantised in every way there is.
const TINY: &str = "
    steps = 8
    [precision]
    widths = [4, 8]
    schedule = { kind = \"table\", bits = [4, 8] }
    [model]
    n_layer = 3
    n_head = 1
    n_embd = 4
    vocab_size = 10
    seq = 2
    head_lora_rank = 1
    [cost]
    base = \"frozen\"
    head = { weight = 8, activation = 8, gradient = 8 }
";

#[test]
fn operations_of_a_tiny_network_by_hand() {
    let report = parse(TINY).report().unwrap();
    let found = |name: &str| {
        let row = report.operations.iter().find(|it| it.name == name).unwrap();
        let cost = (row.cost.macs, row.cost.bitops_at_lowest, row.cost.bitops_at_highest);
        ((row.count, row.kind, row.precision), cost)
    };
    // 3 * 2 * 4 * 12; of each b^2 forward and 8 b to the input, as the base is frozen.
    let linear = ((3, OperationKind::Linear, Scheduled), (288, 288 * 48, 288 * 128));
    assert_eq!(found("h.*.attn.c_attn"), linear);
    // 3 * 4 * 2 * 2; 32^2 forward and for either gradient.
    let attention = ((3, OperationKind::Attention, Full), (48, 48 * 3_072, 48 * 3_072));
    assert_eq!(found("h.*.attn.scores"), attention);
    // 2 * 4 * 10; 8^2 forward and to the input.
    assert_eq!(found("lm_head"), ((1, OperationKind::Head, Fixed), (80, 80 * 128, 80 * 128)));
    // 2 (4 + 10); b^2 forward, 8 b for either gradient.
    let adapter = ((1, OperationKind::Adapter, Scheduled), (28, 28 * 80, 28 * 192));
    assert_eq!(found("lm_head.lora"), adapter);
    assert_eq!(found("wte"), ((1, OperationKind::Embedding, Full), (0, 0, 0)));
    let names: Vec<_> = report.operations.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names[..4], ["wte", "wpe", "h.*.ln_1", "h.*.attn.c_attn"]);
    assert_eq!(names.len(), 15); // 10 in each block, wte, wpe, ln_f, the head and its adapter
}

#[test]
fn parts_add_up_to_the_network() {
    let report = parse(TINY).report().unwrap();
    let precisions: Vec<_> = report.parts.iter().map(|it| it.precision).collect();
    assert_eq!(precisions, [Scheduled, Fixed, Full]);
    // 12 * 4^2 * 2 in each of 3 blocks, and the adapter.
    assert_eq!(report.parts[0].cost.macs, 3 * 384 + 28);
    let parts = || report.parts.iter().map(|it| &it.cost);
    let operations = || report.operations.iter().map(|it| &it.cost);
    let Cost { macs, bitops_at_lowest, bitops_at_highest, .. } = report.total;
    for costs in [parts().collect::<Vec<_>>(), operations().collect()] {
        assert_eq!(costs.iter().map(|it| it.macs).sum::<u64>(), macs);
        assert_eq!(costs.iter().map(|it| it.bitops_at_lowest).sum::<u128>(), bitops_at_lowest);
        assert_eq!(costs.iter().map(|it| it.bitops_at_highest).sum::<u128>(), bitops_at_highest);
        assert!((costs.iter().map(|it| it.share).sum::<f64>() - 1.0).abs() < 1e-12);
    }
    // Half of the steps at either width.
    assert_eq!(report.model.bitops, 4 * (bitops_at_lowest + bitops_at_highest));
}

#[test]
fn a_network_that_no_schedule_changes_has_no_matched_width() {
    let full = "{ weight = 32, activation = 32, gradient = 32 }";
    let report = parse(&format!("[cost]\nlinear = {full}")).report().unwrap();
    assert_eq!((report.model.matched, report.model.relative), (None, 1.0));
    assert_eq!(report.parts.len(), 1);
    assert!(report.cpt.matched.is_some());
    let page = report.page().unwrap().to_html();
    assert!(page.contains("by that of the network, 1.0000."));
}

#[test]
fn a_width_that_a_short_run_does_not_reach_is_listed() {
    let step = "{ kind = \"step\", first = 4, changes = [{ step = 1, bits = 8 }] }";
    let text = format!("steps = 4\n[precision]\nwidths = [4, 6, 8]\nschedule = {step}");
    let usage = parse(&text).report().unwrap().usage;
    let found: Vec<_> = usage.iter().map(|it| (it.bits, it.steps, it.share)).collect();
    assert_eq!(found, [(4, 1, 0.25), (6, 0, 0.0), (8, 3, 0.75)]);
}

#[test]
fn the_configuration_of_the_doc_and_its_defaults() {
    let (_, snippet) = include_str!("../schedule_study.rs").split_once("/// ```toml\n").unwrap();
    let snippet = snippet.split_once("/// ```").unwrap().0.replace("/// ", "").replace("///", "");
    let study = parse(&snippet);
    assert_eq!(study.precision.widths, Widths::new(4..=8).unwrap());
    assert_eq!(study.cost.base, precision_schedule::Base::Frozen);
    assert_eq!(parse(""), ScheduleStudy::default());
    assert_eq!(parse(&toml::to_string(&study).unwrap()), study);
    let shorter = ScheduleStudy::parse(&snippet, &["steps=100".to_owned()]).unwrap();
    assert_eq!(shorter, ScheduleStudy { steps: 100, ..study });
}

#[test]
fn what_no_run_can_have_is_refused_with_its_place() {
    refused("step = 3", "unknown field `step`, expected one of `steps`, `gradient_bits`");
    refused("steps = 0", "`steps` is 0, expected 1 to 4294967296");
    refused("gradient_bits = 33", "`gradient_bits` is 33, expected 1 to 32");
    refused("gradient_bits = 0", "`gradient_bits` is 0, expected 1 to 32");
    refused(
        "[precision]\nwidths = [4, 1]",
        "`widths` has 1, expected 2 to 18 or 32, in `precision.widths`",
    );
    refused("[precision]\nschedule = { kind = \"cosin\" }", "unknown variant `cosin`");
    refused("steps = 7", "`[precision]`: `cycles` is 8, expected at most the length of the run, 7");
    refused("[model]\nn_head = 5", "`[model]`: `n_head` is 5, which does not divide `n_embd` 768");
    refused(
        "[cost]\nbase = \"thawed\"",
        "unknown variant `thawed`, expected `trained` or `frozen`",
    );
    refused(
        "[cost]\nhead = { weight = 0, activation = 8, gradient = 8 }",
        "expected \"scheduled\" or a number of 1 to 32",
    );
}

#[test]
fn json_has_whole_numbers() {
    let report = ScheduleStudy { steps: 640_000, ..parse(CPT) }.report().unwrap();
    assert!(report.model.bitops > u128::from(u64::MAX));
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains(&format!("\"bitops\":{},", report.model.bitops)));
    assert!(json.contains("\"kind\":\"linear\",\"precision\":\"scheduled\""));
}

#[test]
fn a_page_of_a_slow_schedule_and_one_of_a_fast_one() {
    let slow = parse(CPT).report().unwrap().page().unwrap().to_html();
    assert!(slow.contains("Every change of the width") && !slow.contains("stretches"));
    assert!(slow.contains("costs 0.6990 of a static training at 8 bits, as much as 6.08 bits"));
    assert!(slow.contains("h.*.attn.c_attn"));

    let mut fast = ScheduleStudy { steps: 1_000_000, ..ScheduleStudy::default() };
    fast.precision.schedule = Random::default().into();
    let report = fast.report().unwrap();
    let page = report.page().unwrap().to_html();
    assert!(page.contains("The whole run, in 500 stretches") && page.contains("first 100 changes"));
    assert!(page.len() < 100_000, "{} bytes", page.len());
    assert_eq!(page, report.page().unwrap().to_html());
}

#[test]
fn a_page_makes_its_folder_and_replaces_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/schedule.html");
    let report = parse("steps = 8").report().unwrap();
    report.write(&path).unwrap();
    report.write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), report.page().unwrap().to_html());
    let error = report.write(&path.join("c.html")).unwrap_err().to_string();
    assert!(error.starts_with("cannot create `"), "{error}");
}
