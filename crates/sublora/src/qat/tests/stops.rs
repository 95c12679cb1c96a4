//! Runs that are interrupted end as those that are not.

use super::*;

/// Goes on until the run is over; how often it was interrupted.
fn insist(run: &QatRun<'_>) -> (QatRecord, usize) {
    for interruptions in 0..100 {
        match run.run(interruptions > 0) {
            Ok(record) => return (record, interruptions),
            Err(Error::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never ends")
}

/// Whole, and interrupted after the second, fourth and fifth step and inside the evaluation, or so: the
/// same files.
fn is_the_same_in_parts(overrides: &[&str], expected: usize) {
    let dir = tempfile::tempdir().unwrap();
    let corpus = text(dir.path());
    let whole = run(dir.path().join("whole"), &corpus, overrides, &());
    let record = whole.run(false).unwrap();
    let impatient = Impatient::new(&[2, 4, 5, 9]);
    let parts = run(dir.path().join("parts"), &corpus, overrides, &impatient);
    assert_eq!(insist(&parts), (record, expected));
    for it in ["qat.toml", "calibration.safetensors", "train/metrics.jsonl", "evaluation.json"] {
        assert!(file(&whole, it) == file(&parts, it), "{it}");
    }
}

/// A cycle has three steps. Gradients are rounded at random, by the words of their pass.
#[test]
fn a_cyclic_run_that_stops_inside_its_cycles() {
    is_the_same_in_parts(&[method("cyclic"), "train.shards=2", "train.accumulation=2"], 4);
}

#[test]
fn a_cyclic_run_of_the_whole_base_with_calibrated_gradients() {
    let whole = "method={ kind = \"cyclic\", rank = 0, base = \"trained\", precision = \
                 { widths = [2, 4, 8], schedule = { kind = \"repeated\", cycles = 2 } } }";
    let gradient = "quantize.gradient={ rounding = \"nearest\", range = { kind = \"min-max\" } }";
    is_the_same_in_parts(&[whole, gradient], 4);
}

#[test]
fn a_switchable_run_with_random_widths() {
    let sandwich = "method.distillation={ kind = \"sandwich\", between = 0 }";
    is_the_same_in_parts(&[method("switchable"), sandwich, "widths=[2, 3, 4, 8]"], 4);
    let drawn = "method.distillation={ kind = \"sandwich\", between = 1 }";
    is_the_same_in_parts(&[method("switchable"), drawn, "widths=[2, 3, 4, 8]"], 4);
}

/// Learned scales have an optimiser of their own, the second part of a checkpoint's state. Two updates and
/// two more are of the pretraining, so that the training stops after its first and fifth step.
#[test]
fn a_mergeable_run_from_a_base_of_its_own() {
    let base = "base={ kind = \"prior-split\", fraction = 0.5, train = { steps = 4, batch = 4, \
                seq = 16, eval_every = 4, eval_batches = 1 } }";
    let inputs = "quantize.input={ granularity = \"tensor\" }";
    is_the_same_in_parts(&[method("mergeable"), base, inputs], 3);
}
