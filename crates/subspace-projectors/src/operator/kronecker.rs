//! The first $d$ columns of $L \otimes R$.
//!
//! # Definition
//! With $V$ the coordinates, row-major and padded with zeros, $P \operatorname{vec} V =
//! \operatorname{vec}(L V R^\top)$ and $P^\top \operatorname{vec} G = \operatorname{vec}(L^\top G R)$. Of
//! the two orders of each triple product the one with fewer multiplications is taken.

use crate::factor::Factor;
use crate::matmul::{View, matmul};
use crate::{Projector, Shape};

/// A Kronecker product, cut to a number of columns.
pub(crate) struct Kronecker {
    left: Factor,
    right: Factor,
    intrinsic: usize,
}

impl Kronecker {
    /// The first `intrinsic` columns of `left` $\otimes$ `right`.
    pub(crate) fn new(left: Factor, right: Factor, intrinsic: usize) -> Self {
        assert!(intrinsic <= left.columns * right.columns, "columns of the product");
        Self { left, right, intrinsic }
    }

    /// Whether $(L V) R^\top$ takes no more multiplications than $L (V R^\top)$.
    fn left_first(&self) -> bool {
        let ((a1, b1), (a2, b2)) =
            ((self.left.rows, self.left.columns), (self.right.rows, self.right.columns));
        a1 * b2 * (b1 + a2) <= b1 * a2 * (b2 + a1)
    }
}

impl Projector for Kronecker {
    fn shape(&self) -> Shape {
        Shape { ambient: self.left.rows * self.right.rows, intrinsic: self.intrinsic }
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape().assert(alpha, theta);
        let (left, right) = (self.left.view(), self.right.view());
        let ((a1, b1), (a2, b2)) = (left.dims(), right.dims());
        let mut v = vec![0.0; b1 * b2];
        v[..alpha.len()].copy_from_slice(alpha);
        let v = View::new(&v, b1, b2);
        if self.left_first() {
            let mut lv = vec![0.0; a1 * b2];
            matmul(left, v, &mut lv);
            matmul(View::new(&lv, a1, b2), right.t(), theta);
        } else {
            let mut vr = vec![0.0; b1 * a2];
            matmul(v, right.t(), &mut vr);
            matmul(left, View::new(&vr, b1, a2), theta);
        }
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape().assert(out, g);
        let (left, right) = (self.left.view(), self.right.view());
        let ((a1, b1), (a2, b2)) = (left.dims(), right.dims());
        let g = View::new(g, a1, a2);
        let mut v = vec![0.0; b1 * b2];
        if self.left_first() {
            let mut gr = vec![0.0; a1 * b2];
            matmul(g, right, &mut gr);
            matmul(left.t(), View::new(&gr, a1, b2), &mut v);
        } else {
            let mut lg = vec![0.0; b1 * a2];
            matmul(left.t(), g, &mut lg);
            matmul(View::new(&lg, b1, a2), right, &mut v);
        }
        out.copy_from_slice(&v[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: V = [[1, 2], [3, 4]], L V = [[7, 10], [15, 22], [23, 34]], and R^T appends the sum.
    #[test]
    fn the_check_vector() {
        let left = || Factor { rows: 3, columns: 2, entries: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let right = || Factor { rows: 3, columns: 2, entries: vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0] };
        let mut theta = [0.0; 9];
        Kronecker::new(left(), right(), 4).apply(&[1.0, 2.0, 3.0, 4.0], &mut theta);
        assert_eq!(theta, [7.0, 10.0, 17.0, 15.0, 22.0, 37.0, 23.0, 34.0, 57.0]);
        // L V = [[7, 2], [15, 6], [23, 10]] without the last coordinate.
        Kronecker::new(left(), right(), 3).apply(&[1.0, 2.0, 3.0], &mut theta);
        assert_eq!(theta, [7.0, 2.0, 9.0, 15.0, 6.0, 21.0, 23.0, 10.0, 33.0]);
        // G R = [[1, 1], [0, 0], [0, 0]] from a single one in the upper right corner.
        let mut out = [0.0; 4];
        let g = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        Kronecker::new(left(), right(), 4).apply_t(&g, &mut out);
        assert_eq!(out, [1.0, 1.0, 2.0, 2.0]);
    }
}
