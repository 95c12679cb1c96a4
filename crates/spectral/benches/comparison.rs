//! Time of what is said of a matrix besides its columns, by the shapes of GPT-2 small.
//!
//! `cargo bench -p spectral --bench comparison`. A bootstrap uses all threads; the rest uses one.

use counter_rng::Key;
use divan::Bencher;
use spectral::{
    Alternative, Bootstrap, Comparison, Estimation, Farms, Hill, KsFit, Measured, NEVER,
    PairedBootstrap, Route, RowSubsampling, Spectrum, TopSubspace, TruncatedPowerLaw,
    WeightDifference, Weights,
};

fn main() {
    divan::main();
}

const SHAPES: [[usize; 2]; 3] = [[768, 768], [768, 2304], [3072, 768]];

/// Noise with columns of decreasing size, so that there is a tail.
fn values([rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut values = vec![0.0; rows * cols];
    Key::from_seed(1).fill_normal(0, &mut values);
    for (place, value) in values.iter_mut().enumerate() {
        *value /= (1.0 + (place % cols) as f32).sqrt();
    }
    values
}

fn spectrum(shape: [usize; 2]) -> Vec<f64> {
    let spectrum = Spectrum::from_matrix(&values(shape), shape, Route::Gram).expect("finite");
    spectrum.eigenvalues().to_vec()
}

#[divan::bench(args = [100, 500, 2500])]
fn bootstrap_768(bencher: Bencher, replicates: usize) {
    let sorted = spectrum([768, 768]);
    let settings = KsFit::default();
    let fit = settings.fit(&sorted).expect("a tail");
    let bootstrap = Bootstrap { replicates, ..Bootstrap::default() };
    bencher.bench(|| bootstrap.run(&fit, &settings, &sorted, Key::from_seed(2), NEVER));
}

#[divan::bench]
fn truncated_and_ratios_768(bencher: Bencher) {
    let sorted = spectrum([768, 768]);
    let fit = KsFit::default().fit(&sorted).expect("a tail");
    bencher.bench(|| {
        (
            TruncatedPowerLaw::of_tail(&sorted[sorted.len() - fit.tail..]),
            [Alternative::Exponential, Alternative::LogNormal].map(|it| it.compare(&fit, &sorted)),
        )
    });
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn farms(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    bencher.bench(|| Farms::default().spectra(&weights));
}

#[divan::bench(max_time = 2)]
fn paired_interval(bencher: Bencher) {
    let values = values([768, 768]);
    let weights = Weights::matrix(&values, [768, 768]).expect("finite");
    let windows = Farms::default().spectra(&weights).expect("finite");
    let paired = PairedBootstrap::default();
    bencher.bench(|| paired.interval(&windows, &windows, &Hill::default(), Key::from_seed(3)));
}

/// On one thread; a side of an interval takes as many as it has replicates.
#[divan::bench(args = SHAPES, consts = [50, 80], max_time = 4)]
fn ten_subsets_of_rows<const PERCENT: u32>(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    let share = f64::from(PERCENT) / 100.0;
    let rows = RowSubsampling { replicates: 10, share, ..RowSubsampling::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let settings = KsFit::default();
    bencher.bench(|| pool.install(|| rows.alphas(&weights, &settings, &Key::from_seed(6), NEVER)));
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn weight_difference(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    let noisy = weights.with_noise(1.0, &Key::from_seed(4));
    bencher.bench(|| WeightDifference::of(&weights, &noisy));
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn with_noise(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    bencher.bench(|| weights.with_noise(1.0, &Key::from_seed(4)));
}

#[divan::bench(args = SHAPES, max_time = 2)]
fn top_subspace(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    bencher.bench(|| TopSubspace::of(&values, shape, 8));
}

#[divan::bench(args = SHAPES, sample_count = 3)]
fn whole_comparison(bencher: Bencher, shape: [usize; 2]) {
    let values = values(shape);
    let weights = Weights::matrix(&values, shape).expect("finite");
    let estimation = Estimation::default();
    let key = Key::from_seed(5);
    let before = Measured::new(weights.clone(), &estimation, &key).expect("a spectrum");
    bencher.bench(|| {
        let after = weights.with_noise(1.0, &key);
        let after = Measured::new(after, &estimation, &key).expect("a spectrum");
        Comparison::default().run(&before, &after, &estimation, &key, NEVER)
    });
}
