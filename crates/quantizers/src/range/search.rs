//! The search for the range of least error that the MSE and the histogram rule share.
//!
//! # Definition
//! Candidates are the range of the values with its ends multiplied by factors.
//! 1. Both ends by $f = 1 - i/100$, $i = 0, \dots, 79$, then on by factors of .95 down to $10^{-3}$. What
//!    is clipped only grows as $f$ falls, so the scan ends, without loss, where that alone costs more
//!    than the best candidate so far.
//! 2. If the grid looks at both ends, each end alone, the other as it stands, in steps of 5 %, twice.
//! 3. Around the best, steps from 16 % to .02 %, halved, of both ends together or of either end. Of the
//!    candidates within 2 % of the best, the error of few values has many minima: see `SCAN`.
//!
//! The error has several minima, and none of this finds the least of them for certain; it never
//! returns more than that of the whole range.

use crate::{BitWidth, Codes, Extent, Grid, Params, QuantizerError};

/// Candidates evaluated together.
const BATCH: usize = 8;

/// What a candidate costs.
pub(super) trait Loss {
    /// The error of each candidate.
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64>;

    /// The part of a candidate's error that every range inside its range has too.
    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64;
}

/// Scale and zero point of the range inside `extent`, or a little outside, of least error.
///
/// # Errors
/// [`QuantizerError::GridWidth`].
pub(super) fn search(
    loss: &dyn Loss,
    extent: Extent,
    grid: &dyn Grid,
    bits: BitWidth,
) -> Result<Params, QuantizerError> {
    let codes = grid.codes(bits)?;
    let whole = [1.0; 2];
    let params = grid.params(extent, bits)?;
    let error = loss.errors(&codes, &[params])[0];
    let mut search = Search { loss, extent, grid, bits, codes, best: (error, whole, params) };
    search.shrink()?;
    if search.has_two_ends()? {
        search.trim()?;
    }
    search.refine()?;
    Ok(search.best.2)
}

struct Search<'a> {
    loss: &'a dyn Loss,
    extent: Extent,
    grid: &'a dyn Grid,
    bits: BitWidth,
    codes: Codes,
    /// Error, factors of the two ends, and what the grid makes of them.
    best: (f64, [f32; 2], Params),
}

impl Search<'_> {
    fn params(&self, [low, high]: [f32; 2]) -> Result<Params, QuantizerError> {
        let extent = Extent { low: self.extent.low * low, high: self.extent.high * high };
        self.grid.params(extent, self.bits)
    }

    /// Whether one of the candidates is better than the best so far, which it replaces.
    fn improve(&mut self, factors: &[[f32; 2]]) -> Result<bool, QuantizerError> {
        let mut candidates: Vec<([f32; 2], Params)> = Vec::with_capacity(factors.len());
        for &factors in factors {
            let params = self.params(factors)?;
            if params != self.best.2 && candidates.iter().all(|it| it.1 != params) {
                candidates.push((factors, params));
            }
        }
        let params: Vec<Params> = candidates.iter().map(|it| it.1).collect();
        let errors = self.loss.errors(&self.codes, &params);
        let mut improved = false;
        for (error, (factors, params)) in errors.into_iter().zip(candidates) {
            if error < self.best.0 {
                self.best = (error, factors, params);
                improved = true;
            }
        }
        Ok(improved)
    }

    fn shrink(&mut self) -> Result<(), QuantizerError> {
        let percent = (1..80).map(|i| 1.0 - i as f32 / 100.0);
        let tail = (1..104).map(|i| 0.2 * 0.95_f32.powi(i));
        let factors: Vec<[f32; 2]> = percent.chain(tail).map(|f| [f; 2]).collect();
        for batch in factors.chunks(BATCH) {
            self.improve(batch)?;
            let last = self.params(batch[batch.len() - 1])?;
            if self.loss.clipped(&self.codes, &last) >= self.best.0 {
                break;
            }
        }
        Ok(())
    }

    fn has_two_ends(&self) -> Result<bool, QuantizerError> {
        let whole = self.params([1.0; 2])?;
        Ok(self.params([0.5, 1.0])? != whole && self.params([1.0, 0.5])? != whole)
    }

    fn trim(&mut self) -> Result<(), QuantizerError> {
        for end in [1, 0, 1, 0] {
            let factors: Vec<[f32; 2]> = (0..20)
                .map(|i| {
                    let mut factors = self.best.1;
                    factors[end] = 1.0 - i as f32 / 20.0;
                    factors
                })
                .collect();
            self.improve(&factors)?;
        }
        Ok(())
    }

    fn refine(&mut self) -> Result<(), QuantizerError> {
        let mut step = 0.16;
        for _ in 0..10 {
            for _ in 0..8 {
                let [low, high] = self.best.1;
                let (up, down) = (1.0 + step, 1.0 - step);
                if !self.improve(&[
                    [low * up, high * up],
                    [low * down, high * down],
                    [low * up, high],
                    [low * down, high],
                    [low, high * up],
                    [low, high * down],
                ])? {
                    break;
                }
            }
            step *= 0.5;
        }
        Ok(())
    }
}
