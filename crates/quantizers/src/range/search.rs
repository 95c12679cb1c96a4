//! The search for the range of least error that the MSE and the histogram rule share.
//!
//! # Definition
//! Candidates are the range of the values with its ends multiplied by factors.
//! 1. Both ends by $f = 1 - 4i/100$, $i = 0, \dots, 19$, then on by factors of .9 down to $10^{-3}$. What is
//!    clipped only grows as $f$ falls, so the scan ends, without loss, where that alone costs more than
//!    the best candidate so far. Around each candidate whose error is within 2 % of the best follow those
//!    in steps of 1 %. Where values are few for the levels, the error jumps from candidate to candidate:
//!    then it is within 20 %, and in steps of half a level (fewer than two values a level: a quarter),
//!    between .05 and .25 %.
//! 2. If the grid looks at both ends, the same with the values clipped to $\pm f \max |x|$; then each end
//!    alone, the other as it stands, in steps of 10 %.
//! 3. Around the best, both ends together and either end, in steps that are halved down to .25 % (few
//!    values: .03 %): from .5 %, or, for two ends and for a range that the scan has not shrunk, from 16 %,
//!    which may also widen it.
//!
//! The error has many minima, and none of this finds the least of them for certain. It never returns
//! more than the error of the whole range.

use crate::{BitWidth, Codes, Extent, Grid, Levels, Params, QuantizerError};

/// Candidates evaluated together.
const BATCH: usize = 4;

/// What a candidate costs.
pub(super) trait Loss {
    /// The error of each candidate.
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> Vec<f64>;

    /// The part of a candidate's error that every range inside its range has too.
    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64;

    /// If the values are so few that the error jumps from candidate to candidate: the part of a level
    /// in whose steps to look.
    fn fine_step(&self, codes: &Codes) -> Option<f32>;
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
    let params = grid.params(extent, bits)?;
    let error = loss.errors(&codes, &[params])[0];
    let fine_step = loss.fine_step(&codes).map(|part| match codes.levels {
        Levels::Integers { min, max } => (part / (max - min) as f32).clamp(0.000_5, 0.002_5),
        Levels::Table(_) | Levels::Logarithms(_) => 0.002_5,
    });
    let mut search = Search {
        loss,
        extent,
        grid,
        bits,
        fine_step,
        codes,
        whole: error,
        best: (error, [1.0; 2], params),
    };
    search.shrink(|f| [f; 2])?;
    let has_two_ends = search.has_two_ends()?;
    if has_two_ends {
        search.shrink(|f| {
            let t = f * extent.magnitude();
            [extent.low, extent.high].map(|end| if end.abs() > t { t / end.abs() } else { 1.0 })
        })?;
        search.trim()?;
    }
    search.refine(if has_two_ends || search.best.0 >= search.whole { 0.16 } else { 0.005 })?;
    Ok(search.best.2)
}

struct Search<'a> {
    loss: &'a dyn Loss,
    extent: Extent,
    grid: &'a dyn Grid,
    bits: BitWidth,
    codes: Codes,
    fine_step: Option<f32>,
    /// The error of the whole range.
    whole: f64,
    /// Error, factors of the two ends, and what the grid makes of them.
    best: (f64, [f32; 2], Params),
}

impl Search<'_> {
    fn params(&self, [low, high]: [f32; 2]) -> Result<Params, QuantizerError> {
        let extent = Extent { low: self.extent.low * low, high: self.extent.high * high };
        self.grid.params(extent, self.bits)
    }

    /// The errors of candidates; the best so far is replaced where one is better.
    fn errors(&mut self, factors: &[[f32; 2]]) -> Result<Vec<f64>, QuantizerError> {
        let params: Vec<Params> =
            factors.iter().map(|&it| self.params(it)).collect::<Result<_, _>>()?;
        let errors = self.loss.errors(&self.codes, &params);
        for ((&error, &factors), params) in errors.iter().zip(factors).zip(params) {
            if error < self.best.0 {
                self.best = (error, factors, params);
            }
        }
        Ok(errors)
    }

    /// Scans the ranges `of` a factor.
    fn shrink(&mut self, of: impl Fn(f32) -> [f32; 2]) -> Result<(), QuantizerError> {
        let coarse = (1..20).map(|i| 1.0 - 0.04 * i as f32);
        let tail = (0..52).map(|i| 0.2 * 0.9_f32.powi(i));
        let factors: Vec<f32> = coarse.chain(tail).collect();
        let mut seen = vec![(self.whole, 1.0)];
        for batch in factors.chunks(BATCH) {
            let points: Vec<[f32; 2]> = batch.iter().map(|&f| of(f)).collect();
            seen.extend(self.errors(&points)?.into_iter().zip(batch.iter().copied()));
            let last = self.params(points[points.len() - 1])?;
            if self.loss.clipped(&self.codes, &last) >= self.best.0 {
                break;
            }
        }
        let (share, step) = self.fine_step.map_or((1.02, 0.01), |step| (1.2, step));
        let bound = share * self.best.0;
        let steps = (0.02 / step).round() as i32;
        // The last step down is the last one up of the next candidate.
        let offsets = (1 - steps..=steps).filter(|&k| k != 0).map(|k| step * k as f32);
        let near = seen.into_iter().filter(|it| it.0 <= bound);
        let around = near.flat_map(|it| offsets.clone().map(move |offset| it.1 + offset));
        let points: Vec<[f32; 2]> = around.filter(|&f| f > 0.0).map(of).collect();
        self.errors(&points)?;
        Ok(())
    }

    fn has_two_ends(&self) -> Result<bool, QuantizerError> {
        let whole = self.params([1.0; 2])?;
        Ok(self.params([0.5, 1.0])? != whole && self.params([1.0, 0.5])? != whole)
    }

    fn trim(&mut self) -> Result<(), QuantizerError> {
        for end in [1, 0] {
            let [low, high] = self.best.1;
            let factors = (0..10).map(|i| 1.0 - i as f32 / 10.0);
            let factors: Vec<[f32; 2]> =
                factors.map(|f| if end == 1 { [low, f] } else { [f, high] }).collect();
            self.errors(&factors)?;
        }
        Ok(())
    }

    /// Steps from `step` to .03 %, as long as one is for the better.
    fn refine(&mut self, mut step: f32) -> Result<(), QuantizerError> {
        let has_two_ends = self.has_two_ends()?;
        let least = if self.fine_step.is_some() { 0.000_3 } else { 0.002 };
        while step > least {
            for _ in 0..8 {
                let (before, [low, high]) = (self.best.0, self.best.1);
                let (up, down) = (1.0 + step, 1.0 - step);
                let both = [[low * up, high * up], [low * down, high * down]];
                let either =
                    [[low * up, high], [low * down, high], [low, high * up], [low, high * down]];
                self.errors(&both)?;
                if has_two_ends {
                    self.errors(&either)?;
                }
                if self.best.0 >= before {
                    break;
                }
            }
            step *= 0.5;
        }
        Ok(())
    }
}
