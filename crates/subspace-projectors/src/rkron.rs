//! Rounded Kronecker, one-sided: a square of parameters, each the sum of its row's and its column's
//! value.
//!
//! # Definition
//! With $k = \lfloor \sqrt D \rfloor$, parameter $(a, b)$ of the square is $(x_a + y_b) / \sqrt{2D}$,
//! where $x = X v$, $y = Y v$ and $X, Y$ are $k \times d$ of standard normals; the other $D - k^2$ are
//! $Z v / \sqrt D$ with $Z$ normal. A random permutation mixes them. The three matrices are the rows of
//! one, regenerated for every product. $\mathbb{E}\,\lVert P v \rVert^2 = \lVert v \rVert^2$.
//!
//! # Reference
//! S. Lotfi et al., *PAC-Bayes Compression Bounds So Tight That They Can Explain Generalization*,
//! NeurIPS 2022, arXiv:2211.13609, `RoundedKron` of `projectors.py`.
//!
//! # Notes on the reference implementation
//! There the square has norm 1 by itself, so that with the tail $\mathbb{E}\,\lVert P v \rVert^2 = 2 -
//! k^2 / D$; here every entry of $P$ has variance $1 / D$. The square has only $2k - 1$ degrees of
//! freedom, which makes this the weakest of the family.

use std::f32::consts::FRAC_1_SQRT_2;

use counter_rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::operator::{Dense, Entries, Permuted};
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Rounded Kronecker, one-sided.
///
/// ```toml
/// kind = "rkron"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rkron {}

impl ProjectorMethod for Rkron {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let Shape { ambient, intrinsic } = Shape::checked(layout, d)?;
        let side = ambient.isqrt();
        let rows = Shape { ambient: 2 * side + ambient - side * side, intrinsic };
        let entries = Entries::Normals(key.derive("normals"));
        let inner = Dense::new(rows, 1.0 / ambient as f64, entries);
        Ok(Box::new(Permuted::random(Broadcast { inner, side }, &key.derive("permutation"))))
    }
}

/// Spreads the first `2 side` rows over a square, $(x_a + y_b) / \sqrt 2$, and passes on the others.
struct Broadcast {
    inner: Dense,
    side: usize,
}

impl Projector for Broadcast {
    fn shape(&self) -> Shape {
        let Shape { ambient, intrinsic } = self.inner.shape();
        Shape { ambient: ambient - 2 * self.side + self.side * self.side, intrinsic }
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape().assert(alpha, theta);
        let mut rows = vec![0.0; self.inner.shape().ambient];
        self.inner.apply(alpha, &mut rows);
        let (square, rest) = theta.split_at_mut(self.side * self.side);
        let (x, tail) = rows.split_at(self.side);
        let (y, tail) = tail.split_at(self.side);
        square.par_chunks_exact_mut(self.side).zip(x).for_each(|(row, x)| {
            row.iter_mut().zip(y).for_each(|(theta, y)| *theta = (x + y) * FRAC_1_SQRT_2);
        });
        rest.copy_from_slice(tail);
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape().assert(out, g);
        let (square, tail) = g.split_at(self.side * self.side);
        let (mut x, mut y) = (vec![0.0; self.side], vec![0.0; self.side]);
        for (row, x) in square.chunks_exact(self.side).zip(&mut x) {
            for (g, y) in row.iter().zip(&mut y) {
                *x += g * FRAC_1_SQRT_2;
                *y += g * FRAC_1_SQRT_2;
            }
        }
        self.inner.apply_t(&[&x, &y, tail].concat(), out);
    }
}
