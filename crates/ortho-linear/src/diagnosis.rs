//! What the base of a split does on its own, and whether a layer may be replaced by it.
//!
//! # Definition
//! The error of $\alpha = 0$, $\lVert W - B \rVert / \lVert W \rVert$, in three disjoint parts, whose squares
//! add up to its square: of the *mask*, where a construction without loss has another base; of *clipping*,
//! weights more than half a step beyond the codes of their channel; of *steps*, all others. A split is refused
//! if the error is above a budget, for a cause: clipping, if that part is more than half of the error, else the mask, if that is,
//! else the steps. It is refused, too, if the error of outputs on isotropic inputs is not within a tenth of
//! the error of the weights, of which it is an estimate: then there were too few of them.
//!
//! Inputs of a model are not isotropic: a few of them are loud, and what is lost there weighs more. Where such
//! inputs are [given](Diagnosis::with_activations), the error of outputs on them has to be within the budget
//! as well. A budget is about what the layer does, and neither figure bounds the other.
//!
//! The *shrinkage* $\langle W, W - B \rangle / \lVert W \rVert^2$ tells clipping from noise: what is clipped is
//! aligned with the weights, so that the largest of them shrink in every layer, and rounding is not.

mod clip_rule;
mod row_class;

pub use clip_rule::{ClipRule, Estimate, RuleError};
pub use row_class::RowClass;

use std::fmt;

use counter_rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::matrix::{check_finite, check_len, check_shape, energy, relative};
use crate::{Inert, OrthoError, Reference, Split};

/// How far the error of outputs may be from that of the weights.
const TOLERANCE: f64 = 0.1;

/// The base of a split beside the stored matrix. Errors are relative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// $\lVert W - B \rVert / \lVert W \rVert$.
    pub error: f64,
    /// The part of weights more than half a step beyond the codes.
    pub clipping: f64,
    /// The part of rounding.
    pub steps: f64,
    /// The part of what a construction without loss took out.
    pub mask: f64,
    /// $\langle W, W - B \rangle / \lVert W \rVert^2$.
    pub shrinkage: f64,
    /// Of outputs, $\lVert xW - xB \rVert / \lVert xW \rVert$ on isotropic inputs.
    pub outputs: f64,
    /// The same on inputs that the layer has in a model, if these were given.
    pub activations: Option<f64>,
    /// Why alpha has no effect, if it has none.
    pub inert: Option<Inert>,
}

/// What is wrong with a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Weights beyond the codes: more bits do not help, a wider range does.
    Clipping,
    /// Codes too far apart: more bits help, a wider range does not.
    Steps,
    /// Weights that only the outlier stream has.
    Mask,
    /// Outputs that are not those of the weights.
    Outputs,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clipping => "clipping",
            Self::Steps => "steps",
            Self::Mask => "mask",
            Self::Outputs => "outputs",
        })
    }
}

/// Whether a layer may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes; alpha may still be inert.
    Pass,
    /// No.
    Refuse(Cause),
}

impl Diagnosis {
    /// Compares the base of `split` with the matrix it was made of. Outputs are those of `tokens` inputs,
    /// drawn from `key` by a standard normal distribution; few tokens measure little, and 1,024 are
    /// within a few percent.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`], or [`OrthoError::Setting`] without tokens.
    pub fn of(
        reference: &Reference,
        split: &Split,
        tokens: usize,
        key: &Key,
    ) -> Result<Self, OrthoError> {
        let weights = reference.matrix();
        check_shape("the split", split.shape(), weights.shape())?;
        let [d_in, d_out] = weights.shape();
        if tokens == 0 {
            let expected = "at least 1";
            return Err(OrthoError::Setting { key: "tokens", value: 0.0, expected });
        }
        let takes_out = split.construction().is_lossless();
        let mut is_masked = vec![false; weights.values().len()];
        split.outliers().iter().for_each(|(place, _)| is_masked[place] = takes_out);
        let (mut clipping, mut steps, mut mask, mut shrinkage) = (0.0, 0.0, 0.0, 0.0);
        let pairs = weights.values().iter().zip(split.base().matrix().values());
        for (place, (&w, &b)) in pairs.enumerate() {
            let channel = &split.base().channels()[place % d_out];
            let error = f64::from(w) - f64::from(b);
            let half_step = channel.params.map_or(0.0, |it| 0.5 * it.scale);
            shrinkage += f64::from(w) * error;
            *if is_masked[place] {
                &mut mask
            } else if w < channel.low - half_step || w > channel.high + half_step {
                &mut clipping
            } else {
                &mut steps
            } += error.powi(2);
        }
        let mut x = vec![0.0; tokens.saturating_mul(d_in)];
        key.fill_normal(0, &mut x);
        let whole = energy(weights.values().iter().copied());
        Ok(Self {
            error: relative(clipping + steps + mask, whole),
            clipping: relative(clipping, whole),
            steps: relative(steps, whole),
            mask: relative(mask, whole),
            shrinkage: if whole > 0.0 { shrinkage / whole } else { 0.0 },
            outputs: output_error(reference, split, &x)?,
            activations: None,
            inert: split.inert(),
        })
    }

