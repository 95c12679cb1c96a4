//! A slice for each layer, which a learned gate divides between its A and its B.
//!
//! # Definition
//! $d$ is cut into slices $d_l$ in proportion to the parameters of the groups (largest remainder), but
//! none longer than the smaller side of its group, which could not use it, and none empty. Group $l$
//! has one logit $\vartheta_l$, 0 at first, and $\gamma_l = \sigma(\vartheta_l)$:
//! $$ A_l = A_{l,0} + P_{l,A} ((1 - m_l) \odot \alpha_l), \qquad
//!    B_l = B_{l,0} + P_{l,B} (m_l \odot \alpha_l), $$
//! with the mask $m_l$ of the [gate](crate::gate). The groups are the blocks, found by `h.N` in the
//! names, and one more of what is in none.
//!
//! # Notes on the reference implementation
//! The public code caps a slice at $\max(2048, d / 26)$ and refills greedily: at $d = 20\,000$ the first
//! layers of GPT-2 small get three times the last ones, a trend with depth that is none.

use serde::{Deserialize, Serialize};

use super::{Allocation, Plan, gated_parts, slices};
use crate::gate::AnyGate;
use crate::{AllocationError, Layout};

/// A gate for each layer's own slice.
///
/// ```toml
/// kind = "learned"
/// gate = { kind = "soft-mask", sharpness = 10.0 }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Learned {
    /// What a gate does.
    pub gate: AnyGate,
}

impl Allocation for Learned {
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        self.gate.as_dyn().check()?;
        Ok(gated_parts(&slices(layout, d)?, self.gate.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::testing::{gpt2_small, tiny};

    #[test]
    fn slices_of_gpt2_small() {
        let slices = |d| {
            let plan = Learned::default().plan(&gpt2_small(), d).unwrap();
            plan.gated.unwrap().groups.into_iter().map(|(_, width)| width).collect::<Vec<_>>()
        };
        // 12 288 of 351 744 parameters are 34.93 of 1000 coordinates, 204 288 are 580.8. All twelve
        // remainders are larger than that of the rest, and the 12 coordinates left go to 11 or 12.
        let layers = |len: usize| vec![len; 12];
        assert_eq!(slices(1_000), [layers(35), vec![580]].concat());
        // The head's A has 3 072 parameters; 16 928 in 12 are 1 410 and eight more.
        let capped = [vec![1_411; 8], vec![1_410; 4], vec![3_072]].concat();
        assert_eq!(slices(20_000), capped);
    }

    #[test]
    fn requests_without_room() {
        let error = |d| Learned::default().plan(&tiny(), d).unwrap_err();
        assert_eq!(error(2), AllocationError::TooFew { d: 2, groups: 3 });
        let room = 2 * 16 + 16;
        assert_eq!(error(room + 1), AllocationError::NoRoom { d: room + 1, room });
        assert!(Learned::default().plan(&tiny(), room).is_ok());
    }
}
