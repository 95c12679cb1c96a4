//! How far the leading directions turned.
//!
//! # Definition
//! With $V, V'$ the first $k$ right singular vectors of $W$ and $W'$, both `[columns, k]`, the drift
//! $$ 1 - \tfrac1k \bigl\| V^\top V' \bigr\|^2 = \tfrac1k \sum_i \sin^2 \theta_i $$
//! is the mean squared sine of the principal angles: 0 for one subspace, 1 for orthogonal ones, and about
//! $1 - k/\text{columns}$ for unrelated ones. It sees what eigenvalues do not: a rotation.
//!
//! # Notes
//! Singular vectors beyond the rank of a matrix are arbitrary; those of eigenvalues at or below
//! $10^{-10} \lambda_{\max}$ are left out of $V$ and $V'$, so that lost directions count as drift.
//!
//! # Reference
//! A. Björck, G. Golub, *Numerical methods for computing angles between linear subspaces*, Math. Comp. 27,
//! 1973.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{self, ComputeEigenvectors};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Spec};

use crate::decomposition::gram;
use crate::{SpectrumError, Weights};

/// The leading right singular vectors of a matrix.
#[derive(Debug, Clone)]
pub struct TopSubspace {
    /// `[columns, k]`, orthonormal columns.
    basis: Mat<f64>,
}

impl TopSubspace {
    /// The first `k` right singular vectors of `values`, or as many as there are.
    ///
    /// # Shapes
    /// - values: `shape`, row after row
    ///
    /// # Errors
    /// If `values` is no matrix of finite numbers, or the eigenvalue iteration fails.
    pub fn of(values: &[f32], shape: [usize; 2], k: usize) -> Result<Self, SpectrumError> {
        Weights::matrix(values, shape)?;
        let [rows, cols] = shape;
        let gram = gram::<f64>(values, shape, 1.0);
        let m = gram.nrows();
        let mut eigenvalues = Diag::<f64>::zeros(m);
        let mut vectors = Mat::<f64>::zeros(m, m);
        let with_vectors = ComputeEigenvectors::Yes;
        let scratch =
            evd::self_adjoint_evd_scratch::<f64>(m, with_vectors, Par::Seq, Spec::default());
        evd::self_adjoint_evd(
            gram.as_ref(),
            eigenvalues.as_mut(),
            Some(vectors.as_mut()),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            Spec::default(),
        )
        .map_err(|_| SpectrumError::NoConvergence)?;
        let eigenvalues = eigenvalues.column_vector(); // ascending
        let zero = 1e-10 * eigenvalues[m - 1].max(0.0);
        let rank = eigenvalues.iter().filter(|&&value| value > zero).count();
        let first = m - k.min(rank);
        let leading = vectors.subcols(first, m - first);
        if cols <= rows {
            return Ok(Self { basis: leading.to_owned() });
        }
        // The Gram matrix was that of the rows: v = W^T u / s.
        let entries: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let transposed = MatRef::from_row_major_slice(&entries, rows, cols).transpose();
        let mut basis = Mat::<f64>::zeros(cols, leading.ncols());
        matmul(basis.as_mut(), Accum::Replace, transposed, leading, 1.0, Par::Seq);
        for (index, mut column) in basis.col_iter_mut().enumerate() {
            column *= 1.0 / eigenvalues[first + index].sqrt();
        }
        Ok(Self { basis })
    }

    /// How many directions there are.
    pub fn dimension(&self) -> usize {
        self.basis.ncols()
    }

    /// The drift from `self`, before, to `after`. None if their vectors differ in length or `self` has
    /// none.
    pub fn drift(&self, after: &Self) -> Option<f64> {
        if self.basis.nrows() != after.basis.nrows() || self.dimension() == 0 {
            return None;
        }
        let mut cosines = Mat::<f64>::zeros(self.dimension(), after.dimension());
        let (before, after) = (self.basis.transpose(), after.basis.as_ref());
        matmul(cosines.as_mut(), Accum::Replace, before, after, 1.0, Par::Seq);
        let overlap = cosines.squared_norm_l2() / self.dimension() as f64;
        Some((1.0 - overlap).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;

    fn drift(before: &[f32], after: &[f32], shape: [usize; 2], k: usize) -> f64 {
        let [before, after] =
            [before, after].map(|values| TopSubspace::of(values, shape, k).unwrap());
        before.drift(&after).unwrap()
    }

    #[test]
    fn directions_turned_by_an_angle() {
        // Right vector (1, 0, 0), then (.8, .6, 0): drift sin^2 = .36.
        let turned = [4.0, 3.0, 0.0, 0.0, 0.0, 1.0];
        let before = [3.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let found = drift(&before, &turned, [2, 3], 1);
        assert!((found - 0.36).abs() < 1e-14, "{found}");
        // The third direction is the second of both.
        let found = drift(&before, &turned, [2, 3], 2);
        assert!((found - 0.18).abs() < 1e-14, "{found}");
        // As columns of a tall matrix: 3 x 2 with rows scaled.
        let tall = [3.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let swapped = [0.0, 3.0, 1.0, 0.0, 0.0, 0.0];
        assert!((drift(&tall, &swapped, [3, 2], 1) - 1.0).abs() < 1e-12);
        assert!(drift(&tall, &swapped, [3, 2], 2) < 1e-12);
    }

    #[test]
    fn scale_and_left_rotation_turn_nothing_and_lost_directions_count() {
        for shape in [[20, 12], [12, 20]] {
            let mut values = vec![0.0; 240];
            Key::from_seed(1).fill_normal(0, &mut values);
            let halved: Vec<f32> = values.iter().map(|value| -0.5 * value).collect();
            assert!(drift(&values, &halved, shape, 4) < 1e-10);
            let reversed: Vec<f32> = values.chunks(shape[1]).rev().flatten().copied().collect();
            assert!(drift(&values, &reversed, shape, 4) < 1e-10);
            let zeros = TopSubspace::of(&[0.0; 240], shape, 4).unwrap();
            assert_eq!(zeros.dimension(), 0);
            let before = TopSubspace::of(&values, shape, 4).unwrap();
            assert_eq!(before.drift(&zeros), Some(1.0));
            assert_eq!(zeros.drift(&before), None);
        }
    }
}
