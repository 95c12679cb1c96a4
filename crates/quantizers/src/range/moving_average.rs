//! Extremes that follow the batches, an exponential moving average.
//!
//! # Definition
//! The first batch sets the range; from then on, for either end $m$ and its value in the batch,
//! $m \leftarrow m + c\,(m_{batch} - m)$. The order of the batches matters. An empty batch changes
//! nothing.
//!
//! # Reference
//! B. Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.1; `MovingAverageMinMaxObserver` of PyTorch
//! 2.15, whose constant is the default.

use serde::{Deserialize, Serialize};

use super::min_max::extremes;
use super::{Observer, Range};
use crate::{BitWidth, Extent, Grid, Params, QuantizerError};

/// Averaged extremes.
///
/// ```toml
/// [range]
/// kind = "moving-average"
/// constant = 0.01
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MovingAverage {
    /// $c$, the weight of a new batch: above 0 and at most 1.
    pub constant: f64,
}

impl Default for MovingAverage {
    fn default() -> Self {
        Self { constant: 0.01 }
    }
}

impl Range for MovingAverage {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Average { constant: self.constant, extent: None })
    }
}

struct Average {
    constant: f64,
    extent: Option<Extent>,
}

impl Observer for Average {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        let c = self.constant;
        if !(c > 0.0 && c <= 1.0) {
            let expected = "a number above 0 and at most 1";
            return Err(QuantizerError::Setting { name: "constant", value: c, expected });
        }
        let Some(batch) = extremes(values)? else { return Ok(()) };
        // In f64, where the difference of two f32 cannot overflow.
        let follow = |m: f32, new: f32| (f64::from(m) + c * (f64::from(new) - f64::from(m))) as f32;
        self.extent = Some(self.extent.map_or(batch, |seen| Extent {
            low: follow(seen.low, batch.low),
            high: follow(seen.high, batch.high),
        }));
        Ok(())
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        grid.params(self.extent.ok_or(QuantizerError::NothingSeen)?, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_sets_and_the_second_moves_by_a_hundredth() {
        let mut average = Average { constant: 0.01, extent: None };
        average.observe(&[-1.0, 0.5, 3.0]).unwrap();
        assert_eq!(average.extent, Some(Extent { low: -1.0, high: 3.0 }));
        average.observe(&[]).unwrap();
        average.observe(&[5.0, -2.0]).unwrap();
        // -1 + .01 (-2 + 1), 3 + .01 (5 - 3); PyTorch's MovingAverageMinMaxObserver agrees.
        assert_eq!(average.extent, Some(Extent { low: -1.01, high: 3.02 }));
    }

    #[test]
    fn a_constant_that_is_no_weight_is_refused() {
        for constant in [0.0, -0.1, 1.1, f64::NAN] {
            let error = MovingAverage { constant }.observer().observe(&[1.0]).unwrap_err();
            let text = format!("`constant` is {constant}, expected a number above 0 and at most 1");
            assert_eq!(error.to_string(), text);
        }
    }
}
