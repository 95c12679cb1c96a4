//! The matrix product, with a sum whose order no vector width and no number of threads can change.
//!
//! # Definition
//! $c_{ij} = \sum_k a_{ik} b_{kj}$ is summed over $k = 0, 1, \dots$ from zero; see [`crate::kernel`] for
//! why the bits are the same everywhere.
//!
//! Blocks of 4 x 16 outputs stay in registers while `k` runs; `a` and `b` are copied to strips in the
//! order in which the blocks read them.

use multiversion::multiversion;
use rayon::prelude::*;

/// Height and width of the block of outputs held in registers.
const TILE: (usize, usize) = (4, 16);
/// Rows of one task.
const TASK_ROWS: usize = 6 * TILE.0;

/// A matrix `[rows, columns]`, row-major, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> View<'a> {
    /// `data` is `[rows, columns]`, row-major.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} x {columns} matrix");
        Self { data, rows, columns, transposed: false }
    }

    /// Rows and columns.
    pub(crate) fn dims(self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    /// Rows `first..first + N`, column by column, with zeros below the last row.
    fn pack<const N: usize>(self, first: usize, strip: &mut [[f32; N]]) {
        let height = N.min(self.rows - first);
        if self.transposed {
            for (packed, column) in strip.iter_mut().zip(self.data.chunks_exact(self.rows)) {
                packed[..height].copy_from_slice(&column[first..first + height]);
            }
        } else {
            let rows = self.data.chunks_exact(self.columns).skip(first).take(height);
            for (lane, row) in rows.enumerate() {
                for (packed, &value) in strip.iter_mut().zip(row) {
                    packed[lane] = value;
                }
            }
        }
    }
}

/// `out = a b`, row-major `[a.rows, b.columns]`.
pub(crate) fn matmul(a: View<'_>, b: View<'_>, out: &mut [f32]) {
    const HEIGHT: usize = TILE.0;
    const WIDTH: usize = TILE.1;
    let (depth, columns) = (a.columns, b.columns);
    assert_eq!(depth, b.rows, "inner dimensions");
    assert_eq!(out.len(), a.rows * columns, "a {} x {columns} product", a.rows);

    let mut panels = vec![[0.0; WIDTH]; columns.div_ceil(WIDTH) * depth];
    panels.par_chunks_mut(depth).enumerate().for_each(|(i, panel)| b.t().pack(i * WIDTH, panel));

    out.par_chunks_mut(TASK_ROWS * columns).enumerate().for_each(|(task, out)| {
        let strips = out.len().div_ceil(HEIGHT * columns);
        let mut packed = vec![[0.0; HEIGHT]; strips * depth];
        for (i, strip) in packed.chunks_exact_mut(depth).enumerate() {
            a.pack(task * TASK_ROWS + i * HEIGHT, strip);
        }
        for (panel, first) in panels.chunks_exact(depth).zip((0..columns).step_by(WIDTH)) {
            let width = WIDTH.min(columns - first);
            for (strip, out) in packed.chunks_exact(depth).zip(out.chunks_mut(HEIGHT * columns)) {
                let mut sums = [[0.0; WIDTH]; HEIGHT];
                tile(strip, panel, &mut sums);
                for (row, sums) in out.chunks_exact_mut(columns).zip(&sums) {
                    row[first..first + width].copy_from_slice(&sums[..width]);
                }
            }
        }
    });
}

#[multiversion(targets = "simd")]
fn tile(a: &[[f32; TILE.0]], b: &[[f32; TILE.1]], out: &mut [[f32; TILE.1]; TILE.0]) {
    let mut sums = [[0.0; TILE.1]; TILE.0];
    for (a, b) in a.iter().zip(b) {
        // Columns outside: the order in which LLVM finds the vectors.
        for (j, &b) in b.iter().enumerate() {
            for (sums, &a) in sums.iter_mut().zip(a) {
                sums[j] += a * b;
            }
        }
    }
    *out = sums;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::normals;

    #[test]
    fn the_dispatched_product_has_the_bits_of_three_plain_loops() {
        for (m, k, n) in [(1, 1, 1), (3, 2, 5), (8, 7, 16), (25, 33, 17), (49, 64, 31)] {
            let (a, b) = (normals("a", m * k), normals("b", k * n));
            let mut plain = vec![0.0; m * n];
            for i in 0..m {
                for j in 0..n {
                    for p in 0..k {
                        plain[i * n + j] += a[i * k + p] * b[p * n + j];
                    }
                }
            }
            let transpose = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
            };
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            for a in [View::new(&a, m, k), View::new(&at, k, m).t()] {
                for b in [View::new(&b, k, n), View::new(&bt, n, k).t()] {
                    let mut fast = vec![f32::NAN; m * n];
                    matmul(a, b, &mut fast);
                    assert_eq!(fast, plain, "{m} x {k} x {n}");
                }
            }
        }
    }
}
