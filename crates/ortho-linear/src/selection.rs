//! The selections: which weights go to the outlier stream.

mod fisher;
mod hessian;
mod iqr;
mod k_sigma;
mod magnitude;
mod memory_delta;
mod percentile;
mod random;

pub use fisher::Perturbation;

use crate::matrix::{check_finite, check_len, check_shape, quantile};
use crate::{Mask, Matrix, OrthoError, Scope};

/// What a selection may look at.
#[derive(Debug, Clone, Copy)]
pub struct Signals<'a> {
    pub(crate) weights: Matrix<'a>,
    pub(crate) pretrained: Option<Matrix<'a>>,
    pub(crate) fisher: Option<&'a [f32]>,
    pub(crate) hessian: Option<&'a [f32]>,
}

impl<'a> Signals<'a> {
    /// The weights alone.
    pub fn of(weights: Matrix<'a>) -> Self {
        Self { weights, pretrained: None, fisher: None, hessian: None }
    }

    /// With those before fine-tuning, $W_0$.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`].
    pub fn with_pretrained(self, pretrained: Matrix<'a>) -> Result<Self, OrthoError> {
        check_shape("the pretrained matrix", pretrained.shape(), self.weights.shape())?;
        Ok(Self { pretrained: Some(pretrained), ..self })
    }

    /// With the diagonal of the Fisher information, `[d_in, d_out]`: $F_{ij}$, the mean over samples of
    /// the squared gradient of each. The square of the mean gradient is another number.
    ///
    /// # Errors
    /// [`OrthoError::Length`], [`OrthoError::NotFinite`] or [`OrthoError::Negative`].
    pub fn with_fisher(self, fisher: &'a [f32]) -> Result<Self, OrthoError> {
        check_scores("Fisher information", fisher, self.weights.values().len())?;
        Ok(Self { fisher: Some(fisher), ..self })
    }

    /// With the diagonal of the Hessian of the layer's squared output error, `[d_in]`:
    /// $H_{ii} = 2 \sum_t x_{ti}^2$ over calibration tokens.
    ///
    /// # Errors
    /// [`OrthoError::Length`], [`OrthoError::NotFinite`] or [`OrthoError::Negative`].
    pub fn with_hessian(self, hessian: &'a [f32]) -> Result<Self, OrthoError> {
        check_scores("Hessian diagonal", hessian, self.weights.shape()[0])?;
        Ok(Self { hessian: Some(hessian), ..self })
    }

    /// $W - W_0$ at a place.
    fn delta(
        &self,
        selection: &'static str,
    ) -> Result<impl Fn(usize) -> f64 + Sync + 'a, OrthoError> {
        let needs = "the pretrained matrix";
        let before = self.pretrained.ok_or(OrthoError::Missing { selection, needs })?.values();
        let after = self.weights.values();
        Ok(move |place: usize| f64::from(after[place]) - f64::from(before[place]))
    }
}

fn check_scores(what: &'static str, scores: &[f32], expected: usize) -> Result<(), OrthoError> {
    check_len(what, scores.len(), expected)?;
    check_finite(what, scores)?;
    match scores.iter().position(|&it| it < 0.0) {
        None => Ok(()),
        Some(index) => Err(OrthoError::Negative { what, index, value: scores[index] }),
    }
}

/// A rule for the places of the outliers.
pub trait Selection {
    /// The mask of these weights. A rule with a ratio takes exactly `round(ratio * n)` of `n` values, of
    /// equal ones the first.
    ///
    /// # Errors
    /// [`OrthoError::Ratio`] or [`OrthoError::Setting`] for a setting out of its range,
    /// [`OrthoError::Missing`] without a signal that the rule needs.
    fn select(&self, signals: &Signals<'_>) -> Result<Mask, OrthoError>;
}

registry::methods! {
    /// Every selection of this crate.
    pub enum AnySelection: dyn Selection {
        /// The largest magnitudes.
        magnitude::Magnitude = "magnitude",
        /// Beyond a multiple of the interquartile range from the quartiles (SqueezeLLM, Kim et al. 2024).
        iqr::Iqr = "iqr",
        /// Further than k standard deviations from the mean.
        k_sigma::KSigma = "k-sigma",
        /// Outside two quantiles.
        percentile::Percentile = "percentile",
        /// Drawn from a seed: the control.
        random::Random = "random",
        /// The largest squared weights, or changes, times Fisher information.
        fisher::Fisher = "fisher",
        /// The largest squared weights times the Hessian of the layer's output (optimal brain damage).
        hessian::Hessian = "hessian",
        /// The largest changes of fine-tuning: what alpha then undoes.
        memory_delta::MemoryDelta = "memory-delta",
    }
}

/// The selection of the crate's default: the largest magnitudes.
impl Default for AnySelection {
    fn default() -> Self {
        Self::Magnitude(magnitude::Magnitude::default())
    }
}

/// The weights below the first or above the second of two ends, which are one pair for the matrix or one
/// for each channel.
fn outside(weights: Matrix<'_>, ends: &[[f64; 2]]) -> Mask {
    let d_out = weights.shape()[1];
    Mask::of(weights, |place, x| {
        let [low, high] = ends[place % d_out % ends.len()];
        f64::from(x) < low || f64::from(x) > high
    })
}

/// `ends` of the values of the matrix, or of those of each channel, which it may reorder.
fn ends_by(
    weights: Matrix<'_>,
    scope: Scope,
    ends: impl Fn(&mut [f32]) -> [f64; 2],
) -> Vec<[f64; 2]> {
    match scope {
        Scope::Matrix => vec![ends(&mut weights.values().to_vec())],
        Scope::Channel => {
            weights.channels().chunks_exact_mut(weights.shape()[0]).map(ends).collect()
        }
    }
}

/// The ends of a quantile from each side.
fn quantiles(values: &mut [f32], low: f64, high: f64) -> [f64; 2] {
    [quantile(values, low), quantile(values, high)]
}

/// [`OrthoError::Setting`] for a factor that is not a finite number above 0.
fn check_factor(key: &'static str, value: f64) -> Result<(), OrthoError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(OrthoError::Setting { key, value, expected: "a finite number above 0" })
    }
}
