//! A sparse random matrix, regenerated for every product and never stored.
//!
//! # Definition
//! The $D$ parameters are cut into $s = \operatorname{round} \sqrt D$ strata of equal size, up to one.
//! Each column has one entry in each stratum, at a uniform place, of value $\pm 1 / \sqrt s$. So columns
//! have norm one, no place is drawn twice, an entry is non-zero with probability $1 / \sqrt D$, its size
//! is $D^{-1/4}$ (both up to the rounding of $s$), and $\mathbb{E}\,\lVert P v \rVert^2 = \lVert v
//! \rVert^2$ by the independence of the signs.
//!
//! Entry $(b, j)$, of stratum $b$ and column $j$, takes half $j \bmod 2$ (low first) of word $b \lceil d /
//! 2 \rceil + \lfloor j / 2 \rfloor$: the top bit is the sign, the other 31 bits $r$ the place $\lfloor r
//! n / 2^{31} \rfloor$ among the $n$ of the stratum.
//!
//! # Order of the sums
//! $\theta_i$ over the columns, $(P^\top g)_j$ over the strata, in order; scaled at the end.
//!
//! # Reference
//! P. Li et al., *Very Sparse Random Projections*, KDD 2006; strata as in D. M. Kane and J. Nelson,
//! *Sparser Johnson-Lindenstrauss Transforms*, 2014, arXiv:1012.1577 (the block construction).
//!
//! # Notes on the reference implementation
//! arXiv:2312.17173 draws a binomial number of places with replacement, so that duplicates add up and
//! columns may be empty.

use counter_rng::{Key, Words};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kernel::{halves, scale};
use crate::operator::RUNS;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Words of each stratum that one task of the adjoint reads, at least.
const TASK: usize = 256;
/// The sign bit of an `f32`.
const SIGN: u32 = 1 << 31;

/// About $\sqrt D$ signs in each column.
///
/// ```toml
/// kind = "sparse"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sparse {}

impl ProjectorMethod for Sparse {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let shape = Shape::checked(layout, d)?;
        let root = shape.ambient.isqrt();
        // sqrt D > root + 1/2 exactly where D > root (root + 1).
        let strata = root + usize::from(shape.ambient > root * (root + 1));
        let scale = (1.0 / strata as f64).sqrt() as f32;
        Ok(Box::new(Operator { shape, strata, scale, key: key.derive("entries") }))
    }
}

struct Operator {
    shape: Shape,
    strata: usize,
    scale: f32,
    key: Key,
}

impl Operator {
    /// The first row of a stratum, and of the one after the last.
    fn start(&self, stratum: usize) -> usize {
        let (quotient, remainder) =
            (self.shape.ambient / self.strata, self.shape.ambient % self.strata);
        stratum * quotient + stratum.min(remainder)
    }

    /// The words of one stratum, each for two columns, from an even column on.
    fn words(&self, stratum: usize, column: usize) -> Words {
        let row = stratum as u64 * self.shape.intrinsic.div_ceil(2) as u64;
        self.key.words(row + column as u64 / 2)
    }
}

/// Places among the `rows` of a stratum, and sign bits, of two entries.
fn entries(word: u64, rows: usize) -> [(usize, u32); 2] {
    halves(word).map(|half| {
        let place = (u64::from(half & !SIGN) * rows as u64) >> 31;
        (place as usize, half & SIGN)
    })
}

impl Projector for Operator {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn apply(&self, alpha: &[f32], theta: &mut [f32]) {
        self.shape.assert(alpha, theta);
        let mut rest = theta;
        let strata: Vec<_> = (0..self.strata)
            .map(|stratum| {
                rest.split_off_mut(..self.start(stratum + 1) - self.start(stratum))
                    .expect("the strata cover the parameters")
            })
            .collect();
        strata.into_par_iter().enumerate().for_each(|(stratum, theta)| {
            theta.fill(0.0);
            for (pair, word) in alpha.chunks(2).zip(self.words(stratum, 0)) {
                for (alpha, (place, sign)) in pair.iter().zip(entries(word, theta.len())) {
                    theta[place] += f32::from_bits(alpha.to_bits() ^ sign);
                }
            }
            scale(self.scale, theta);
        });
    }

    fn apply_t(&self, g: &[f32], out: &mut [f32]) {
        self.shape.assert(out, g);
        let run = 2 * self.shape.intrinsic.div_ceil(2 * RUNS).max(TASK);
        out.par_chunks_mut(run).enumerate().for_each(|(task, out)| {
            out.fill(0.0);
            for stratum in 0..self.strata {
                let g = &g[self.start(stratum)..self.start(stratum + 1)];
                for (pair, word) in out.chunks_mut(2).zip(self.words(stratum, task * run)) {
                    for (out, (place, sign)) in pair.iter_mut().zip(entries(word, g.len())) {
                        *out += f32::from_bits(g[place].to_bits() ^ sign);
                    }
                }
            }
            scale(self.scale, out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 131 parameters in round(11.45) = 11 strata: ten of 12 and one of 11.
    #[test]
    fn a_column_has_one_sign_in_each_stratum() {
        let layout = Layout::new([("a", [131])]).unwrap();
        let projector = Sparse {}.build(&layout, 5, Key::from_seed(1)).unwrap();
        for j in 0..5 {
            let (mut alpha, mut theta) = ([0.0; 5], [0.0; 131]);
            alpha[j] = 1.0;
            projector.apply(&alpha, &mut theta);
            for stratum in theta.chunks(12) {
                let entries: Vec<f32> = stratum.iter().copied().filter(|&x| x != 0.0).collect();
                assert_eq!(entries.len(), 1, "column {j}");
                assert!((entries[0].abs() - 0.301_511_34).abs() < 1e-7); // 1 / sqrt(11)
            }
        }
    }

    #[test]
    fn places_and_signs_are_uniform() {
        let mut counts = [[0_i32; 2]; 8];
        for (place, sign) in Key::from_seed(2).words(0).take(40_000).flat_map(|w| entries(w, 8)) {
            counts[place][usize::from(sign > 0)] += 1;
        }
        // Expectation 5 000 each, standard deviation sqrt(80 000 * 15 / 256) = 68; five of them.
        assert!(counts.as_flattened().iter().all(|n| (n - 5_000).abs() < 342), "{counts:?}");
    }
}
