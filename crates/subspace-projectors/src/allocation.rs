//! How the coordinates are spent on the matrices of the adapters.
//!
//! # Definition
//! A method makes a [`Plan`]: a list of parts, each a set of tensors and the slice of
//! $\alpha \in \mathbb{R}^d$ that moves them, so that
//! $$ \theta_p = \theta_{0,p} + P_p\,(w_p \odot \alpha_{s(p)}) $$
//! with a projector of its own for every part. The weights $w_p$ are 1, or what a gate
//! ([`crate::gate`]) gives to the side. Every tensor is in one part at most; one that is in none stays
//! where it began.

mod fixed;
mod learned;
mod learned_shared;
mod per_layer;
mod proportional;
mod uniform;

use std::ops::Range;

use self::proportional::proportional;
use crate::gate::AnyGate;
use crate::{AllocationError, Group, Layout, Side, Tensor};

registry::methods! {
    /// Every way to spend the coordinates.
    pub enum AnyAllocation: dyn Allocation {
        /// One projector over all parameters: every coordinate moves both sides of all layers.
        uniform::Uniform = "uniform",
        /// A given share of the coordinates for all B, the others for all A.
        fixed::Fixed = "fixed",
        /// A given number of coordinates for each side of each layer.
        per_layer::PerLayer = "per-layer",
        /// A slice for each layer, which a learned gate divides between A and B.
        learned::Learned = "learned",
        /// All coordinates for every layer, weighted between A and B by a learned gate of its own.
        learned_shared::LearnedShared = "learned-shared",
    }
}

impl Default for AnyAllocation {
    fn default() -> Self {
        Self::Uniform(Uniform::default())
    }
}

/// A way to spend coordinates.
pub trait Allocation {
    /// Who receives which of `d` coordinates.
    ///
    /// # Errors
    /// A setting that no model can have, or one that does not fit `layout` and `d`.
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError>;
}

/// Who receives which coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Parts of the model, each with its coordinates.
    pub parts: Vec<Part>,
    /// What divides a slice between the sides of a group, a gate each; none where nothing is gated.
    pub gated: Option<Gated>,
    /// What the user chose among how many possibilities; whoever certifies pays for it.
    pub choices: Vec<Choice>,
}

/// Tensors that are moved by the same coordinates through the same projector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of this group only.
    pub group: Option<Group>,
    /// Of this side only.
    pub side: Option<Side>,
    /// The slice of $\alpha$.
    pub coordinates: Range<usize>,
}

/// The gates of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Gated {
    /// What a gate does.
    pub gate: AnyGate,
    /// The groups that have one, and over how many coordinates, in the order of the logits.
    pub groups: Vec<(Group, usize)>,
}

/// A number chosen among finitely many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The number.
    pub value: u64,
    /// What it is below.
    pub below: u64,
}

impl Plan {
    /// What every number that is stored of this plan is below: its choices, then its gates.
    pub fn limits(&self) -> Vec<u64> {
        let gates = self.gated.iter().flat_map(|gated| {
            gated.groups.iter().map(|&(_, width)| gated.gate.as_dyn().code(width).values(width))
        });
        self.choices.iter().map(|choice| choice.below).chain(gates).collect()
    }
}

impl Part {
    /// Whether it has this tensor.
    pub fn holds(&self, tensor: &Tensor) -> bool {
        self.group.is_none_or(|it| it == tensor.group())
            && self.side.is_none_or(|it| Some(it) == tensor.side())
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.group, self.side) {
            (Some(group), Some(side)) => write!(f, "{side} of `{group}`"),
            (Some(group), None) => write!(f, "`{group}`"),
            (None, Some(side)) => write!(f, "{side} of all layers"),
            (None, None) => write!(f, "all layers"),
        }
    }
}

/// The number of parameters of both sides of each group, `[A, B]`.
///
/// # Errors
/// [`AllocationError::NoSide`] for a tensor that is neither.
fn sides(layout: &Layout) -> Result<Vec<(Group, [usize; 2])>, AllocationError> {
    let count = |(group, tensors): (Group, Vec<&Tensor>)| {
        let mut sides = [0, 0];
        for tensor in tensors {
            match tensor.side() {
                Some(side) => sides[side as usize] += tensor.range().len(),
                None => return Err(AllocationError::NoSide { name: tensor.name().to_owned() }),
            }
        }
        Ok((group, sides))
    };
    layout.groups().into_iter().map(count).collect()
}

/// A ratio in thousandths.
///
/// # Errors
/// [`AllocationError::Ratio`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "0 to 1000, which is checked, and this number exactly"
)]
fn thousandths(ratio: f64) -> Result<usize, AllocationError> {
    let rounded = (ratio * 1e3).round();
    // The number that is written with three decimals, and no other near it.
    if (0.0..=1e3).contains(&rounded) && rounded / 1e3 == ratio {
        return Ok(rounded as usize);
    }
    Err(AllocationError::Ratio { ratio: ratio.to_string() })
}

