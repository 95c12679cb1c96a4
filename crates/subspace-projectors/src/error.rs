//! What can be wrong with a layout or a request for a projector.

use thiserror::Error;

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
