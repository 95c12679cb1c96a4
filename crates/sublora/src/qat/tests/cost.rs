//! What a run costs, by hand.
//!
//! A window of 16 tokens takes, in the two blocks of width 16 and two heads, in multiply-accumulates:
//! - matrices $2 \cdot 16 \cdot 12 \cdot 16^2$ = 98,304;
//! - adapters of rank 2, on ends of $(16 + 48) + (16 + 16) + 2 (16 + 64) = 256$: $2 \cdot 16 \cdot 2 \cdot 256$
//!   = 16,384;
//! - attention, scores and values, $2 \cdot 2 \cdot 16 \cdot 16^2$ = 16,384;
//! - norms, softmax and GELU $2 (2 \cdot 3 \cdot 16^2 + 2 \cdot 2 \cdot 16^2 + 24 \cdot 16^2)$ and, for the last
//!   norm, $3 \cdot 16^2$: 18,176;
//! - the head $16 \cdot 16 \cdot 257$ = 65,792.

use gpt2_model::Gpt2Config;

use super::*;
use crate::qat::cost;

const MATRICES: u64 = 98_304;
const ADAPTERS: u64 = 16_384;
/// Attention and what is between the products, at 32 bits in each of three passes.
const UNQUANTISED: u64 = 16_384 + 18_176;
const HEAD: u64 = 65_792;
const FULL: u64 = 32 * 32;

fn shape(config: &QatConfig) -> Gpt2Config {
    config.model.shape(257).unwrap()
}

fn price(config: &QatConfig) -> f64 {
    let plan = config.method.as_dyn().plan(config).unwrap().unwrap();
    cost::training(config, &shape(config), plan.as_ref()).unwrap()
}

fn forward(config: &QatConfig, width: u8) -> u128 {
    cost::forward(config, &shape(config), 16, bits(width)).unwrap()
}

/// Gradients at 8 bits; factors at the width of the step. Frozen matrices and the head have no gradient.
#[test]
fn a_cyclic_run_costs_what_its_steps_do() {
    let config = config(&[method("cyclic"), "train.accumulation=2"]);
    let step = |b: u64| {
        MATRICES * (b * b + b * 8)
            + ADAPTERS * (b * b + b * 8 + b * 8)
            + 3 * FULL * UNQUANTISED
            + 2 * FULL * HEAD
    };
    let windows = 4 * 2;
    let steps: u64 = [2, 4, 8, 2, 4, 8].into_iter().map(step).sum();
    assert_eq!(price(&config), (windows * steps) as f64);
    let once = |b: u64| (MATRICES + ADAPTERS) * b * b + FULL * (UNQUANTISED + HEAD);
    assert_eq!([2, 8].map(|b| forward(&config, b)), [2, 8].map(|b| u128::from(once(b))));
    // At 32 bits there is no adapter.
    let full = FULL * (MATRICES + UNQUANTISED + HEAD);
    assert_eq!(forward(&config, 32), u128::from(full));
}

/// A teacher costs a forward pass at 32 bits. Adapters and gradients are at 32 bits.
#[test]
fn a_switchable_run_pays_for_its_teacher() {
    let config = config(&[method("switchable")]);
    let learning = |b: u64| {
        MATRICES * (b * b + b * 32) + 3 * FULL * (ADAPTERS + UNQUANTISED) + 2 * FULL * HEAD
    };
    let teaching = FULL * (MATRICES + UNQUANTISED + HEAD);
    let step = learning(2) + learning(4) + learning(8) + teaching;
    assert_eq!(price(&config), (4 * 6 * step) as f64);
}

