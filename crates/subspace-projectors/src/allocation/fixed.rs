//! A fixed share of the coordinates for the B side.
//!
//! # Definition
//! With the ratio $\rho = d_B / d$ in thousandths, $d_B = \lfloor \rho d + 1/2 \rfloor$ and $d_A = d -
//! d_B$: all A are $A_0 + P_A \alpha_{0..d_A}$, all B are $B_0 + P_B \alpha_{d_A..d}$, with independent
//! projectors. 0.2 is A-heavy, 0.5 equal, 0.8 B-heavy. At 1 only B is trained; at 0 only A, which
//! leaves the model where it began, because B is zero then.
//!
//! The ratio is one of 1001 and is paid for as such, which covers its choice by a single run: whoever
//! certifies several and keeps the best counts them in `certify.configurations`.
//!
//! # Notes on the reference implementation
//! The public code truncates $\rho d$ and cannot run at 0 or 1. At the first step only B has a
//! gradient: an early lead of large ratios says nothing.

use serde::{Deserialize, Serialize};

use super::{Allocation, Choice, Part, Plan};
use crate::{AllocationError, Layout, Side};

/// A fixed share of the coordinates for B. By default half of them.
///
/// ```toml
/// kind = "fixed"
/// ratio = 0.8
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixed {
    /// $d_B / d$, 0 to 1, with at most three decimals.
    pub ratio: f64,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { ratio: 0.5 }
    }
}

impl Allocation for Fixed {
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        super::sides(layout)?;
        let thousandths = super::thousandths(self.ratio)?;
        let d_b = (d * thousandths + 500) / 1000;
        let part = |side, coordinates| Part { group: None, side: Some(side), coordinates };
        Ok(Plan {
            parts: vec![part(Side::A, 0..d - d_b), part(Side::B, d - d_b..d)],
            gated: None,
            choices: vec![Choice { value: thousandths as u64, below: 1001 }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::testing::gpt2_small;

    fn split(ratio: f64, d: usize) -> [usize; 2] {
        let plan = Fixed { ratio }.plan(&gpt2_small(), d).unwrap();
        [0, 1].map(|side| plan.parts[side].coordinates.len())
    }

    #[test]
    fn the_published_splits() {
        for (ratio, d, expected) in [
            (0.8, 1_000, [200, 800]),
            (0.5, 1_000, [500, 500]),
            (0.2, 1_000, [800, 200]),
            (0.8, 2_000, [400, 1_600]),
            (0.2, 2_000, [1_600, 400]),
            (0.0, 7, [7, 0]),
            (1.0, 7, [0, 7]),
            (0.5, 7, [3, 4]),      // 3.5 rounds up
            (0.29, 100, [71, 29]), // 0.29 * 100 is 28.999... in binary
        ] {
            assert_eq!(split(ratio, d), expected, "{ratio} of {d}");
        }
    }

    #[test]
    fn every_coordinate_is_spent_once() {
        for d in 1..=5_000 {
            for ratio in [0.0, 0.001, 0.2, 0.333, 0.5, 0.8, 0.999, 1.0] {
                assert_eq!(split(ratio, d).iter().sum::<usize>(), d);
            }
        }
    }

    #[test]
    fn ratios_that_are_none() {
        for ratio in [-0.001, 1.001, 0.1234, 0.200_000_000_01, f64::NAN, f64::INFINITY] {
            let error = Fixed { ratio }.plan(&gpt2_small(), 10).unwrap_err();
            assert_eq!(error, AllocationError::Ratio { ratio: ratio.to_string() });
        }
    }
}