/// `d` coordinates cut into a slice for each group, in proportion to its parameters (largest remainder),
/// none longer than the smaller side of its group and none empty.
///
/// # Errors
/// [`AllocationError`], where there are too few or too many coordinates for that.
fn slices(layout: &Layout, d: usize) -> Result<Vec<(Group, Range<usize>)>, AllocationError> {
    let sizes = sides(layout)?;
    let weights: Vec<usize> = sizes.iter().map(|(_, [a, b])| a + b).collect();
    let most: Vec<usize> = sizes.iter().map(|(_, [a, b])| *a.min(b)).collect();
    let room = most.iter().sum();
    if d < sizes.len() {
        return Err(AllocationError::TooFew { d, groups: sizes.len() });
    }
    if let Some(place) = most.iter().position(|&most| most == 0) {
        return Err(AllocationError::OneSided { group: sizes[place].0 });
    }
    if d > room {
        return Err(AllocationError::NoRoom { d, room });
    }
    let mut start = 0;
    let slice = |(len, (group, _)): (usize, &(Group, [usize; 2]))| {
        let slice = start..start + len;
        start += len;
        (*group, slice)
    };
    Ok(proportional(d, &weights, &most).into_iter().zip(&sizes).map(slice).collect())
}

/// The plan in which a gate divides the slice of each group between its sides.
fn gated_parts(slices: &[(Group, Range<usize>)], gate: AnyGate) -> Plan {
    let part = |side| {
        move |(group, slice): &(Group, Range<usize>)| Part {
            group: Some(*group),
            side: Some(side),
            coordinates: slice.clone(),
        }
    };
    let parts = slices.iter().flat_map(|slice| [part(Side::A)(slice), part(Side::B)(slice)]);
    let groups = slices.iter().map(|(group, slice)| (*group, slice.len()));
    Plan {
        parts: parts.collect(),
        gated: Some(Gated { gate, groups: groups.collect() }),
        choices: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doc_has_a_configuration_that_parses() {
        for method in AnyAllocation::all() {
            let file = method.name().replace('-', "_");
            let file = format!("{}/src/allocation/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            let source = std::fs::read_to_string(file).unwrap();
            let (_, snippet) = source.split_once("/// ```toml\n").unwrap();
            let (snippet, _) = snippet.split_once("/// ```").unwrap();
            let parsed: AnyAllocation = toml::from_str(&snippet.replace("/// ", "")).unwrap();
            assert_eq!(parsed.name(), method.name());
            let default = toml::from_str(&format!("kind = {:?}", method.name()));
            assert_eq!(default.as_ref(), Ok(&method));
            let written = toml::to_string(&parsed).unwrap();
            assert_eq!(toml::from_str::<AnyAllocation>(&written), Ok(parsed));
        }
        let error = toml::from_str::<AnyAllocation>("kind = \"fixed\"\nrate = 1").unwrap_err();
        assert!(error.message().contains("unknown field `rate`, expected `ratio`"), "{error}");
    }

    #[test]
    fn tensors_without_a_side_are_for_uniform_only() {
        let layout = Layout::new([("wte", [8]), ("h.0.lora_A", [8])]).unwrap();
        for method in AnyAllocation::all() {
            let plan = method.as_dyn().plan(&layout, 4);
            assert_eq!(plan.is_ok(), method.name() == "uniform", "{}", method.name());
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::Layout;

    /// The adapters of rank `rank` on query and value of `layers` blocks of `d_model`, and on the head.
    fn layout(layers: usize, rank: usize, d_model: usize, vocab: usize) -> Layout {
        let blocks =
            (0..layers).flat_map(|layer| ["q", "v"].map(|it| format!("h.{layer}.attn.{it}")));
        let sites = blocks.map(|site| (site, d_model)).chain([("head".to_owned(), vocab)]);
        Layout::new(sites.flat_map(|(site, output)| {
            [
                (format!("{site}.lora_A"), [rank, d_model]),
                (format!("{site}.lora_B"), [output, rank]),
            ]
        }))
        .unwrap()
    }

    /// GPT-2 small at rank 4: 351 744 parameters in 13 groups.
    pub(crate) fn gpt2_small() -> Layout {
        layout(12, 4, 768, 50_304)
    }

    /// Two blocks of 16 + 16 parameters and a head of 16 + 40.
    pub(crate) fn tiny() -> Layout {
        let tensors = [
            ("h.0.attn.q.lora_A", [2, 4]),
            ("h.0.attn.q.lora_B", [4, 2]),
            ("h.0.attn.v.lora_A", [2, 4]),
            ("h.0.attn.v.lora_B", [4, 2]),
            ("h.1.attn.q.lora_A", [2, 4]),
            ("h.1.attn.q.lora_B", [4, 2]),
            ("h.1.attn.v.lora_A", [2, 4]),
            ("h.1.attn.v.lora_B", [4, 2]),
            ("head.lora_A", [2, 8]),
            ("head.lora_B", [20, 2]),
        ];
        Layout::new(tensors).unwrap()
    }
}
