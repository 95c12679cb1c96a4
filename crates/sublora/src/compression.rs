//! What compressing a run did: where the bits go, what quantising cost, who has the coordinates.

use std::path::Path;

use serde::{Deserialize, Serialize};
use subspace_projectors::{Allocated, Gates, Group, SideValue};

use crate::artifact::CodeLength;
use crate::{Error, json_record};

const FILE: &str = "compression.json";
const WHAT: &str = "record of a compression";
const VERSION: u32 = 1;

/// `compression.json` of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    version: u32,
    /// $d$.
    pub intrinsic_dim: u64,
    /// $D$.
    pub trained_weights: u64,
    /// $D / d$.
    pub compression_ratio: f64,
    /// Where the bits of the code go.
    pub bits: CodeLength,
    /// $K$, their sum.
    pub code_length: u64,
    /// $K / d$.
    pub bits_per_coordinate: f64,
    /// Held-out loss of the trained model, in bits per token, on the windows of the training loop.
    pub trained_bits_per_token: f64,
    /// The same of the decoded model.
    pub decoded_bits_per_token: f64,
    /// Their difference: what quantising cost.
    pub quantization_loss: f64,
    /// The share of B of every gate, as decoded.
    pub gates: Vec<GateShare>,
    /// Pearson's correlation of that share with the number of the layer; of four layers or more whose
    /// shares differ, since that of two is 1 or -1 whatever they are.
    pub gate_depth_pearson: Option<f64>,
    /// Spearman's.
    pub gate_depth_spearman: Option<f64>,
    /// Coordinates of each side of each group, as [`Allocated::effective_dimensions`] counts them.
    pub effective_dimensions: Vec<SideValue>,
}

/// A gate as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateShare {
    /// Its group.
    pub group: Group,
    /// $\gamma$.
    pub share: f64,
}

impl Compression {
    /// Of a model whose loss was `before` and is `after`, in bits per token.
    pub(crate) fn new(
        allocated: &Allocated,
        gates: &Gates,
        bits: CodeLength,
        [before, after]: [f64; 2],
    ) -> Self {
        let shape = allocated.shape();
        let groups = allocated.plan().gated.iter().flat_map(|gated| &gated.groups);
        let gate = |(&(group, _), share): (&(Group, usize), f64)| GateShare { group, share };
        let shares: Vec<GateShare> = groups.zip(gates.shares()).map(gate).collect();
        let depth = shares.iter().filter_map(|it| match it.group {
            Group::Layer(layer) => Some((f64::from(layer), it.share)),
            Group::Rest => None,
        });
        let depth: Vec<(f64, f64)> = depth.collect();
        let depth = if depth.len() < 4 { &[] } else { &depth[..] };
        let code_length = bits.total();
        Self {
            version: VERSION,
            intrinsic_dim: shape.intrinsic as u64,
            trained_weights: shape.ambient as u64,
            compression_ratio: shape.ambient as f64 / shape.intrinsic as f64,
            bits,
            code_length,
            bits_per_coordinate: code_length as f64 / shape.intrinsic as f64,
            trained_bits_per_token: before,
            decoded_bits_per_token: after,
            quantization_loss: after - before,
            gate_depth_pearson: spectral::pearson(depth),
            gate_depth_spearman: spectral::spearman(depth),
            gates: shares,
            effective_dimensions: allocated.effective_dimensions(gates),
        }
    }

    /// That of the run in `folder`.
    ///
    /// # Errors
    /// No file, or one that this version did not write.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        json_record::read(&folder.join(FILE), WHAT, VERSION)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_record::write(&folder.join(FILE), self)
    }
}
