//! The baseline: one projector over everything.
//!
//! # Definition
//! $\theta = \theta_0 + P \alpha$ with all trained tensors in one flat vector.
//!
//! # Reference
//! S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, ICML 2024,
//! arXiv:2312.17173. Every coordinate touches both sides, in proportion to their parameters: 21.8 %
//! of what it does to GPT-2 small at any rank is in A. That is another model than equal shares
//! ([`crate::Fixed`] at 0.5).

use serde::{Deserialize, Serialize};

use super::{Allocation, Part, Plan};
use crate::{AllocationError, Layout};

/// All coordinates for all parameters.
///
/// ```toml
/// kind = "uniform"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uniform {}

impl Allocation for Uniform {
    fn plan(&self, _layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        let all = Part { group: None, side: None, coordinates: 0..d };
        Ok(Plan { parts: vec![all], gated: None, choices: Vec::new() })
    }
}
