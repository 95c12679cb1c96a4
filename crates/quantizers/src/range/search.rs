//! The search for the range of least error that the MSE and the histogram rule share.
//!
//! # Definition
//! Candidates are the range of the values with its ends multiplied by factors.
//! 1. Both ends by $f = 1 - 7i/100$, $i = 0, \dots, 11$, then from .2 on by factors of .9 to $10^{-3}$. What is
//!    clipped only grows as $f$ falls, so the scan ends, without loss, where that alone costs more than
//!    the best candidate so far. At each minimum within 5 % of the best follows the vertex of the parabola
//!    through it and its neighbours. Where values are few for the levels, the error jumps from candidate
//!    to candidate: then around each one within 20 % follow those in steps of half a level (fewer than
//!    two values a level: a quarter), between .05 and .25 %.
//! 2. If the grid looks at both ends, the same with the values clipped to $\pm f \max |x|$; then each end
//!    alone, the other as it stands, in steps of 10 %.
//! 3. Around the best, both ends together and either end, in steps that are halved down to 1 % (few
//!    values: .03 %): from 1 % (.5 %), or, for two ends and for a range that the scan has not shrunk, from
//!    16 %, which may also widen it. Last, the vertex of the parabola through the best and those 1 %
//!    either way.
//!
//! A candidate with a level beyond `f32` is none.
//!
//! The error has many minima, and none of this finds the least of them for certain. It never returns
//! more than the error of the whole range.

use crate::{BitWidth, Codes, Extent, Grid, Levels, Params, QuantizerError};

/// Candidates evaluated together, at most.
pub(super) const BATCH: usize = 3;

/// The factors of the scan, after 1.
const FACTORS: [f32; 62] = {
    let mut factors = [0.2; 62];
    let mut place = 0;
    while place < factors.len() {
        if place < 11 {
            factors[place] = 1.0 - 0.07 * (place + 1) as f32;
        } else if place > 11 {
            factors[place] = 0.9 * factors[place - 1];
        }
        place += 1;
    }
    factors
};

/// What a candidate costs.
pub(super) trait Loss {
    /// The error of each candidate; those of no candidate are not used.
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> [f64; BATCH];

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
    let is_held = codes.can_have(&params);
    let error = if is_held { loss.errors(&codes, &[params])[0] } else { f64::INFINITY };
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
        has_two_ends: false,
        codes,
        whole: error,
        best: (error, [1.0; 2], params),
    };
    search.shrink(|f| [f; 2])?;
    search.has_two_ends = search.has_two_ends()?;
    if search.has_two_ends {
        search.shrink(|f| {
            let t = f * extent.magnitude();
            [extent.low, extent.high].map(|end| if end.abs() > t { t / end.abs() } else { 1.0 })
        })?;
        search.trim()?;
    }
    let first = if search.fine_step.is_some() { 0.005 } else { LEAST_STEP };
    search.refine(if search.has_two_ends || search.best.0 >= search.whole {
        0.16
    } else {
        first
    })?;
    Ok(search.best.2)
}

