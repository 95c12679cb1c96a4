//! Speed of the ranges on a 768x3072 matrix with a scale per output channel, against one pass over
//! the memory (read and write) in the same run, on one core.
//!
//! `cargo bench -p quantizers --bench ranges`

#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use counter_rng::Key;
use quantizers::{AnyGrid, AnyRange, BitWidth, Mse};

/// `[d_in, d_out]`; a scale per column.
const SHAPE: [usize; 2] = [768, 3_072];

/// Columns gathered together: a line of the cache.
const COLUMNS: usize = 16;

fn main() {
    let [d_in, d_out] = SHAPE;
    let mut weights = vec![0.0; d_in * d_out];
    Key::from_seed(1).fill_normal(0, &mut weights);
    let mut copy = vec![0.0; weights.len()];
    let pass = best(|| {
        for (y, x) in copy.iter_mut().zip(&weights) {
            *y = 0.5 * x;
        }
        black_box(&copy);
    });
    println!("one pass over {d_in}x{d_out} f32: {:.2} ms", milliseconds(pass));
    let gather = best(|| for_each_column(&weights, |column| _ = black_box(column)));
    println!("columns gathered: {:.1} passes", ratio(gather, pass));

    println!("\npasses, gathering included, at 4 / 8 bits:");
    let mut ranges: Vec<(String, AnyRange)> =
        AnyRange::all().into_iter().map(|it| (it.name().into(), it)).collect();
    ranges.push(("mse, p = 2.4".into(), Mse { exponent: 2.4 }.into()));
    for (name, range) in ranges {
        for grid in AnyGrid::all() {
            let times: Vec<String> = [4, 8]
                .map(|bits| time(&weights, &range, &grid, bits))
                .map(|it| it.map_or("-".into(), |time| format!("{:.1}", ratio(time, pass))))
                .into();
            println!("{name:>16} {:>12}  {}", grid.name(), times.join(" / "));
        }
    }
}

/// The time to fit every column, if this range and this grid go together at this width.
fn time(weights: &[f32], range: &AnyRange, grid: &AnyGrid, bits: u8) -> Option<Duration> {
    let bits = BitWidth::new(bits).expect("a width");
    let fit = |column: &[f32]| {
        let mut observer = range.as_dyn().observer();
        observer.observe(column).expect("finite");
        observer.fit(grid.as_dyn(), bits).ok()
    };
    fit(&weights[..SHAPE[0]])?;
    Some(best(|| for_each_column(weights, |column| _ = black_box(fit(column)))))
}

fn for_each_column(weights: &[f32], mut visit: impl FnMut(&[f32])) {
    let [d_in, d_out] = SHAPE;
    let mut columns = vec![0.0; COLUMNS * d_in];
    for first in (0..d_out).step_by(COLUMNS) {
        for (i, row) in weights.chunks(d_out).enumerate() {
            for (j, &x) in row[first..first + COLUMNS].iter().enumerate() {
                columns[j * d_in + i] = x;
            }
        }
        columns.chunks(d_in).for_each(&mut visit);
    }
}

/// The shortest of three runs, after one that warms up.
fn best(mut run: impl FnMut()) -> Duration {
    run();
    let mut time = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..3).map(|_| time()).min().expect("three runs")
}

fn milliseconds(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

fn ratio(time: Duration, pass: Duration) -> f64 {
    time.as_secs_f64() / pass.as_secs_f64()
}
