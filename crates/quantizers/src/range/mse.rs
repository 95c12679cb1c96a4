//! The range of least error over the values themselves.
//!
//! # Definition
//! Of the candidates of the search (`range/search.rs`), all ranges from the extremes of the values
//! inwards, the one with the least $\sum |x - \hat x|^p$ on the grid and at the width asked for.
//!
//! # Reference
//! R. Banner et al., NeurIPS 2019, arXiv:1810.05723, for the idea; the candidates
//! $T = (1 - i/100) \max |x|$, $i < 80$, and $p = 2.4$ are those of the GPTQ code (E. Frantar et al.,
//! ICLR 2023, arXiv:2210.17323).
//!
//! # Notes on the reference implementation
//! It stops at a fifth of the largest magnitude, too early for heavy tails at 2 bits, and does not
//! refine; its exponent is fixed.

use serde::{Deserialize, Serialize};

use super::cells::{self, Moments};
use super::kept::Kept;
use super::search::{Loss, search};
use super::{Observer, Range, kernel};
use crate::{BitWidth, Codes, Grid, Levels, Params, QuantizerError};

/// Least error by search. Keeps every value it is shown, 4 bytes each; where that is too much, the
/// `histogram` rule does the same on bins.
///
/// ```toml
/// [range]
/// kind = "mse"
/// exponent = 2.0
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mse {
    /// $p$, above 0 and at most 16. 2.4 weighs large errors more.
    pub exponent: f32,
}

impl Default for Mse {
    fn default() -> Self {
        Self { exponent: 2.0 }
    }
}

impl Range for Mse {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Errors { exponent: self.exponent, kept: Kept::default() })
    }
}

struct Errors {
    exponent: f32,
    kept: Kept,
}

impl Observer for Errors {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.kept.observe(values)
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        let p = self.exponent;
        if !(p > 0.0 && p <= 16.0) {
            let expected = "a number above 0 and at most 16";
            return Err(QuantizerError::Setting { name: "exponent", value: p.into(), expected });
        }
        let (values, extent) = (self.kept.values(), self.kept.extent()?);
        match grid.codes(bits)?.levels {
            Levels::Integers { .. } => search(&Integers { values, p }, extent, grid, bits),
            Levels::Table(_) if p == 2.0 => search(&Sorted::new(values), extent, grid, bits),
            Levels::Table(_) => search(&Plain { values, p: p.into() }, extent, grid, bits),
        }
    }
}

/// Integer codes: every value, by the vector kernel.
struct Integers<'a> {
    values: &'a [f32],
    p: f32,
}

impl Integers<'_> {
    fn line(codes: &Codes, params: &Params) -> kernel::Line {
        let Levels::Integers { min, max } = codes.levels else {
            unreachable!("chosen for integer codes")
        };
        let ends = ((min - params.zero_point) as f32, (max - params.zero_point) as f32);
        kernel::Line { scale: params.scale, offset: params.offset, ends }
    }
}

impl Loss for Integers<'_> {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64> {
        let lines: Vec<_> = candidates.iter().map(|params| Self::line(codes, params)).collect();
        kernel::errors(self.values, &lines, self.p)
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        kernel::clipped(self.values, Self::line(codes, candidate), self.p)
    }
}

/// Any levels and squares: the values in order with prefix sums, one look-up a level.
struct Sorted {
    values: Vec<f32>,
    /// `[n + 1]`: $S_1$ and $S_2$ of the first $0, 1, \dots, n$ values.
    sums: Vec<[f64; 2]>,
}

impl Sorted {
    fn new(values: &[f32]) -> Self {
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        let mut sums = Vec::with_capacity(values.len() + 1);
        let mut sum = [0.0; 2];
        sums.push(sum);
        for x in values.iter().map(|&x| f64::from(x)) {
            sum = [sum[0] + x, sum[1] + x * x];
            sums.push(sum);
        }
        Self { values, sums }
    }
}

impl Moments for Sorted {
    fn below(&self, t: f64) -> [f64; 3] {
        let count = self.values.partition_point(|&x| f64::from(x) < t);
        [count as f64, self.sums[count][0], self.sums[count][1]]
    }
}

impl Loss for Sorted {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64> {
        candidates.iter().map(|params| cells::squared_error(self, codes, params)).collect()
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        cells::clipped(self, cells::ends(codes, candidate))
    }
}

/// Any levels and any exponent, value by value.
struct Plain<'a> {
    values: &'a [f32],
    p: f64,
}

impl Plain<'_> {
    fn sum(&self, y: impl Fn(f32) -> f64) -> f64 {
        self.values.iter().map(|&x| (f64::from(x) - y(x)).abs().powf(self.p)).sum()
    }
}

impl Loss for Plain<'_> {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64> {
        let error = |params| self.sum(|x| f64::from(codes.quantize(x, params)));
        candidates.iter().map(error).collect()
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        let (low, high) = cells::ends(codes, candidate);
        self.sum(|x| f64::from(x).max(low).min(high))
    }
}
