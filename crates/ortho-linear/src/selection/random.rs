//! A random mask, to compare others of its size with.
//!
//! # Definition
//! $k = \operatorname{round}(\mathrm{ratio} \cdot n)$ places of the matrix without replacement, uniformly: the
//! first $k$ of a permutation from the seed. To draw another one for each layer, the seeds have to differ.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use super::{Selection, Signals};
use crate::{Mask, OrthoError};

/// The control.
///
/// ```toml
/// kind = "random"
/// ratio = 0.005
/// seed = 0
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Random {
    /// Share of the weights.
    pub ratio: f64,
    /// Of the drawing.
    pub seed: u64,
}

/// Of the size of [`Magnitude`](crate::Magnitude).
impl Default for Random {
    fn default() -> Self {
        Self { ratio: 0.005, seed: 0 }
    }
}

impl Selection for Random {
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError> {
        let key = Key::from_seed(self.seed).derive("outliers");
        Mask::random(signals.weights.shape(), self.ratio, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn a_mask_of_its_seed() {
        let values = vec![0.0; 10_000];
        let signals = Signals::of(Matrix::new(&values, [100, 100]).unwrap());
        let select = |seed| Random { ratio: 0.1, seed }.select(&signals).unwrap();
        assert_eq!(select(1), select(1));
        // Of two masks of 1,000, 100 places are shared on average, with standard deviation
        // sqrt(1000 * .1 * .9 * 9000 / 9999) = 9.0; five of them.
        let (one, two) = (select(1), select(2));
        let shared = one.places().iter().filter(|it| two.places().contains(it)).count();
        assert!((55..=145).contains(&shared), "{shared}");
    }
}