/// A gradient of the sum of weight and adapter, at 32 bits and so of $32 b$, and the pair: once a pass, and
/// so in each of six steps, at three widths and in two micro-batches, whatever their windows,
/// $2 \cdot 2 \cdot 12 \cdot 16^2$ multiply-accumulates to form it and twice as many for its gradients. In use
/// there is no pair.
#[test]
fn a_mergeable_run_pays_for_the_gradient_of_its_matrices() {
    let plain = config(&[method("mergeable"), "train.accumulation=2"]);
    let learning =
        |b: u64| MATRICES * (b * b + 2 * b * 32) + 3 * FULL * UNQUANTISED + 2 * FULL * HEAD;
    let teaching = FULL * (MATRICES + UNQUANTISED + HEAD);
    let windows = learning(2) + learning(4) + learning(8) + teaching;
    let pairs = 3 * 3 * FULL * (2 * 2 * 12 * 256);
    assert_eq!(price(&plain), (2 * 6 * (4 * windows + pairs)) as f64);
    assert_eq!(forward(&plain, 4), u128::from(16 * MATRICES + FULL * (UNQUANTISED + HEAD)));
    // A head that is quantised is one of the matrices.
    let with_head = config(&[method("mergeable"), "train.accumulation=2", "quantize.head=true"]);
    let learning = |b: u64| (MATRICES + HEAD) * (b * b + 2 * b * 32) + 3 * FULL * UNQUANTISED;
    let windows = learning(2) + learning(4) + learning(8) + teaching;
    let pairs = 3 * 3 * FULL * (2 * 2 * 12 * 256 + 2 * 16 * 257);
    assert_eq!(price(&with_head), (2 * 6 * (4 * windows + pairs)) as f64);
}

/// One width of inputs for all widths of weights; at 32 bits inputs are as they are.
#[test]
fn inputs_of_one_width_cost_what_they_have() {
    for name in ["post-training", "switchable", "mergeable", "cyclic"] {
        let config = config(&[method(name), "input_bits=8"]);
        let adapters = match name {
            "switchable" => ADAPTERS * FULL,
            "cyclic" => ADAPTERS * 4 * 8,
            _ => 0,
        };
        let at_four = MATRICES * 4 * 8 + adapters + FULL * (UNQUANTISED + HEAD);
        assert_eq!(forward(&config, 4), u128::from(at_four), "{name}");
        let full = FULL * (MATRICES + UNQUANTISED + HEAD);
        assert_eq!(forward(&config, 32), u128::from(full), "{name}");
    }
}

#[test]
fn a_record_has_the_cost_of_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let run = run(dir.path().join("run"), &corpus, &[method("cyclic")], &());
    let record = run.run(false).unwrap();
    assert_eq!(record.training.unwrap().bit_ops, price(&run.config));
    let per_token = |width: u8| forward(&run.config, width) as f64 / 16.0;
    let found: Vec<f64> = record.widths.iter().map(|it| it.bit_ops_per_token).collect();
    assert_eq!(found, [2, 4, 8, 32].map(per_token));
}

#[test]
fn static_runs_are_matched_to_half_a_step() {
    let suite = r#"
        seeds = [1, 2]
        [run]
        widths = [2, 4, 8]
        model = { size = "tiny", n_layer = 2, n_head = 2, n_embd = 16, n_positions = 16 }
        train = { steps = 60, batch = 4, seq = 16 }
        [methods.rounded]
        [methods.cyclic.method]
        kind = "cyclic"
        precision = { widths = [2, 4, 8, 32] }
        [matched]
        static = "cyclic"
    "#;
    let runs = QatSuite::parse(suite, &[]).unwrap().runs(257).unwrap();
    let folders: Vec<String> =
        runs.iter().map(|it| it.folder.display().to_string().replace('\\', "/")).collect();
    let of_seed = |seed: u64| {
        ["cyclic", "rounded", "static-2", "static-4", "static-8"]
            .map(|name| format!("{name}/seed-{seed}"))
    };
    assert_eq!(folders, [of_seed(1), of_seed(2)].concat());
    let budget = price(&runs[0].config);
    for (run, width) in runs[2..5].iter().zip([2, 4, 8]) {
        let AnyQatMethod::Cyclic(cyclic) = &run.config.method else { panic!("{run:?}") };
        assert_eq!(cyclic.precision.widths.as_slice(), [width]);
        let (spent, steps) = (price(&run.config), run.config.train.steps);
        let step = spent / steps as f64;
        assert!((spent - budget).abs() <= 0.5 * step * (1.0 + 1e-9), "{width}: {spent} {budget}");
        assert!(steps > 60, "{width}: {steps}"); // without steps at 32 bits there are more
    }
}
