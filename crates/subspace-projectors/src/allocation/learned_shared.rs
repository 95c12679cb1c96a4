//! Every layer receives all coordinates, through projectors and a gate of its own.
//!
//! # Definition
//! As [`crate::Learned`] with $\alpha_l = \alpha$ for every group $l$:
//! $$ A_l = A_{l,0} + P_{l,A} ((1 - m_l) \odot \alpha), \qquad
//!    B_l = B_{l,0} + P_{l,B} (m_l \odot \alpha) . $$
//! The layers share their weights in a random basis. The code holds one $\alpha$, which is its length:
//! nothing is divided by the number of layers. $d$ may not exceed the smallest side of any group,
//! beyond which its projector has directions without effect.
//!
//! # Notes on the reference implementation
//! The public code gives all projectors one seed, so that all layers have the same increments up to
//! their gates, and divides the code length by the number of groups.

use serde::{Deserialize, Serialize};

use super::{Allocation, Part, Plan, gated_parts};
use crate::gate::AnyGate;
use crate::{AllocationError, Layout, Side};

/// A gate for each layer over one vector for all.
///
/// ```toml
/// kind = "learned-shared"
/// gate = { kind = "annealed", harden = 0.9 }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedShared {
    /// What a gate does.
    pub gate: AnyGate,
}

impl Allocation for LearnedShared {
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        self.gate.as_dyn().check()?;
        let sizes = super::sides(layout)?;
        for (group, [a, b]) in &sizes {
            if d > *a.min(b) {
                let side = if a < b { Side::A } else { Side::B };
                let part = Part { group: Some(*group), side: Some(side), coordinates: 0..d };
                return Err(AllocationError::TooWide { part, d, parameters: *a.min(b) });
            }
        }
        let slices: Vec<_> = sizes.into_iter().map(|(group, _)| (group, 0..d)).collect();
        Ok(gated_parts(&slices, self.gate.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::testing::gpt2_small;

    #[test]
    fn every_group_sees_all_coordinates() {
        let plan = LearnedShared::default().plan(&gpt2_small(), 3_072).unwrap();
        assert_eq!(plan.parts.len(), 26);
        assert!(plan.parts.iter().all(|part| part.coordinates == (0..3_072)));
        assert!(plan.gated.unwrap().groups.iter().all(|(_, width)| *width == 3_072));
    }

    #[test]
    fn a_side_with_fewer_parameters_is_named() {
        let error = LearnedShared::default().plan(&gpt2_small(), 3_073).unwrap_err();
        let expected = "A of `rest` has 3072 parameters, expected at least its 3073 coordinates";
        assert_eq!(error.to_string(), expected);
    }
}
