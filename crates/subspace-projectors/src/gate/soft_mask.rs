//! The literal gate: a ramp of fixed sharpness.
//!
//! # Definition
//! $m_i = \sigma(C (\gamma d_l - i))$ with $C = 10$ throughout. The ramp passes from 99 % to 1 % over
//! $9.19 / C$ coordinates, 0.92 at $C = 10$: $\gamma$ has its gradient from one or two coordinates out of
//! hundreds, and it jumps as $\gamma d_l$ crosses whole numbers. Under the noise of small batches it
//! drifts slowly; [`crate::Annealed`] is the gate that learns. This one stays soft, so that $\gamma$ is stored in fixed point,
//! with 8 bits or as many as tell the coordinates apart.
//!
//! # Reference
//! The proposal for separate A and B projectors in SubLoRA, whose public code uses $C = 10$, later 5,
//! and stores 32 bits a gate.

use serde::{Deserialize, Serialize};

use super::{Gate, GateCode, Ramp};
use crate::AllocationError;

/// A ramp of fixed sharpness.
///
/// ```toml
/// kind = "soft-mask"
/// sharpness = 5.0
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftMask {
    /// $C$, above 0.
    pub sharpness: f64,
}

impl Default for SoftMask {
    fn default() -> Self {
        Self { sharpness: 10.0 }
    }
}

impl Gate for SoftMask {
    fn check(&self) -> Result<(), AllocationError> {
        if self.sharpness > 0.0 && self.sharpness.is_finite() {
            return Ok(());
        }
        let (name, expected) = ("sharpness", "a number above 0");
        Err(AllocationError::Gate { name, value: self.sharpness.to_string(), expected })
    }

    fn ramp(&self, _width: usize, _progress: f64) -> Ramp {
        Ramp { sharpness: self.sharpness, offset: 0.0 }
    }

    fn code(&self, width: usize) -> GateCode {
        GateCode::FixedPoint { bits: width.next_power_of_two().ilog2().max(8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_lives_on_one_coordinate() {
        let slopes = SoftMask::default().ramp(400, 0.0).slopes(0.5, 400);
        let total: f64 = slopes.iter().sum();
        let largest = slopes.iter().copied().fold(0.0, f64::max);
        assert!(largest / total > 0.99, "{largest} of {total}"); // at i = 200 = gamma d
        let between = SoftMask::default().ramp(400, 0.0).slopes(0.501_25, 400); // 200.5
        assert!(between.iter().sum::<f64>() < 0.06 * total);
    }

    #[test]
    fn bits_of_a_gate() {
        for (width, bits) in [(1, 8), (256, 8), (257, 9), (580, 10), (3_072, 12)] {
            assert_eq!(SoftMask::default().code(width), GateCode::FixedPoint { bits }, "{width}");
        }
    }
}
