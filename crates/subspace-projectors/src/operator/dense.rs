//! A matrix without structure, stored or regenerated row by row.
//!
//! # Definition
//! $P_{ij} = c\,z_{ij}$ with one scale $c$, applied after the sums. Entry $(i, j)$ is normal variate
//! number $i d + j$ of the key, or bit $j \bmod 64$ of word $i \lceil d / 64 \rceil + \lfloor j / 64
//! \rfloor$, a set bit for $-1$: any row can be generated alone.
//!
//! # Order of the sums
//! $\theta_i$ is an inner product ([`crate::kernel`]). For $P^\top g$ the rows are cut in 64 runs of
//! $\lceil D / 64 \rceil$, each summed from the top down, and the runs are summed in order.

use std::ops::Range;

use counter_rng::Key;
use rayon::prelude::*;

use super::RUNS;
use crate::kernel::{axpy, axpy_signs, dot, dot_signs, scale};
use crate::{Projector, Shape};

/// A matrix `[ambient, intrinsic]`.
pub(crate) struct Dense {
    shape: Shape,
    scale: f32,
    entries: Entries,
}

/// The entries, up to the scale.
pub(crate) enum Entries {
    /// Row-major.
    Stored(Vec<f32>),
    /// Standard normals, generated for each product.
    Normals(Key),
    /// Signs, generated for each product.
    Signs(Key),
}

enum Row<'a> {
    Values(&'a [f32]),
    Signs(&'a [u64]),
}

impl Dense {
    /// Entries of variance `variance`.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub(crate) fn new(shape: Shape, variance: f64, entries: Entries) -> Self {
        Self { shape, scale: variance.sqrt() as f32, entries }
    }

    /// Normals of variance 1 / `ambient`, kept in memory: for small matrices.
    pub(crate) fn stored(shape: Shape, key: &Key) -> Self {
        let mut entries = vec![0.0; shape.ambient * shape.intrinsic];
        key.fill_normal(0, &mut entries);
        Self::new(shape, 1.0 / shape.ambient.max(1) as f64, Entries::Stored(entries))
    }

    fn for_each_row(&self, rows: Range<usize>, mut visit: impl FnMut(Row<'_>)) {
        let columns = self.shape.intrinsic;
        match &self.entries {
            Entries::Stored(entries) => {
                let rows = entries[rows.start * columns..rows.end * columns].chunks_exact(columns);
                rows.for_each(|row| visit(Row::Values(row)));
            }
            Entries::Normals(key) => {
                let mut row = vec![0.0; columns];
                for i in rows {
                    key.fill_normal(i as u64 * columns as u64, &mut row);
                    visit(Row::Values(&row));
                }
            }
            Entries::Signs(key) => {
                let mut row = vec![0; columns.div_ceil(64)];
                let mut words = key.words(rows.start as u64 * row.len() as u64);
                for _ in rows {
                    row.iter_mut().zip(&mut words).for_each(|(signs, word)| *signs = word);
                    visit(Row::Signs(&row));
                }
            }
        }
    }
}

impl Row<'_> {
    fn dot(&self, x: &[f32]) -> f32 {
        match self {
            Row::Values(row) => dot(row, x),
            Row::Signs(row) => dot_signs(row, x),
        }
    }

    fn add_to(&self, scale: f32, out: &mut [f32]) {
        match self {
            Row::Values(row) => axpy(scale, row, out),
            Row::Signs(row) => axpy_signs(scale, row, out),
        }
    }
}

impl Projector for Dense {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape.assert(alpha, theta);
        if alpha.is_empty() || theta.is_empty() {
            return theta.fill(0.0);
        }
        let run = theta.len().div_ceil(RUNS);
        theta.par_chunks_mut(run).enumerate().for_each(|(i, theta)| {
            let mut rows = theta.iter_mut();
            let (start, len) = (i * run, rows.len());
            self.for_each_row(start..start + len, |row| {
                if let Some(theta) = rows.next() {
                    *theta = self.scale * row.dot(alpha);
                }
            });
        });
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape.assert(out, g);
        out.fill(0.0);
        if g.is_empty() || out.is_empty() {
            return;
        }
        let run = g.len().div_ceil(RUNS);
        let sums = g.par_chunks(run).enumerate().map(|(i, g)| {
            let mut sums = vec![0.0; out.len()];
            let mut rows = g.iter();
            self.for_each_row(i * run..i * run + g.len(), |row| {
                if let Some(&g) = rows.next() {
                    row.add_to(g, &mut sums);
                }
            });
            sums
        });
        let sums: Vec<_> = sums.collect();
        for sums in sums {
            axpy(1.0, &sums, out);
        }
        scale(self.scale, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regenerated_entries_have_the_bits_of_stored_ones() {
        let shape = Shape { ambient: 203, intrinsic: 77 }; // runs of 4 rows, the last of 3
        let key = Key::from_seed(1);
        let stored = Dense::stored(shape, &key);
        let regenerated = Dense::new(shape, 1.0 / 203.0, Entries::Normals(key));
        let (mut alpha, mut g) = (vec![0.0; 77], vec![0.0; 203]);
        key.index(0).fill_normal(0, &mut alpha);
        key.index(1).fill_normal(0, &mut g);
        let products = |dense: Dense| {
            let (mut theta, mut out) = (vec![0.0; 203], vec![0.0; 77]);
            dense.apply(&alpha, &mut theta);
            dense.apply_t(&g, &mut out);
            (theta, out)
        };
        assert_eq!(products(stored), products(regenerated));
    }

    #[test]
    fn signs_are_read_bit_by_bit() {
        let (shape, key) = (Shape { ambient: 3, intrinsic: 70 }, Key::from_seed(2));
        let dense = Dense::new(shape, 1.0, Entries::Signs(key));
        for (i, j) in [(0, 0), (0, 63), (0, 64), (1, 0), (2, 69)] {
            let mut alpha = [0.0; 70];
            alpha[j] = 1.0;
            let mut theta = [0.0; 3];
            dense.apply(&alpha, &mut theta);
            let word = key.words((2 * i + j / 64) as u64).next().unwrap(); // two words in a row
            let expected = if word >> (j % 64) & 1 == 1 { -1.0 } else { 1.0 };
            assert_eq!(theta[i], expected, "{i}, {j}");
        }
    }
}
