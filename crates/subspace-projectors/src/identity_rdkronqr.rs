//! Chosen parameters trained directly, rounded double Kronecker with orthonormal factors for the rest.
//!
//! # Definition
//! The first $|S|$ coordinates are added to the parameters of the chosen sites, in the order of the
//! layout; the other $d - |S|$ move the other $D - |S|$ parameters through [`crate::Rdkronqr`]. $d$ must
//! exceed $|S|$.
//!
//! # Reference
//! S. Lotfi et al., arXiv:2312.17173, `sublora/nn/projectors.py`, `LazySTFiLMRDKronQR`.
//!
//! # Notes on the reference implementation
//! It ignores the requested seed here.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::operator::{BlockDiagonal, Identity, Permuted};
use crate::rdkron::rounded;
use crate::sites::Selection;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Identity on chosen sites, beside rounded double Kronecker. By default on the head's A, 3 072
/// parameters of GPT-2 small at rank 4.
///
/// ```toml
/// kind = "identity+rdkronqr"
/// sites = ["*head.lora_A"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityRdkronqr {
    /// Names of tensors, as in [`crate::Film`].
    pub sites: Vec<String>,
}

impl Default for IdentityRdkronqr {
    fn default() -> Self {
        Self { sites: vec!["*head.lora_A".to_owned()] }
    }
}

impl ProjectorMethod for IdentityRdkronqr {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let Selection { shape, order, len } = Selection::new(layout, d, &self.sites)?;
        if d <= len {
            return Err(ProjectorError::WithinSelection { intrinsic: d, selected: len });
        }
        let rest = Shape { ambient: shape.ambient - len, intrinsic: d - len };
        let rest = rounded(rest, Factor::orthonormal, key.derive("rdkronqr"));
        let inner = BlockDiagonal::new(shape.ambient, vec![Box::new(Identity(len)), rest]);
        Ok(Box::new(Permuted::to(order, inner)))
    }
}
