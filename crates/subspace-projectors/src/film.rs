//! Site selection: a dense random matrix on the parameters of chosen tensors, nothing on the others.
//!
//! # Definition
//! On the coordinates $S$ of the tensors that match, $P_{ij} = z_{ij} / \sqrt{|S|}$ with standard normal
//! $z_{ij}$, regenerated for every product; 0 elsewhere. $d$ may not exceed $|S|$.
//!
//! # Reference
//! After E. Perez et al., *FiLM*, AAAI 2018, arXiv:1709.07871; as a projector in S. Lotfi et al.,
//! arXiv:2211.13609, `FiLMLazyRandom` of `projectors.py`.
//!
//! # Notes on the reference implementation
//! Its names (bn, fc, norm, classifier) are fixed and match no LoRA tensor, which crashes. Here they are
//! a setting, and an empty match is an error.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::operator::{BlockDiagonal, Dense, Entries, Permuted};
use crate::sites::Selection;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// A dense Gaussian matrix on chosen sites. By default all B, the side that has a gradient from the
/// first step.
///
/// ```toml
/// kind = "film"
/// sites = ["h.*.attn.v.lora_B", "head.*"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Film {
    /// Names of tensors, where `*` stands for any characters. One match selects a tensor.
    pub sites: Vec<String>,
}

impl Default for Film {
    fn default() -> Self {
        Self { sites: vec!["*.lora_B".to_owned()] }
    }
}

impl ProjectorMethod for Film {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let selection = Selection::new(layout, d, &self.sites)?;
        if d > selection.len {
            return Err(ProjectorError::AboveSelection { intrinsic: d, selected: selection.len });
        }
        Ok(on_sites(selection, &key))
    }
}

/// The matrix itself.
pub(crate) fn on_sites(
    Selection { shape, order, len }: Selection,
    key: &Key,
) -> Box<dyn Projector> {
    let block = Shape { ambient: len, ..shape };
    let entries = Entries::Normals(key.derive("normals"));
    let dense = Dense::new(block, 1.0 / len as f64, entries);
    let inner = BlockDiagonal::new(shape.ambient, vec![Box::new(dense)]);
    Box::new(Permuted::to(order, inner))
}
