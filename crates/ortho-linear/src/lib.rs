#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "exact where the arithmetic is"))]
#![cfg_attr(
    test,
    expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers of tests"
    )
)]

mod alpha;
mod base;
mod change;
mod csr;
mod diagnosis;
mod error;
mod file;
pub mod gaussian;
#[cfg(feature = "flex")]
mod host_stream;
mod layer;
mod mask;
mod matrix;
mod model;
mod pattern;
mod product;
mod selection;
mod split;
mod split_config;
mod stream_format;

#[cfg(test)]
mod conformance;

pub use alpha::Alpha;
pub use base::*;
pub use change::Change;
pub use csr::Csr;
pub use diagnosis::{
    Cause, ClipRule, Diagnosis, Estimate, RowClass, RuleError, Verdict, output_error,
};
pub use error::OrthoError;
pub use file::{FILE_NAME, OrthoCheckpoint, OrthoFileError, load, save};
pub use layer::{OrthoLinear, Outliers};
pub use mask::Mask;
pub use matrix::{Matrix, Reference, Scope, Storage};
pub use model::{OrthoGpt2, Streams};
pub use pattern::{IndexWidth, Indices, Pattern};
pub use selection::*;
pub use split::{Construction, Inert, Split};
pub use split_config::SplitConfig;
pub use stream_format::StreamFormat;
