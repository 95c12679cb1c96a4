//! $P = I$.

use crate::{Projector, Shape};

/// Every coordinate moves one parameter.
pub(crate) struct Identity(pub(crate) usize);

impl Projector for Identity {
    fn shape(&self) -> Shape {
        Shape { ambient: self.0, intrinsic: self.0 }
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        theta.copy_from_slice(alpha);
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        out.copy_from_slice(g);
    }
}
