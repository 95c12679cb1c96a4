//! What can be wrong with a layout, or a request for a projector or an allocation.

use thiserror::Error;

use crate::Group;
use crate::allocation::Part;

/// Why a projector cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProjectorError {
    /// There is nothing to train.
    #[error("the intrinsic dimension is 0, expected at least 1")]
    NoDimension,
    /// More coordinates than parameters: some of them would have no effect.
    #[error(
        "the intrinsic dimension is {intrinsic}, expected at most the ambient dimension {ambient}"
    )]
    AboveAmbient {
        /// What was asked for.
        intrinsic: usize,
        /// The number of trainable parameters.
        ambient: usize,
    },
    /// A site selection without a site.
    #[error("no tensor matches {patterns:?}, expected a name such as `{example}`")]
    NoSite {
        /// The patterns of the configuration.
        patterns: Vec<String>,
        /// A name of the layout.
        example: String,
    },
    /// More coordinates than selected parameters, in a projector that moves nothing else.
    #[error(
        "the intrinsic dimension is {intrinsic}, expected at most the {selected} selected parameters"
    )]
    AboveSelection {
        /// What was asked for.
        intrinsic: usize,
        /// The number of parameters of the selected sites.
        selected: usize,
    },
    /// No coordinate is left for the parameters beside the selected ones.
    #[error(
        "the intrinsic dimension is {intrinsic}, expected more than the {selected} selected parameters"
    )]
    WithinSelection {
        /// What was asked for.
        intrinsic: usize,
        /// The number of parameters of the selected sites.
        selected: usize,
    },
}

/// Why tensors do not make a layout, or do not fit one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two tensors of one name.
    #[error("tensor `{name}` is listed twice, expected every name once")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor without an element.
    #[error("tensor `{name}` has shape {shape:?}, expected no zero")]
    NoElement {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Coordinates are counted in 32 bits.
    #[error("the tensors up to `{name}` have too many elements, expected at most {}", u32::MAX)]
    TooLarge {
        /// The first tensor above the limit.
        name: String,
    },
    /// Too few or too many tensors.
    #[error("{found} tensors, expected {expected}")]
    Count {
        /// How many were given.
        found: usize,
        /// How many the layout has.
        expected: usize,
    },
    /// Too few or too many elements of one tensor.
    #[error("tensor `{name}` has {found} elements, expected {expected}")]
    Length {
        /// Its name.
        name: String,
        /// How many were given.
        found: usize,
        /// The product of its shape.
        expected: usize,
    },
    /// A flat vector of another layout.
    #[error("the flat vector has {found} elements, expected {expected}")]
    Flat {
        /// Its length.
        found: usize,
        /// The ambient dimension.
        expected: usize,
    },
}

/// Why coordinates cannot be spent as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// An intrinsic dimension of 0, or above the ambient one.
    #[error(transparent)]
    Dimension(#[from] ProjectorError),
    /// Tensors that make no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A share that is none.
    #[error("the ratio is {ratio}, expected 0 to 1 with at most three decimals")]
    Ratio {
        /// As given.
        ratio: String,
    },
    /// Two ways to say the same.
    #[error("`per-layer` has a table and a ratio, expected one of them")]
    RatioAndTable,
    /// A setting of a gate.
    #[error("the gate's `{name}` is {value}, expected {expected}")]
    Gate {
        /// Of the setting.
        name: &'static str,
        /// As given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A tensor that no side of an adapter owns.
    #[error(
        "`{name}` is neither A nor B of an adapter; without adapters, only `uniform` can allocate"
    )]
    NoSide {
        /// Its name.
        name: String,
    },
    /// A group with one side only, which nothing divides.
    #[error("`{group}` has parameters on one side only, expected both for a gate to divide")]
    OneSided {
        /// The group.
        group: Group,
    },
    /// A row for what the model does not have.
    #[error("the table has a row for `{group}`, expected only {}", listed(known))]
    UnknownGroup {
        /// The group.
        group: Group,
        /// Those of the model.
        known: Vec<Group>,
    },
    /// A group without a row.
    #[error(
        "the table has no row for `{group}`, expected one for every group; [0, 0] leaves it alone"
    )]
    NoRow {
        /// The group.
        group: Group,
    },
    /// A table for another dimension.
    #[error("the table allocates {sum} coordinates, expected all {d} of the intrinsic dimension")]
    Sum {
        /// Of the table.
        sum: usize,
        /// The intrinsic dimension.
        d: usize,
    },
    /// A group would have no coordinate.
    #[error(
        "the intrinsic dimension is {d}, expected at least one coordinate for each of {groups} groups"
    )]
    TooFew {
        /// The intrinsic dimension.
        d: usize,
        /// How many groups there are.
        groups: usize,
    },
    /// More coordinates than both sides of every group can use.
    #[error(
        "the intrinsic dimension is {d}, expected at most {room}, the parameters of the smaller side of every group"
    )]
    NoRoom {
        /// The intrinsic dimension.
        d: usize,
        /// The most.
        room: usize,
    },
    /// More coordinates than parameters in one part.
    #[error("{part} has {parameters} parameters, expected at least its {d} coordinates")]
    TooWide {
        /// The part.
        part: Part,
        /// Its coordinates.
        d: usize,
        /// Its parameters.
        parameters: usize,
    },
    /// The projector of one part cannot be.
    #[error("{part}: {source}")]
    Projector {
        /// The part.
        part: Part,
        /// Why.
        source: ProjectorError,
    },
    /// A code that this allocation does not write.
    #[error("the stored allocation {found:?} is not the configured one, expected {expected}")]
    OtherCode {
        /// The numbers that were read.
        found: Vec<u64>,
        /// What they have to be.
        expected: String,
    },
}

fn listed(groups: &[Group]) -> String {
    groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", ")
}
