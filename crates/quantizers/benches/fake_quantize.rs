//! Speed of fake quantisation against a pass over the same memory, as ratios within one run.
//!
//! `cargo bench -p quantizers --bench fake_quantize`: a weight 768 x 3072 in `f32`; a copy reads and
//! writes it once. `derivatives` are value, mask and d of one. Times are the fastest of many turns, taken
//! in rotation.

#![expect(clippy::print_stdout, reason = "its output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use counter_rng::Key;
use quantizers::{
    AnyGrid, AnyRange, BitWidth, Derivatives, Granularity, Mse, Operand, Quantizer, QuantizerError,
    ScaleRule,
};

const SHAPE: [usize; 2] = [768, 3_072];

fn main() {
    let mut values = vec![0.0; SHAPE[0] * SHAPE[1]];
    Key::from_seed(1).fill_normal(0, &mut values);
    let (grids, ranges) = (grids(), ranges(&values));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| measure_grids(&values, &grids, threads));
        pool.install(|| measure_ranges(&values, &ranges, threads));
    }
}

/// The fastest of some turns of one task.
struct Fastest(Duration);

impl Fastest {
    const NONE: Self = Self(Duration::MAX);

    fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let made = black_box(run());
        self.0 = self.0.min(start.elapsed());
        made
    }

    fn over(&self, pass: &Self) -> f64 {
        self.0.as_secs_f64() / pass.0.as_secs_f64()
    }
}

fn measure_grids(values: &[f32], quantizers: &[(String, Quantizer)], threads: usize) {
    let mut copy = Fastest::NONE;
    let mut times: Vec<[Fastest; 4]> = quantizers.iter().map(|_| [Fastest::NONE; 4]).collect();
    let [mut out, mut mask, mut scale] = [(); 3].map(|()| vec![0.0; values.len()]);
    for _ in 0..40 {
        copy.time(|| black_box(&mut out).copy_from_slice(black_box(values)));
        for ((_, quantizer), [fit, given, both, all]) in quantizers.iter().zip(&mut times) {
            let out = black_box(&mut out);
            let params = both.time(|| {
                let params = fit.time(|| quantizer.fit(black_box(values), SHAPE).expect("finite"));
                given
                    .time(|| quantizer.fake_quantize_into(values, SHAPE, &params, out))
                    .expect("fitted");
                params
            });
            let (mask, scale) = (black_box(&mut mask), black_box(&mut scale));
            let out = Derivatives { values: out, mask, scale };
            let rule = ScaleRule::Rounding;
            all.time(|| quantizer.derivatives_into(values, SHAPE, &params, rule, out))
                .expect("fitted");
        }
    }
    println!("{threads} threads: copy on one of them {:.3} ms", 1e3 * copy.0.as_secs_f64());
    for ((name, _), times) in quantizers.iter().zip(times) {
        let [fit, given, both, all] = times.map(|it| it.over(&copy));
        println!(
            "{name:40} fit {fit:5.2}  fake_quantize {given:5.2}  both {both:5.2}  \
             derivatives {all:5.2}  copies"
        );
    }
}

fn measure_ranges(values: &[f32], quantizers: &[(String, Quantizer)], threads: usize) {
    let mut copy = Fastest::NONE;
    let mut times: Vec<Fastest> = quantizers.iter().map(|_| Fastest::NONE).collect();
    let mut out = vec![0.0; values.len()];
    for _ in 0..8 {
        for ((_, quantizer), time) in quantizers.iter().zip(&mut times) {
            for _ in 0..2 {
                copy.time(|| black_box(&mut out).copy_from_slice(black_box(values)));
            }
            time.time(|| quantizer.fit(black_box(values), SHAPE)).expect("finite");
        }
    }
    println!("{threads} threads: copy on one of them {:.3} ms", 1e3 * copy.0.as_secs_f64());
    for ((name, _), time) in quantizers.iter().zip(times) {
        println!("{name:40} fit {:6.2}  copies", time.over(&copy));
    }
}

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).expect("a width")
}

/// Every grid with a scale an output channel, and the symmetric one at every granularity.
fn grids() -> Vec<(String, Quantizer)> {
    let mut quantizers = Vec::new();
    for grid in AnyGrid::all() {
        for bits in [1, 2, 4, 8].map(width) {
            let name = format!("{} {bits}, channel:1", grid.name());
            if grid.as_dyn().codes(bits).is_ok() {
                let quantizer = Quantizer { bits, grid: grid.clone(), ..Quantizer::default() };
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

/// Every range with a scale an output channel, on integers and on a table.
fn ranges(values: &[f32]) -> Vec<(String, Quantizer)> {
    let mut ranges: Vec<(String, AnyRange)> =
        AnyRange::all().into_iter().map(|it| (it.name().into(), it)).collect();
    ranges.push(("mse, p = 2.4".into(), Mse { exponent: 2.4 }.into()));
    let grids =
        AnyGrid::all().into_iter().filter(|it| ["symmetric", "affine", "nf4"].contains(&it.name()));
    let pairs = grids.flat_map(|grid| [4, 8].map(|bits| (grid.clone(), width(bits))));
    let mut quantizers = Vec::new();
    for ((grid, bits), (range, it)) in
        pairs.flat_map(|pair| ranges.iter().map(move |it| (pair.clone(), it)))
    {
        let name = format!("{range}, {} {bits}, channel:1", grid.name());
        let quantizer = Quantizer { bits, grid, range: it.clone(), ..Quantizer::default() };
        match quantizer.fit(values, SHAPE) {
            Err(QuantizerError::GridWidth { .. } | QuantizerError::NotIntegers { .. }) => {}
            fitted => {
                fitted.expect("finite");
                quantizers.push((name, quantizer));
            }
        }
    }
    quantizers
}
