//! Fastfood: products of diagonal matrices and Walsh-Hadamard transforms, in $O(D \log d)$.
//!
//! # Definition
//! $d$ is padded to $n = 2^k$. Of $\lceil D / n \rceil$ stacked blocks, cut to $D$ rows, each is
//! $$ \sqrt{n / D}\; H\, G\, \Pi\, H\, B, $$
//! with $H$ the Walsh-Hadamard transform over $\sqrt n$, $B$ a diagonal of signs, $\Pi$ one permutation
//! shared by all blocks, and $G$ a diagonal of standard normals. Signs and normals of the blocks follow
//! one another in the streams of their keys. $\mathbb{E}\,\lVert P v \rVert^2 = \lVert v \rVert^2$, for
//! $H$, $\Pi$ and $B$ are orthogonal and each row of a block has an equal share of its norm.
//!
//! # Order of the sums
//! Butterflies of half-width 1, 2, 4, ... For $P^\top g$ the blocks are cut in at most 64 runs, each
//! summed in order, and the runs are summed in order.
//!
//! # Reference
//! Q. Le et al., *Fastfood*, ICML 2013, arXiv:1408.3060.
//!
//! # Notes on the reference implementation
//! arXiv:2312.17173 has another diagonal $S \sim U(0, 1)$ and divides by $\sqrt n$, so that
//! $\mathbb{E}\,\lVert P v \rVert^2 = D \lVert v \rVert^2 / 3 n^2$, far from one. Here $S = I$.

use counter_rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kernel::{axpy, flip_signs, hadamard, scale};
use crate::operator::RUNS;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Stacked Fastfood transforms.
///
/// ```toml
/// kind = "fastfood"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fastfood {}

impl ProjectorMethod for Fastfood {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let shape = Shape::checked(layout, d)?;
        let padded = d.next_power_of_two();
        let len = shape.ambient.div_ceil(padded) * padded;
        let mut gains = vec![0.0; len];
        key.derive("gains").fill_normal(0, &mut gains);
        // sqrt(n / D) and twice 1 / sqrt(n).
        let factor = (1.0 / (padded as f64 * shape.ambient as f64)).sqrt() as f32;
        scale(factor, &mut gains);
        Ok(Box::new(Operator {
            shape,
            signs: key.derive("signs").words(0).take(len.div_ceil(64)).collect(),
            places: key.derive("permutation").permutation(padded),
            gains,
        }))
    }
}

struct Operator {
    shape: Shape,
    /// A bit for each padded coordinate of each block.
    signs: Vec<u64>,
    /// `[n]`: the source of each place.
    places: Vec<u32>,
    /// The normals of each block, with all scales.
    gains: Vec<f32>,
}

impl Operator {
    /// Parameters of one task: whole blocks.
    fn run(&self) -> usize {
        let padded = self.places.len();
        (self.gains.len() / padded).div_ceil(RUNS) * padded
    }
}

impl Projector for Operator {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape.assert(alpha, theta);
        let (run, padded) = (self.run(), self.places.len());
        theta.par_chunks_mut(run).enumerate().for_each(|(i, theta)| {
            let (mut x, mut y) = (vec![0.0; padded], vec![0.0; padded]);
            for (theta, first) in theta.chunks_mut(padded).zip((i * run..).step_by(padded)) {
                x[..alpha.len()].copy_from_slice(alpha);
                x[alpha.len()..].fill(0.0);
                flip_signs(&self.signs, first, &mut x[..alpha.len()]);
                hadamard(&mut x);
                let gains = &self.gains[first..first + padded];
                for ((y, &place), gain) in y.iter_mut().zip(&self.places).zip(gains) {
                    *y = x[place as usize] * gain;
                }
                hadamard(&mut y);
                theta.copy_from_slice(&y[..theta.len()]);
            }
        });
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape.assert(out, g);
        let (run, padded) = (self.run(), self.places.len());
        let sums = g.par_chunks(run).enumerate().map(|(i, g)| {
            let (mut x, mut y) = (vec![0.0; padded], vec![0.0; padded]);
            let mut sums = vec![0.0; out.len()];
            for (g, first) in g.chunks(padded).zip((i * run..).step_by(padded)) {
                y[..g.len()].copy_from_slice(g);
                y[g.len()..].fill(0.0);
                hadamard(&mut y);
                let gains = &self.gains[first..first + padded];
                for ((y, &place), gain) in y.iter().zip(&self.places).zip(gains) {
                    x[place as usize] = y * gain;
                }
                hadamard(&mut x);
                let x = &mut x[..sums.len()];
                flip_signs(&self.signs, first, x);
                axpy(1.0, x, &mut sums);
            }
            sums
        });
        let sums: Vec<_> = sums.collect();
        out.fill(0.0);
        for sums in sums {
            axpy(1.0, &sums, out);
        }
    }
}
