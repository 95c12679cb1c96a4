#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "exact where the arithmetic is"))]
#![expect(clippy::cast_possible_truncation, reason = "symbols < 2^8, counts <= d <= 2^30")]

mod bit_width;
mod bits;
mod choices;
mod codebook;
mod coded_vector;
pub mod dorefa;
mod entropy;
mod entropy_model;
mod error;
mod frequencies;
mod granularity;
mod grid;
mod half_precision;
mod kernel;
mod learned;
pub mod nested;
pub mod qat;
mod quantizer;
mod range;
mod range_coder;
mod report;
mod sorted;
mod stochastic;

mod entropy_constrained;
mod k_means;
mod uniform;

use std::num::NonZeroU8;

pub use bit_width::BitWidth;
pub use choices::{read_choices, write_choices};
pub use codebook::Codebook;
pub use coded_vector::{CodeLength, CodedVector};
pub use entropy::{entropy_bits, krichevsky_trofimov_bits};
pub use error::{CodebookError, DecodeError, QuantizerError};
pub use granularity::{Granularity, Groups, Operand};
pub use grid::*;
pub use half_precision::Half;
pub use learned::{Gradients, ScaleRule, gradient_factor};
pub use quantizer::{Derivatives, MatrixGradients, Quantizer};
pub use range::*;
pub use report::Distortion;
pub use sorted::SortedValues;
pub use stochastic::GradientQuantizer;

/// A rule that places the levels of a scalar quantiser for given values.
pub trait CodebookMethod {
    /// At most `levels` centroids for `sorted`, `[levels]` in any order, not yet rounded.
    ///
    /// # Errors
    /// If a setting is out of its range, or a centroid that must be compared does not fit fp16.
    fn centroids(
        &self,
        sorted: &SortedValues,
        levels: NonZeroU8,
    ) -> Result<Vec<f64>, CodebookError>;
}

registry::methods! {
    /// Every codebook of this crate.
    pub enum AnyCodebook: dyn CodebookMethod {
        /// Bins of equal width over the range of the values, represented by their means.
        uniform::Uniform = "uniform",
        /// Least squared error, exactly, by dynamic programming.
        k_means::KMeans = "k-means",
        /// Squared error and code length weighed against each other.
        entropy_constrained::EntropyConstrained = "entropy-constrained",
    }
}

/// Quantises `values`, `[d]`, to at most `levels` levels: places centroids, rounds them to fp16,
/// gives every value the nearest stored one, and drops those that none chose.
///
/// # Errors
/// If there are no or too many values, one is not finite, a centroid does not fit fp16, or a setting
/// of the method is out of its range.
pub fn quantize(
    method: &dyn CodebookMethod,
    values: &[f32],
    levels: NonZeroU8,
) -> Result<CodedVector, CodebookError> {
    let centroids = method.centroids(&SortedValues::new(values)?, levels)?;
    CodedVector::nearest(values, &centroids)
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod grid_conformance;
#[cfg(test)]
mod range_conformance;
