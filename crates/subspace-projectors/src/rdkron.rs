//! Rounded double Kronecker: the product of two small Gaussian matrices, and a tail that fills up.
//!
//! # Definition
//! $$ P = \Pi \operatorname{diag}(R_1 \otimes R_2,\; E), $$
//! with $R_i$ of $\lfloor \sqrt D \rfloor \times \lfloor \sqrt d \rfloor$ and the tail $E$ of the rest of
//! both dimensions, all Gaussian of variance 1 / rows, and $\Pi$ a random permutation.
//! $\mathbb{E}\,\lVert P v \rVert^2 = \lVert v \rVert^2$ unless the tail has columns and no rows.
//!
//! # Reference
//! S. Lotfi et al., arXiv:2211.13609, `RoundedDoubleKron` of `projectors.py`.
//!
//! # Notes on the reference implementation
//! The rounding is the published one. If $d$ is a square and $D$ is not, the tail's parameters never
//! train; if $D$ is a square and $d$ is not, the tail's coordinates have no effect and yet cost bits.
//! [`Projector::describe`] counts both.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::operator::{BlockDiagonal, Dense, Kronecker, Permuted};
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Rounded double Kronecker with Gaussian factors.
///
/// ```toml
/// kind = "rdkron"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rdkron {}

impl ProjectorMethod for Rdkron {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        Ok(rounded(Shape::checked(layout, d)?, Factor::gaussian, key))
    }
}

/// The structure with either kind of factor.
pub(crate) fn rounded(
    Shape { ambient, intrinsic }: Shape,
    factor: fn(usize, usize, &Key) -> Factor,
    key: Key,
) -> Box<dyn Projector> {
    let (rows, columns) = (ambient.isqrt(), intrinsic.isqrt());
    let left = factor(rows, columns, &key.derive("left"));
    let right = factor(rows, columns, &key.derive("right"));
    let main = (rows * rows, columns * columns);
    let tail = Shape { ambient: ambient - main.0, intrinsic: intrinsic - main.1 };
    let blocks: Vec<Box<dyn Projector>> = vec![
        Box::new(Kronecker::new(left, right, main.1)),
        Box::new(Dense::stored(tail, &key.derive("tail"))),
    ];
    let inner = BlockDiagonal::new(ambient, blocks);
    Box::new(Permuted::random(inner, &key.derive("permutation")))
}
