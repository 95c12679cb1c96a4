//! Time of the parts of an analysis, by the shapes of GPT-2 small and medium, on one thread.
//!
//! `cargo bench -p spectral --bench spectrum`. The slow obvious ways are beside the fast ones: singular
//! values beside the Gram matrix, every distance in full beside the search.

use counter_rng::Key;
use divan::Bencher;
use spectral::{
    Analysis, KsFit, KsScratch, MarchenkoPastur, Mode, Randomized, Route, Spectrum, Weights,
};

fn main() {
    divan::main();
}

const SHAPES: [[usize; 2]; 5] = [[768, 768], [768, 2304], [768, 3072], [3072, 768], [1024, 4096]];

fn normal([rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut values = vec![0.0; rows * cols];
    Key::from_seed(1).fill_normal(0, &mut values);
    values
}

fn spectrum(shape: [usize; 2]) -> Spectrum {
    Spectrum::from_matrix(&normal(shape), shape, Route::Gram).expect("finite")
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn gram(bencher: Bencher, shape: [usize; 2]) {
    let values = normal(shape);
    bencher.bench(|| Spectrum::from_matrix(&values, shape, Route::Gram));
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn svd(bencher: Bencher, shape: [usize; 2]) {
    let values = normal(shape);
    bencher.bench(|| Spectrum::from_matrix(&values, shape, Route::Svd));
}

/// Of as many eigenvalues as a pareto tail over a uniform body gives.
fn eigenvalues(len: usize) -> Vec<f64> {
    let mut uniform = vec![0.0; len];
    Key::from_seed(2).fill_uniform(0, &mut uniform);
    let draw = |u: f64| if u < 0.5 { 2.0 * u } else { (2.0 - 2.0 * u).powf(-1.0 / 1.5) };
    let mut values: Vec<f64> = uniform.into_iter().map(draw).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

const COUNTS: [usize; 3] = [768, 4096, 15_000];

#[divan::bench(args = COUNTS, max_time = 1)]
fn fit(bencher: Bencher, len: usize) {
    let values = eigenvalues(len);
    let mut scratch = KsScratch::default();
    bencher.bench_local(|| KsFit::default().select(&values, &mut scratch));
}

#[divan::bench(args = COUNTS, max_time = 1)]
fn fit_every_distance(bencher: Bencher, len: usize) {
    let logs: Vec<f64> = eigenvalues(len).into_iter().map(f64::ln).collect();
    bencher.bench_local(|| {
        let mut least = f64::MAX;
        for (i, tail) in (0..len - 9).map(|i| (i, &logs[i..])) {
            let n = tail.len() as f64;
            let decay = n / (tail.iter().sum::<f64>() - n * logs[i]);
            let deviations = tail
                .iter()
                .enumerate()
                .map(|(j, x)| (1.0 - (decay * (logs[i] - x)).exp() - j as f64 / n).abs());
            least = least.min(deviations.fold(0.0, f64::max));
        }
        least
    });
}

#[divan::bench(args = [[768, 768], [768, 2304]], max_time = 1)]
fn marchenko_pastur(bencher: Bencher, shape: [usize; 2]) {
    let spectrum = spectrum(shape);
    let sides = [spectrum.larger_side(), spectrum.smaller_side()];
    bencher
        .bench(|| MarchenkoPastur::fit(spectrum.eigenvalues(), sides[0], sides[1], Mode::Strict));
}

#[divan::bench(args = [[768, 768], [768, 2304]], max_time = 1)]
fn columns(bencher: Bencher, shape: [usize; 2]) {
    let spectrum = spectrum(shape);
    let analysis = Analysis::new(Mode::Strict);
    bencher.bench(|| analysis.columns(&spectrum));
}

#[divan::bench(args = [[768, 768], [768, 2304]], max_time = 2)]
fn permutations(bencher: Bencher, shape: [usize; 2]) {
    let values = normal(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    let spectrum = spectrum(shape);
    let key = Key::from_seed(3);
    bencher.bench(|| Randomized::new(&weights, &spectrum, &key, Mode::Strict));
}