    /// With the error of outputs on inputs that the layer has in a model.
    ///
    /// # Shapes
    /// - x: `[tokens, d_in]`
    ///
    /// # Errors
    /// As [`output_error`].
    pub fn with_activations(
        self,
        reference: &Reference,
        split: &Split,
        x: &[f32],
    ) -> Result<Self, OrthoError> {
        Ok(Self { activations: Some(output_error(reference, split, x)?), ..self })
    }

    /// The larger of the errors that have to be within a budget: of the weights, and of outputs on the inputs of
    /// a model.
    pub fn largest_error(&self) -> f64 {
        self.activations.map_or(self.error, |it| it.max(self.error))
    }

    /// Whether the errors are within `budget`, a relative error, and outputs are what that of the weights says.
    pub fn verdict(&self, budget: f64) -> Verdict {
        if (self.outputs - self.error).abs() > TOLERANCE * self.error {
            Verdict::Refuse(Cause::Outputs)
        } else if self.largest_error() <= budget {
            Verdict::Pass
        } else if self.clipping > 0.5 * self.error {
            Verdict::Refuse(Cause::Clipping)
        } else if self.mask > 0.5 * self.error {
            Verdict::Refuse(Cause::Mask)
        } else {
            Verdict::Refuse(Cause::Steps)
        }
    }
}

/// $\lVert xW - xB \rVert / \lVert xW \rVert$ for any inputs, for example those that a model has.
///
/// # Shapes
/// - x: `[tokens, d_in]`
///
/// # Errors
/// [`OrthoError::ShapeMismatch`], or [`OrthoError::Length`] and [`OrthoError::NotFinite`] of inputs.
pub fn output_error(reference: &Reference, split: &Split, x: &[f32]) -> Result<f64, OrthoError> {
    let weights = reference.matrix();
    check_shape("the split", split.shape(), weights.shape())?;
    let [d_in, d_out] = weights.shape();
    check_len("`x`", x.len(), x.len().next_multiple_of(d_in))?;
    check_finite("input", x)?;
    let base = split.base().matrix().values();
    let token = |x: &[f32]| {
        let mut sums = vec![[0.0_f64; 2]; d_out];
        for (input, &x) in x.iter().enumerate() {
            let row = input * d_out..(input + 1) * d_out;
            let pairs = weights.values()[row.clone()].iter().zip(&base[row]);
            for (sum, (&w, &b)) in sums.iter_mut().zip(pairs) {
                let [w, b, x] = [w, b, x].map(f64::from);
                sum[0] += x * (w - b);
                sum[1] += x * w;
            }
        }
        sums.iter().fold([0.0; 2], |[e, y], it| [e + it[0] * it[0], y + it[1] * it[1]])
    };
    let tokens: Vec<[f64; 2]> = x.par_chunks_exact(d_in).map(token).collect();
    let [error, whole] = tokens.iter().fold([0.0; 2], |[e, y], it| [e + it[0], y + it[1]]);
    Ok(relative(error, whole))
}

#[cfg(test)]
mod tests;
