//! Twice the mean magnitude times the root of the number of steps: where LSQ begins.
//!
//! # Definition
//! $T = 2\,\mathbb E|x| \sqrt{Q}$ over all batches, where $Q$ is the number of levels above zero; the range
//! is $\pm T$, or the side of it where there are values. On integer grids that is the scale
//! $s = 2\,\mathbb E|x| / \sqrt{Q_p}$ of the paper.
//!
//! # Reference
//! S. K. Esser et al., *Learned Step Size Quantization*, ICLR 2020, arXiv:1902.08153, section 2.1.
//!
//! # Notes
//! A start for a step that is then learned. Kept, it is too wide from 4 bits on: 4.6 times at 8 bits on
//! a Gaussian, 27.8 dB where the best scale has 40.5.

use serde::{Deserialize, Serialize};

use super::min_max::extremes;
use super::{Observer, Range};
use crate::{BitWidth, Extent, Grid, Levels, Params, QuantizerError};

/// The paper's start of LSQ.
///
/// ```toml
/// [range]
/// kind = "mean-magnitude"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanMagnitude {}

#[derive(Default)]
struct Magnitudes {
    sum: f64,
    count: u64,
    has_negative: bool,
    has_positive: bool,
}

impl Range for MeanMagnitude {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Magnitudes::default())
    }
}

impl Observer for Magnitudes {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        let Some(Extent { low, high }) = extremes(values)? else { return Ok(()) };
        self.sum += values.iter().map(|x| f64::from(x.abs())).sum::<f64>();
        self.count += values.len() as u64;
        self.has_negative |= low < 0.0;
        self.has_positive |= high > 0.0;
        Ok(())
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        if self.count == 0 {
            return Err(QuantizerError::NothingSeen);
        }
        let codes = grid.codes(bits)?;
        let greatest = match codes.levels {
            Levels::Integers { min: 0.., max } if !self.has_negative => f64::from(max),
            _ => ((codes.count() - 1) / 2).max(1) as f64,
        };
        let end = 2.0 * self.sum / self.count as f64 * greatest.sqrt();
        let end = end.min(f64::from(f32::MAX / 2.0)) as f32; // the width of the range is finite too
        let low = if self.has_negative { -end } else { 0.0 };
        let high = if self.has_positive { end } else { 0.0 };
        grid.params(Extent { low, high }, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Integers, Lsq, Pact};

    fn scale(grid: &dyn Grid, bits: u8, batches: &[&[f32]]) -> f32 {
        let mut observer = MeanMagnitude {}.observer();
        for batch in batches {
            observer.observe(batch).unwrap();
        }
        observer.fit(grid, BitWidth::new(bits).unwrap()).unwrap().scale
    }

    #[test]
    fn the_scale_is_the_papers() {
        // E|x| = 2: s = 4/sqrt(Q_p), and Q_p = 7 for both kinds of signed integers.
        let batches: [&[f32]; 3] = [&[1.0, -3.0], &[], &[2.0, -2.0]];
        for integers in [Integers::TwosComplement, Integers::Symmetric] {
            let found = scale(&Lsq { integers }, 4, &batches);
            assert!((found - 1.511_857_9).abs() < 1e-6, "{found}");
            assert!((scale(&Lsq { integers }, 2, &batches) - 4.0).abs() < 1e-6);
        }
        // Activations that are not negative: Q_p = 15.
        let found = scale(&Pact {}, 4, &[&[1.0, 3.0]]);
        assert!((found - 1.032_795_6).abs() < 1e-6, "{found}");
    }

    #[test]
    fn what_is_not_finite_is_named_and_nothing_is_no_range() {
        let mut observer = MeanMagnitude {}.observer();
        let bits = BitWidth::new(4).unwrap();
        let grid = Lsq::default();
        assert_eq!(observer.fit(&grid, bits), Err(QuantizerError::NothingSeen));
        let error = observer.observe(&[1.0, f32::NAN]).unwrap_err().to_string();
        assert_eq!(error, "value 1 is NaN, expected a finite number");
        observer.observe(&[f32::MAX, -f32::MAX]).unwrap();
        assert!(observer.fit(&grid, bits).unwrap().scale.is_finite());
    }
}
