//! $\theta_i = (P \alpha)_{s(i)}$ for a permutation $s$ of the parameters.

use counter_rng::Key;
use rayon::prelude::*;

use crate::{Projector, Shape};

/// Elements moved by one task, at least.
const TASK: usize = 1 << 13;

/// Another operator with its rows in another order.
pub(crate) struct Permuted<P> {
    inner: P,
    /// The row of `inner` that goes to each place.
    source: Vec<u32>,
    /// The place of each row of `inner`.
    place: Vec<u32>,
}

impl<P: Projector> Permuted<P> {
    /// A uniformly random order.
    pub(crate) fn random(inner: P, key: &Key) -> Self {
        let source = key.permutation(inner.shape().ambient);
        Self { place: inverse(&source), source, inner }
    }

    /// Row `k` of `inner` goes to place `places[k]`.
    pub(crate) fn to(places: Vec<u32>, inner: P) -> Self {
        assert_eq!(places.len(), inner.shape().ambient, "a place for each row");
        Self { source: inverse(&places), place: places, inner }
    }
}

impl<P: Projector> Projector for Permuted<P> {
    fn shape(&self) -> Shape {
        self.inner.shape()
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape().assert(alpha, theta);
        let mut rows = vec![0.0; theta.len()];
        self.inner.apply(alpha, &mut rows);
        gather(&rows, &self.source, theta);
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape().assert(out, g);
        let mut rows = vec![0.0; g.len()];
        gather(g, &self.place, &mut rows);
        self.inner.apply_t(&rows, out);
    }
}

fn gather(from: &[f32], indices: &[u32], out: &mut [f32]) {
    let pairs = out.par_iter_mut().zip(indices).with_min_len(TASK);
    pairs.for_each(|(out, &index)| *out = from[index as usize]);
}

#[expect(clippy::cast_possible_truncation, reason = "as many places as there are u32 indices")]
fn inverse(permutation: &[u32]) -> Vec<u32> {
    let mut inverse = vec![0; permutation.len()];
    for (i, &to) in permutation.iter().enumerate() {
        inverse[to as usize] = i as u32;
    }
    inverse
}
