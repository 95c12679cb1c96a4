//! The operator that every method builds.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::{Layout, ProjectorError};

/// A fixed linear map $P \in \mathbb{R}^{D \times d}$ from the coordinates that are trained to the
/// parameters that they move, $\theta = \theta_0 + P \alpha$.
///
/// Both products have the same bits on every platform, instruction set and number of threads: sums
/// run in `f32`, in a fixed order, without fused multiplication and addition.
pub trait Projector: Send + Sync {
    /// The dimensions `D` and `d`.
    fn shape(&self) -> Shape;

    /// Overwrites `theta` with $P \alpha$.
    ///
    /// # Shapes
    /// - alpha: `[d]`
    /// - theta: `[D]`
    ///
    /// # Panics
    /// If a length is not the one of [`Projector::shape`].
    fn apply(&self, alpha: &[f32], theta: &mut [f32]);

    /// Overwrites `out` with $P^\top g$.
    ///
    /// # Shapes
    /// - g: `[D]`
    /// - out: `[d]`
    ///
    /// # Panics
    /// If a length is not the one of [`Projector::shape`].
    fn apply_t(&self, g: &[f32], out: &mut [f32]);

    /// Counts the coordinates that take no part, by the products of two random vectors: a component
    /// that is exactly zero in both belongs to an empty row or column.
    fn describe(&self) -> Description {
        let Shape { ambient, intrinsic } = self.shape();
        let (mut dead, mut untrained) = (vec![true; intrinsic], vec![true; ambient]);
        let (mut alpha, mut theta) = (vec![0.0; intrinsic], vec![0.0; ambient]);
        for probe in 0..2 {
            let key = Key::from_seed(probe).derive("describe");
            key.fill_normal(0, &mut alpha);
            self.apply(&alpha, &mut theta);
            untrained.iter_mut().zip(&theta).for_each(|(still, &moved)| *still &= moved == 0.0);
            key.fill_normal(0, &mut theta);
            self.apply_t(&theta, &mut alpha);
            dead.iter_mut().zip(&alpha).for_each(|(still, &moved)| *still &= moved == 0.0);
        }
        let count = |flags: Vec<bool>| flags.into_iter().filter(|&flag| flag).count();
        Description { shape: self.shape(), dead: count(dead), untrained: count(untrained) }
    }
}

/// The dimensions of a projector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// `D`, the number of parameters.
    pub ambient: usize,
    /// `d`, the number of trained coordinates.
    pub intrinsic: usize,
}

/// What a projector does with its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Its dimensions.
    pub shape: Shape,
    /// Trained coordinates without any effect. They cost bits all the same.
    pub dead: usize,
    /// Parameters that no coordinate moves.
    pub untrained: usize,
}

impl Shape {
    /// Of a projector for all of `layout`, with `1 <= d <= D`.
    pub(crate) fn checked(layout: &Layout, intrinsic: usize) -> Result<Self, ProjectorError> {
        let ambient = layout.ambient();
        match intrinsic {
            0 => Err(ProjectorError::NoDimension),
            _ if intrinsic > ambient => Err(ProjectorError::AboveAmbient { intrinsic, ambient }),
            _ => Ok(Self { ambient, intrinsic }),
        }
    }

    /// # Panics
    /// If a vector has another length.
    pub(crate) fn assert(&self, alpha: &[f32], theta: &[f32]) {
        assert_eq!(alpha.len(), self.intrinsic, "the intrinsic dimension");
        assert_eq!(theta.len(), self.ambient, "the ambient dimension");
    }
}
