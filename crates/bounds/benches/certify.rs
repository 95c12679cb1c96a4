//! From stored scores to every bound: `cargo bench -p bounds --bench certify --profile dev`.
//!
//! The least of three runs, in milliseconds, on one thread. The last line is the slow obvious form of
//! the product bound's sums: a logarithm for every token and stake.

#![expect(clippy::print_stdout, reason = "a table is the purpose of this program")]
#![expect(clippy::cast_possible_truncation, reason = "scores are f32")]

use std::hint::black_box;
use std::num::NonZeroU64;
use std::time::Instant;

use bounds::{
    Alpha, AnyBound, Bits, Evidence, FailureProbability, Metric, Sampling, Scores, Smoothing, Unit,
};
use counter_rng::Key;

fn main() {
    for tokens in [1_000_000, 10_000_000] {
        println!("{tokens} tokens, documents of 100");
        table(tokens);
    }
}

fn table(tokens: usize) {
    let mut uniform = vec![0.0; tokens];
    Key::from_seed(1).fill_uniform(0, &mut uniform);
    let ln_p: Vec<f32> = uniform.iter().map(|u| (1.0 - u).ln() as f32).collect();
    let entropy: Vec<f32> = uniform.iter().map(|u| (1.0 + u) as f32).collect();
    let rank = vec![0; tokens];
    let offsets: Vec<u64> = (0..=tokens as u64 / 100).map(|document| 100 * document).collect();
    let scores = Scores::new(&ln_p, &rank, &entropy, &offsets).expect("scores are legal");
    let alpha = Alpha::new(1, 5).expect("1/32 is on the grid");
    let smoothing = Smoothing::new(alpha.value(), 50_257).expect("smoothing is legal");

    time("token_losses", || scores.token_losses(smoothing));
    time("document_losses", || scores.document_losses(smoothing));
    time("predicted_losses", || scores.predicted_losses(smoothing));

    let values = scores.token_losses(smoothing);
    let predicted = scores.predicted_losses(smoothing);
    let delta = FailureProbability::new(0.025).expect("0.025 is a probability");
    let tokens = NonZeroU64::new(tokens as u64).expect("there are tokens");
    for bound in AnyBound::all() {
        for sampling in [Sampling::Full, Sampling::Uniform] {
            if !bound.as_dyn().applies_to(Unit::Token, Metric::BitsPerToken) {
                continue;
            }
            let evidence = Evidence {
                unit: Unit::Token,
                metric: Metric::BitsPerToken,
                population: tokens,
                values: &values,
                sampling,
                code_length: Bits::whole(100_000),
                alpha_bits: alpha.code_length(),
                predictable: Some(&predicted),
                range: smoothing.range(),
                models: NonZeroU64::MIN,
                training_failure: delta,
                sample_failure: delta,
            };
            let name = format!("{}, {sampling:?}", bound.name());
            time(&name, || bound.as_dyn().certify(&evidence).expect("evidence is consistent"));
        }
    }
    time("64 sums of logarithms", || {
        let sum = |s: f64| values.iter().map(|x| (-s * (x / 21.0)).ln_1p()).sum::<f64>();
        (1..=64).map(|s| sum(f64::from(s) / 65.0)).collect::<Vec<_>>()
    });
}

fn time<T>(name: &str, run: impl Fn() -> T) {
    let once = || {
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_secs_f64() * 1e3
    };
    let least = (0..3).map(|_| once()).fold(f64::INFINITY, f64::min);
    println!("{name:<28} {least:>10.1} ms");
}
