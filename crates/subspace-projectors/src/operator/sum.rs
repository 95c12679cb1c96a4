//! $P = (P_1 + P_2) / \sqrt 2$, for two independent parts of one shape.

use std::f32::consts::FRAC_1_SQRT_2;

use crate::{Projector, Shape};

/// The normalised sum of two projectors.
pub(crate) struct Sum([Box<dyn Projector>; 2]);

impl Sum {
    pub(crate) fn new(parts: [Box<dyn Projector>; 2]) -> Self {
        assert_eq!(parts[0].shape(), parts[1].shape(), "the parts of a sum");
        Self(parts)
    }
}

impl Projector for Sum {
    fn shape(&self) -> Shape {
        self.0[0].shape()
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        let [first, second] = &self.0;
        let mut other = vec![0.0; theta.len()];
        first.apply(alpha, theta);
        second.apply(alpha, &mut other);
        add_and_scale(theta, &other);
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        let [first, second] = &self.0;
        let mut other = vec![0.0; out.len()];
        first.apply_t(g, out);
        second.apply_t(g, &mut other);
        add_and_scale(out, &other);
    }
}

fn add_and_scale(out: &mut [f32], other: &[f32]) {
    out.iter_mut().zip(other).for_each(|(out, other)| *out = (*out + other) * FRAC_1_SQRT_2);
}
