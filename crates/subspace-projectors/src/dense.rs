//! A dense random matrix, regenerated for every product and never stored.
//!
//! # Definition
//! $P_{ij} = z_{ij} / \sqrt D$ with independent $z_{ij}$ of mean 0 and variance 1, standard normals or
//! signs $\pm 1$ (Rademacher). Either way
//! $$ \mathbb{E}\,\lVert P v \rVert^2 = \sum_{ijk} v_j v_k\,\mathbb{E}[P_{ij} P_{ik}]
//! = \sum_i \sum_j v_j^2 / D = \lVert v \rVert^2, $$
//! for only means and variances enter. A sign costs one random bit and no multiplication, where a normal
//! costs a word and the elementary functions.
//!
//! # Reference
//! C. Li et al., *Measuring the Intrinsic Dimension of Objective Landscapes*, ICLR 2018,
//! arXiv:1804.08838; S. Lotfi et al., arXiv:2312.17173, `sublora/nn/projectors.py`, `LazyRandom`.
//!
//! # Notes on the reference implementation
//! It draws from the generator of the device, so that CPU and GPU decode different models.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::operator::{Dense as Operator, Entries};
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// A dense random matrix. The default is the Gaussian one of the papers.
///
/// ```toml
/// kind = "dense"
/// distribution = "rademacher"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dense {
    /// What the entries are drawn from.
    pub distribution: Distribution,
}

/// The law of the entries of a [`Dense`] matrix, with mean 0 and variance 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Standard normals.
    #[default]
    Gaussian,
    /// Signs: one random bit for an entry, some hundred times faster.
    Rademacher,
}

impl ProjectorMethod for Dense {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let shape = Shape::checked(layout, d)?;
        let entries = match self.distribution {
            Distribution::Gaussian => Entries::Normals(key.derive("normals")),
            Distribution::Rademacher => Entries::Signs(key.derive("signs")),
        };
        Ok(Box::new(Operator::new(shape, 1.0 / shape.ambient as f64, entries)))
    }
}
