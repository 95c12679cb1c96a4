//! Speed of fitting a codebook, of the nearest-centroid search, and of the entropy coder.

use std::num::NonZeroU8;

use counter_rng::Key;
use divan::Bencher;
use divan::counter::ItemsCount;
use quantizers::{AnyCodebook, CodedVector, KMeans, SortedValues, quantize};

fn main() {
    divan::main();
}

/// Vector length and levels.
const SHAPES: [(usize, u8); 3] = [(4_096, 11), (50_000, 11), (200_000, 255)];

fn normal(len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Key::from_seed(1).fill_normal(0, &mut values);
    values
}

fn coded((len, levels): (usize, u8)) -> CodedVector {
    let uniform = &AnyCodebook::all()[0];
    quantize(uniform.as_dyn(), &normal(len), NonZeroU8::new(levels).expect("not 0"))
        .expect("finite")
}

#[divan::bench(args = SHAPES)]
fn encode(bencher: Bencher, shape: (usize, u8)) {
    let vector = coded(shape);
    bencher.counter(ItemsCount::new(shape.0)).bench(|| vector.to_bytes());
}

#[divan::bench(args = SHAPES)]
fn decode(bencher: Bencher, shape: (usize, u8)) {
    let bytes = coded(shape).to_bytes();
    bencher.counter(ItemsCount::new(shape.0)).bench(|| CodedVector::from_bytes(&bytes, 1 << 20));
}

#[divan::bench(args = SHAPES)]
fn assign(bencher: Bencher, shape: (usize, u8)) {
    let (vector, values) = (coded(shape), normal(shape.0));
    bencher.counter(ItemsCount::new(shape.0)).bench(|| vector.codebook().assign(&values));
}

#[divan::bench(args = SHAPES, sample_count = 3)]
fn k_means(bencher: Bencher, shape: (usize, u8)) {
    fit(bencher, &KMeans {}.into(), shape);
}

#[divan::bench(args = SHAPES, sample_count = 3)]
fn entropy_constrained(bencher: Bencher, shape: (usize, u8)) {
    fit(bencher, &AnyCodebook::all()[2], shape);
}

fn fit(bencher: Bencher, method: &AnyCodebook, (len, levels): (usize, u8)) {
    let (values, levels) = (normal(len), NonZeroU8::new(levels).expect("not 0"));
    bencher
        .bench(|| method.as_dyn().centroids(&SortedValues::new(&values).expect("finite"), levels));
}
