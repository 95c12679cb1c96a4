//! What tests share.

use std::num::NonZeroU64;

use proptest::test_runner::{Config, RngSeed};

use crate::{Bits, Evidence, FailureProbability, LossRange, Metric, Sampling, Unit};

/// Fails unless `value` is within a relative `tolerance` of `expected`.
#[track_caller]
pub(crate) fn assert_close(value: f64, expected: f64, tolerance: f64) {
    let error = (value - expected).abs() / expected.abs();
    assert!(error <= tolerance, "{value} is {error:e} off {expected}");
}

/// Evidence of error rates of fully scored documents, without a code: the rest is set by update.
pub(crate) fn evidence(values: &[f64]) -> Evidence<'_> {
    Evidence {
        unit: Unit::Document,
        metric: Metric::BitsPerToken,
        population: NonZeroU64::new(values.len() as u64).unwrap(),
        values,
        sampling: Sampling::Full,
        code_length: Bits::ZERO,
        alpha_bits: Bits::ZERO,
        predictable: None,
        range: LossRange::UNIT,
        models: NonZeroU64::MIN,
        training_failure: delta(0.025),
        sample_failure: delta(0.025),
    }
}

/// Property tests that are the same at every run.
pub(crate) fn seeded() -> Config {
    Config { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

pub(crate) fn delta(value: f64) -> FailureProbability {
    FailureProbability::new(value).unwrap()
}
