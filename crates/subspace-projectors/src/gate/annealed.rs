//! The gate that learns: a wide ramp that narrows and ends as a split.
//!
//! # Definition
//! $m_i = \sigma(C (\gamma d_l - i - 1/2))$ with $C = 2 \ln 99 / (w d_l)$: the ramp passes from 99 % to 1 %
//! over a share $w$ of the slice. With $p$ the share of the training that is over,
//! $$ w = w_0 (w_1 / w_0)^{p / h} \quad (p < h), $$
//! so that at first many coordinates tell $\gamma$ where to go, and later the mask is nearly a split.
//! From $p = h$ on the split is hard, $k = \lceil \gamma d_l - 1/2 \rceil$, and the coordinates are
//! trained with it; $k$ is what is stored, one of $d_l + 1$.
//!
//! # Reference
//! Our own, for the fault of [`crate::SoftMask`].

use serde::{Deserialize, Serialize};

use super::{Gate, GateCode, Ramp};
use crate::AllocationError;

/// A ramp that narrows from half of the slice to a fiftieth, and is a split for the last fifth of the
/// training.
///
/// ```toml
/// kind = "annealed"
/// from = 0.5
/// to = 0.02
/// harden = 0.8
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Annealed {
    /// $w_0$, above 0: the width at the start, as a share of the slice.
    pub from: f64,
    /// $w_1$, above 0 and at most $w_0$: the width when it becomes a split.
    pub to: f64,
    /// $h$, in (0, 1]: the share of the training after which it is a split.
    pub harden: f64,
}

impl Default for Annealed {
    fn default() -> Self {
        Self { from: 0.5, to: 0.02, harden: 0.8 }
    }
}

impl Gate for Annealed {
    fn check(&self) -> Result<(), AllocationError> {
        let error = |name, value: f64, expected| {
            Err(AllocationError::Gate { name, value: value.to_string(), expected })
        };
        if !(self.from > 0.0 && self.from.is_finite()) {
            return error("from", self.from, "a number above 0");
        }
        if !(self.to > 0.0 && self.to <= self.from) {
            return error("to", self.to, "a number above 0 and at most `from`");
        }
        if !(self.harden > 0.0 && self.harden <= 1.0) {
            return error("harden", self.harden, "a number above 0 and at most 1");
        }
        Ok(())
    }

    fn ramp(&self, width: usize, progress: f64) -> Ramp {
        let sharpness = if progress < self.harden {
            let share = self.from * libm::pow(self.to / self.from, progress / self.harden);
            2.0 * libm::log(99.0) / (share * width as f64)
        } else {
            f64::INFINITY
        };
        Ramp { sharpness, offset: 0.5 }
    }

    fn code(&self, _width: usize) -> GateCode {
        GateCode::Split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_narrows_and_becomes_a_split() {
        let gate = Annealed::default();
        let sharpness = |progress| gate.ramp(100, progress).sharpness;
        assert!((sharpness(0.0) - 9.190_239_700 / 50.0).abs() < 1e-9);
        assert!((sharpness(0.4) - 9.190_239_700 / 10.0).abs() < 1e-8); // sqrt(0.5 * 0.02) = 0.1
        assert!(sharpness(0.799).is_finite() && sharpness(0.8).is_infinite());
        // From 99 % to 1 % over half of the slice: 75 - 1/2 to 25 - 1/2 around 50.
        let weights = gate.ramp(100, 0.0).weights(0.5, 100);
        assert!((f64::from(weights[24]) - 0.99).abs() < 0.001, "{}", weights[24]);
        assert!((f64::from(weights[75]) - 0.01).abs() < 0.001, "{}", weights[75]);
        let sum: f32 = weights.iter().sum();
        assert!((sum - 50.0).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn settings_that_make_no_ramp() {
        for gate in [
            Annealed { from: 0.0, ..Annealed::default() },
            Annealed { from: f64::INFINITY, ..Annealed::default() },
            Annealed { to: 0.6, ..Annealed::default() },
            Annealed { to: f64::NAN, ..Annealed::default() },
            Annealed { harden: 0.0, ..Annealed::default() },
            Annealed { harden: 1.5, ..Annealed::default() },
        ] {
            assert!(gate.check().is_err(), "{gate:?}");
        }
        assert_eq!(Annealed::default().check(), Ok(()));
    }
}