struct Search<'a> {
    loss: &'a dyn Loss,
    extent: Extent,
    grid: &'a dyn Grid,
    bits: BitWidth,
    codes: Codes,
    fine_step: Option<f32>,
    has_two_ends: bool,
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

    /// The errors of up to [`BATCH`] candidates; the best so far is replaced where one is better.
    fn errors(&mut self, factors: &[[f32; 2]]) -> Result<[f64; BATCH], QuantizerError> {
        let mut candidates = [self.best.2; BATCH];
        for (candidate, &factors) in candidates.iter_mut().zip(factors) {
            *candidate = self.params(factors)?;
        }
        let mut errors = self.loss.errors(&self.codes, &candidates[..factors.len()]);
        for ((error, &factors), params) in errors.iter_mut().zip(factors).zip(candidates) {
            if !self.codes.can_have(&params) {
                *error = f64::INFINITY;
            } else if *error < self.best.0 {
                self.best = (*error, factors, params);
            }
        }
        Ok(errors)
    }

    /// Scans the ranges `of` a factor.
    fn shrink(&mut self, of: impl Fn(f32) -> [f32; 2]) -> Result<(), QuantizerError> {
        let mut seen = Vec::with_capacity(1 + FACTORS.len());
        seen.push((1.0, self.whole));
        for batch in FACTORS.chunks(BATCH) {
            let mut points = [[0.0; 2]; BATCH];
            points.iter_mut().zip(batch).for_each(|(point, &f)| *point = of(f));
            let errors = self.errors(&points[..batch.len()])?;
            seen.extend(batch.iter().copied().zip(errors));
            let last = batch.len() - 1;
            // What is clipped is a part of the error: a look is worth its price where that is large.
            if errors[last] > 1.25 * self.best.0 {
                let last = self.params(points[last])?;
                if self.loss.clipped(&self.codes, &last) >= self.best.0 {
                    break;
                }
            }
        }
        match self.fine_step {
            Some(step) => self.look_around(&seen, step, of),
            None => self.look_between(&seen, of),
        }
    }

    /// In steps of `step` around whatever is near the best.
    fn look_around(
        &mut self,
        seen: &[(f32, f64)],
        step: f32,
        of: impl Fn(f32) -> [f32; 2],
    ) -> Result<(), QuantizerError> {
        let bound = 1.2 * self.best.0;
        let steps = (0.035 / step).round() as i32;
        // The last step down is the last one up of the next candidate.
        let offsets = (1 - steps..=steps).filter(|&k| k != 0).map(|k| step * k as f32);
        let near = seen.iter().filter(|it| it.1 <= bound);
        let around = near.flat_map(|it| offsets.clone().map(move |offset| it.0 + offset));
        let points: Vec<[f32; 2]> = around.filter(|&f| f > 0.0).map(of).collect();
        points.chunks(BATCH).try_for_each(|points| self.errors(points).map(drop))
    }

    /// At the vertices of the parabolas through the minima and their neighbours.
    fn look_between(
        &mut self,
        seen: &[(f32, f64)],
        of: impl Fn(f32) -> [f32; 2],
    ) -> Result<(), QuantizerError> {
        let bound = 1.05 * self.best.0;
        for around in seen.windows(3) {
            let &[above, least, below] = around else { continue };
            if least.1 <= bound && least.1 <= above.1 && least.1 <= below.1 {
                self.errors(&[of(vertex(above, least, below))])?;
            }
        }
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
            for factors in factors.chunks(BATCH) {
                self.errors(factors)?;
            }
        }
        Ok(())
    }

    /// Steps from `step` down, as long as one is for the better.
    fn refine(&mut self, mut step: f32) -> Result<(), QuantizerError> {
        let least = if self.fine_step.is_some() { 0.000_3 } else { LEAST_STEP };
        while step >= least {
            for _ in 0..8 {
                let (before, [low, high]) = (self.best.0, self.best.1);
                let (up, down) = (1.0 + step, 1.0 - step);
                let both = [[low * up, high * up], [low * down, high * down]];
                let either =
                    [[low * up, high], [low * down, high], [low, high * up], [low, high * down]];
                let errors = self.errors(&both)?;
                if self.has_two_ends {
                    self.errors(&either[..2])?;
                    self.errors(&either[2..])?;
                }
                if self.best.0 >= before {
                    if step < 2.0 * LEAST_STEP && self.fine_step.is_none() {
                        let f = vertex((up, errors[0]), (1.0, before), (down, errors[1]));
                        self.errors(&[[low * f, high * f]])?;
                    }
                    break;
                }
            }
            step *= 0.5;
        }
        Ok(())
    }
}

/// The last step where values are not few.
const LEAST_STEP: f32 = 0.01;

/// Where the parabola through three points, of which the second is a minimum, is least.
fn vertex(left: (f32, f64), least: (f32, f64), right: (f32, f64)) -> f32 {
    let [a, b] = [left, right].map(|it| f64::from(it.0) - f64::from(least.0));
    let [rise_a, rise_b] = [left, right].map(|it| it.1 - least.1);
    let shift = 0.5 * (b * b * rise_a - a * a * rise_b) / (b * rise_a - a * rise_b);
    if shift.is_finite() { (f64::from(least.0) + shift) as f32 } else { least.0 }
}

#[cfg(test)]
mod tests {
    use crate::{Affine, AnyRange, BitWidth, Grid, Histogram, Mse, Symmetric};

    #[test]
    fn a_level_beyond_f32_is_avoided() {
        let values = [f32::MAX, -f32::MAX, 3e38, 1e38, -2e38, 0.0];
        let grids: [&dyn Grid; 2] = [&Symmetric {}, &Affine::default()];
        for range in [AnyRange::from(Histogram {}), Mse::default().into()] {
            let mut observer = range.as_dyn().observer();
            observer.observe(&values).unwrap();
            for (grid, bits) in grids.iter().flat_map(|grid| [2, 3, 4, 8].map(|bits| (grid, bits)))
            {
                let bits = BitWidth::new(bits).unwrap();
                let params = observer.fit(*grid, bits).unwrap();
                let codes = grid.codes(bits).unwrap();
                assert!(codes.can_have(&params), "{} at {bits}: {params:?}", range.name());
            }
        }
    }
}
