//! Further than $k$ standard deviations from the mean.
//!
//! # Definition
//! $|w - \mu| > k\sigma$, with mean and standard deviation (of the population, not of the sample) of the
//! matrix or of each output channel. Of a normal distribution, $k$ = 3 selects .270 %, 4 selects .0063 %.

use serde::{Deserialize, Serialize};

use super::{Selection, Signals, check_factor, ends_by, outside};
use crate::{Mask, OrthoError, Scope};

/// The tails of a normal distribution.
///
/// ```toml
/// kind = "k-sigma"
/// k = 3.0
/// scope = "matrix"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KSigma {
    /// Standard deviations, above 0.
    pub k: f64,
    /// Whose mean and deviation.
    pub scope: Scope,
}

impl Default for KSigma {
    fn default() -> Self {
        Self { k: 3.0, scope: Scope::Matrix }
    }
}

impl Selection for KSigma {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        check_factor("k", self.k)?;
        let ends = |values: &mut [f32]| {
            let len = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
            let square = |&x: &f32| (f64::from(x) - mean).powi(2);
            let sigma = (values.iter().map(square).sum::<f64>() / len).sqrt();
            [mean - self.k * sigma, mean + self.k * sigma]
        };
        Ok(outside(signals.weights, &ends_by(signals.weights, self.scope, ends)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn around_the_mean() {
        // Channel 0: 9 nines and a 19, mean 10, variance (9 + 81) / 10 = 9. Channel 1: constant.
        let mut values = [9.0, 4.0].repeat(10);
        values[6] = 19.0;
        let signals = Signals::of(Matrix::new(&values, [10, 2]).unwrap());
        let select = |k| KSigma { k, scope: Scope::Channel }.select(&signals).unwrap();
        assert_eq!(select(2.9).places(), [6]);
        assert!(select(3.0).places().is_empty()); // 19 is at 3 of them, and not beyond
        let k = f64::NAN;
        assert!(KSigma { k, scope: Scope::Matrix }.select(&signals).is_err());
    }
}
