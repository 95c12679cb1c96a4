//! The random factors of the Kronecker projectors.
//!
//! # Definition
//! [`Factor::gaussian`] has entries $z / \sqrt{\text{rows}}$, row-major in the order of the key's
//! normals. [`Factor::orthonormal`] is the factor $Q$ of $G = Q R$ with $R_{jj} > 0$, for $G$ of
//! standard normals in column-major order: Gram and Schmidt's process in `f64`, column by column, done
//! twice, then rounded to `f32`. The second pass brings $Q^\top Q$ to the identity within `f64` rounding
//! (L. Giraud et al., *The loss of orthogonality in the Gram-Schmidt process*, 2005).
//!
//! Inner products take 8 partial sums, lane $l$ the terms $l, l + 8, \dots$, added from lane 0 on.

use counter_rng::Key;
use multiversion::multiversion;
use rayon::prelude::*;

use crate::kernel;
use crate::matmul::View;

/// Multiplications worth a task.
const TASK: usize = 1 << 15;
const LANES: usize = 8;

/// A stored matrix `[rows, columns]`, row-major.
pub(crate) struct Factor {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) entries: Vec<f32>,
}

impl Factor {
    /// Independent normals of variance 1 / `rows`.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub(crate) fn gaussian(rows: usize, columns: usize, key: &Key) -> Self {
        let mut entries = vec![0.0; rows * columns];
        key.fill_normal(0, &mut entries);
        kernel::scale((1.0 / rows as f64).sqrt() as f32, &mut entries);
        Self { rows, columns, entries }
    }

    /// Orthonormal columns, uniform among all such matrices. `columns` is at most `rows`.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub(crate) fn orthonormal(rows: usize, columns: usize, key: &Key) -> Self {
        assert!(columns <= rows, "{columns} orthonormal columns of {rows} rows");
        let mut normals = vec![0.0; rows * columns];
        key.fill_normal(0, &mut normals);
        let mut basis: Vec<f64> = normals.into_iter().map(f64::from).collect();
        for _pass in 0..2 {
            gram_schmidt(&mut basis, rows);
        }
        let row = |i| basis.iter().skip(i).step_by(rows).map(|&entry| entry as f32);
        let entries = (0..rows).flat_map(row).collect();
        Self { rows, columns, entries }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.entries, self.rows, self.columns)
    }
}

/// Normalises each column in turn and takes its part out of all later ones.
fn gram_schmidt(basis: &mut [f64], rows: usize) {
    let mut rest = basis;
    while let Some((column, later)) = rest.split_at_mut_checked(rows) {
        let norm = dot(column, column).sqrt();
        for entry in column.iter_mut() {
            *entry /= norm;
        }
        let column = &*column;
        let tasks = later.par_chunks_exact_mut(rows).with_min_len(TASK.div_ceil(rows));
        tasks.for_each(|other| subtract(dot(column, other), column, other));
        rest = later;
    }
}

#[multiversion(targets = "simd")]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

/// `out -= scale x`.
#[multiversion(targets = "simd")]
fn subtract(scale: f64, x: &[f64], out: &mut [f64]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out -= scale * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_orthonormal_also_in_a_square() {
        for (rows, columns) in [(1, 1), (2, 2), (7, 3), (64, 64), (150, 149)] {
            let q = Factor::orthonormal(rows, columns, &Key::from_seed(1)).entries;
            for i in 0..columns {
                for j in 0..=i {
                    let terms = q.chunks(columns).map(|row| f64::from(row[i]) * f64::from(row[j]));
                    let expected = if i == j { 1.0 } else { 0.0 };
                    // Each of 2 rows terms is off by at most 2^-25 of one entry; 1e-7 is 3 of those.
                    assert!((terms.sum::<f64>() - expected).abs() < 1e-7, "{rows} x {columns}");
                }
            }
        }
    }

    /// Column (3, 4) has norm 5; (5, 0) keeps (5, 0) - 3 (0.6, 0.8) = (3.2, -2.4) of norm 4.
    #[test]
    fn two_columns_by_hand() {
        let mut basis = [3.0, 4.0, 5.0, 0.0];
        gram_schmidt(&mut basis, 2);
        let expected = [0.6, 0.8, 0.8, -0.6];
        assert!(basis.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-15), "{basis:?}");
    }

    #[test]
    fn the_diagonal_of_r_is_positive() {
        let (rows, columns) = (9, 5);
        let key = Key::from_seed(2);
        let mut normals = vec![0.0; rows * columns];
        key.fill_normal(0, &mut normals);
        let q = Factor::orthonormal(rows, columns, &key).entries;
        for (j, column) in normals.chunks(rows).enumerate() {
            let r: f32 = column.iter().zip(q.chunks(columns)).map(|(g, q)| g * q[j]).sum();
            assert!(r > 0.0, "R[{j}][{j}] = {r}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let key = Key::from_seed(3); // 250 columns of 300 make two tasks
            pool.install(|| Factor::orthonormal(300, 250, &key).entries)
        });
        assert!(one == three);
    }
}
