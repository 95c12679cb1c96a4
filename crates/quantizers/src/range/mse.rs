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
        search(&Values { values: self.kept.values(), p }, self.kept.extent()?, grid, bits)
    }
}

/// Every value, by the vector kernel.
struct Values<'a> {
    values: &'a [f32],
    p: f32,
}

impl Loss for Values<'_> {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64> {
        kernel::errors(self.values, codes, candidates, self.p)
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        kernel::clipped(self.values, codes, candidate, self.p)
    }

    fn is_rough(&self, codes: &Codes) -> bool {
        let most = if let Levels::Table(_) = codes.levels { 16 } else { usize::MAX };
        self.values.len() < 32 * codes.count().min(most)
    }
}
