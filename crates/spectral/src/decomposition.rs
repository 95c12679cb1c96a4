//! Eigenvalues and singular values by faer, one thread, no vectors.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::evd::{tridiag, tridiagonal_self_adjoint_evd};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::svd::{self, ComputeSvdVectors};
use faer::linalg::temp_mat_scratch;
use faer::traits::RealField;
use faer::{Accum, Mat, MatRef, Par, Spec};

use crate::SpectrumError;

/// Places of the long side that are `f64` at a time.
const BLOCK: usize = 256;

/// The arithmetic of a Gram matrix.
pub(crate) trait Precision: RealField + Copy + Into<f64> {
    /// `value` times `scale`, which is in range.
    fn scaled(value: f32, scale: f64) -> Self;
}

impl Precision for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "into the range of an f32")]
    fn scaled(value: f32, scale: f64) -> Self {
        (f64::from(value) * scale) as f32
    }
}

impl Precision for f64 {
    fn scaled(value: f32, scale: f64) -> Self {
        f64::from(value) * scale
    }
}

/// Eigenvalues of the Gram matrix of `scale` times a matrix on its small side, `[M]` ascending, none
/// below zero. In `f64` the scale is 1; in `f32` it keeps the squares in range.
///
/// # Shapes
/// - values: `shape`, row after row
pub(crate) fn gram_eigenvalues<T: Precision>(
    values: &[f32],
    shape: [usize; 2],
    scale: f64,
) -> Result<Vec<f64>, SpectrumError> {
    eigenvalues_of(gram::<T>(values, shape, scale))
}

/// Eigenvalues of a positive semidefinite matrix whose lower half is given, `[M]` ascending, none below
/// zero.
pub(crate) fn eigenvalues_of<T: Precision>(mut gram: Mat<T>) -> Result<Vec<f64>, SpectrumError> {
    let m = gram.nrows();
    let mut memory = MemBuffer::new(StackReq::any_of(&[
        tridiag::tridiag_in_place_scratch::<T>(m, Par::Seq, Spec::default()),
        temp_mat_scratch::<T>(m, 1).array(2),
    ]));
    let mut reflections = Mat::<T>::zeros(1, m - 1);
    let stack = MemStack::new(&mut memory);
    tridiag::tridiag_in_place(
        gram.as_mut(),
        reflections.as_mut(),
        Par::Seq,
        stack,
        Spec::default(),
    );
    let diagonal: Diag<T> = gram.diagonal().column_vector().to_owned().into_diagonal();
    let below = gram.submatrix(1.min(m), 0, m - 1, m - 1);
    let below: Diag<T> = below.diagonal().column_vector().to_owned().into_diagonal();
    let mut eigenvalues = Diag::<T>::zeros(m);
    tridiagonal_self_adjoint_evd(
        diagonal.as_ref(),
        below.as_ref(),
        eigenvalues.as_mut(),
        None,
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| SpectrumError::NoConvergence)?;
    Ok(eigenvalues.column_vector().iter().map(|&x| x.into().max(0.0)).collect())
}

/// Which inner products a Gram matrix holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Products {
    /// Of the rows, $W W^\top$.
    Rows,
    /// Of the columns, $W^\top W$.
    Columns,
}

/// The lower half of the Gram matrix on the small side, `[M, M]`.
pub(crate) fn gram<T: Precision>(values: &[f32], shape: [usize; 2], scale: f64) -> Mat<T> {
    let [rows, cols] = shape;
    let products = if rows >= cols { Products::Columns } else { Products::Rows };
    gram_of(products, values, shape, scale)
}

/// The lower half of a Gram matrix of `scale` times a matrix, `[rows, rows]` or `[cols, cols]`.
pub(crate) fn gram_of<T: Precision>(
    products: Products,
    values: &[f32],
    [rows, cols]: [usize; 2],
    scale: f64,
) -> Mat<T> {
    let convert = |&x: &f32| T::scaled(x, scale);
    let [m, long] = match products {
        Products::Rows => [rows, cols],
        Products::Columns => [cols, rows],
    };
    let mut gram = Mat::zeros(m, m);
    let mut add = |block: MatRef<T>| {
        triangular::matmul(
            &mut gram,
            BlockStructure::TriangularLower,
            Accum::Add,
            block.transpose(),
            BlockStructure::Rectangular,
            block,
            BlockStructure::Rectangular,
            T::scaled(1.0, 1.0),
            Par::Seq,
        );
    };
    let mut block = Vec::with_capacity(BLOCK.min(long) * m);
    match products {
        Products::Columns => {
            for some_rows in values.chunks(BLOCK * cols) {
                block.clear();
                block.extend(some_rows.iter().map(convert));
                add(MatRef::from_row_major_slice(&block, block.len() / cols, cols));
            }
        }
        Products::Rows => {
            for start in (0..cols).step_by(BLOCK) {
                let end = cols.min(start + BLOCK);
                block.clear();
                for row in values.chunks(cols) {
                    block.extend(row[start..end].iter().map(convert));
                }
                add(MatRef::from_row_major_slice(&block, rows, end - start).transpose());
            }
        }
    }
    gram
}

/// Singular values, `[M]` ascending.
///
/// # Shapes
/// - values: `shape`, row after row
pub(crate) fn singular_values(
    values: &[f32],
    [rows, cols]: [usize; 2],
) -> Result<Vec<f64>, SpectrumError> {
    let doubles: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
    let matrix = MatRef::from_row_major_slice(&doubles, rows, cols).transpose(); // column-major
    let none = ComputeSvdVectors::No;
    let scratch = svd::svd_scratch::<f64>(cols, rows, none, none, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(scratch);
    let mut singular = Diag::<f64>::zeros(rows.min(cols));
    let stack = MemStack::new(&mut memory);
    svd::svd(matrix, singular.as_mut(), None, None, Par::Seq, stack, Spec::default())
        .map_err(|_| SpectrumError::NoConvergence)?;
    let mut singular: Vec<f64> = singular.column_vector().iter().copied().collect();
    singular.reverse();
    Ok(singular)
}
