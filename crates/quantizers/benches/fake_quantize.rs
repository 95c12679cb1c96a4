//! Speed of fake quantisation against a pass over the same memory, as ratios within one run.
//!
//! `cargo bench -p quantizers --bench fake_quantize`: a weight 768 x 3072 in `f32`; `copy` reads and
//! writes it once. `derivatives` are value, mask and d of one. Times are the fastest of many turns, taken in rotation.

#![expect(clippy::print_stdout, reason = "its output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use counter_rng::Key;
use quantizers::{AnyGrid, BitWidth, Derivatives, Granularity, Operand, Quantizer, ScaleRule};

const SHAPE: [usize; 2] = [768, 3_072];
const TURNS: usize = 40;

fn main() {
    let mut values = vec![0.0; SHAPE[0] * SHAPE[1]];
    Key::from_seed(1).fill_normal(0, &mut values);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool").install(|| measure(&values, threads));
    }
}

fn measure(values: &[f32], threads: usize) {
    let mut out = vec![0.0; values.len()];
    let quantizers = quantizers();
    let mut copy = Duration::MAX;
    let mut others = [vec![0.0; values.len()], vec![0.0; values.len()]];
    let mut times = vec![[Duration::MAX; 3]; quantizers.len()];
    for _ in 0..TURNS {
        let start = Instant::now();
        black_box(&mut out).copy_from_slice(black_box(values));
        copy = copy.min(start.elapsed());
        for ((_, quantizer), [fit, both, all]) in quantizers.iter().zip(&mut times) {
            let start = Instant::now();
            let params = quantizer.fit(black_box(values), SHAPE).expect("finite");
            *fit = start.elapsed().min(*fit);
            let done = quantizer.fake_quantize_into(values, SHAPE, &params, black_box(&mut out));
            done.expect("fitted");
            *both = start.elapsed().min(*both);
            let [mask, scale] = black_box(&mut others);
            let start = Instant::now();
            let out = Derivatives { values: &mut out, mask, scale };
            let done = quantizer.derivatives_into(values, SHAPE, &params, ScaleRule::Rounding, out);
            done.expect("fitted");
            *all = start.elapsed().min(*all);
        }
    }
    println!("{threads} threads: copy on one of them {:.3} ms", 1e3 * copy.as_secs_f64());
    for ((name, _), times) in quantizers.iter().zip(times) {
        let [fit, both, all] = times.map(|it| it.as_secs_f64() / copy.as_secs_f64());
        println!(
            "{name:40} fit {fit:5.2}  fit + fake_quantize {both:5.2}  derivatives {all:5.2}  copies"
        );
    }
}

/// What is measured: every grid with a scale an output channel, and the symmetric one at every
/// granularity.
fn quantizers() -> Vec<(String, Quantizer)> {
    let width = |bits| BitWidth::new(bits).expect("a width");
    let mut quantizers = Vec::new();
    for grid in AnyGrid::all() {
        for bits in [1, 2, 4, 8] {
            let name = format!("{} {bits}, channel:1", grid.name());
            let quantizer =
                Quantizer { bits: width(bits), grid: grid.clone(), ..Quantizer::default() };
            if grid.as_dyn().codes(quantizer.bits).is_ok() {
                quantizers.push((name, quantizer));
            }
        }
    }
    for (granularity, operand) in [
        ("tensor", Operand::Weight),
        ("group:64", Operand::Weight),
        ("channel:0", Operand::TransposedWeight),
        ("group:64", Operand::TransposedWeight),
    ] {
        let name = format!("symmetric 4, {granularity}, {operand:?}");
        let granularity: Granularity = granularity.parse().expect("a granularity");
        let quantizer = Quantizer { bits: width(4), granularity, operand, ..Quantizer::default() };
        quantizers.push((name, quantizer));
    }
    quantizers
}
