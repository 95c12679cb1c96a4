//! Gradients of learned scales, zero points and offsets, in closed form.
//!
//! # Definition
//! With $u = (x - o)/s$, $f(u)$ the level it is given in units of $s$ (less the zero point $z$), $m$ the
//! mask of [`Codes::passes`], 1 or 0, and $g$ the gradient at $\hat x = s f(u) + o$:
//! $$ \frac{\partial L}{\partial x} = g m, \qquad
//!    \frac{\partial L}{\partial s} = G \sum g\,d, \qquad
//!    \frac{\partial L}{\partial z} = -G s \sum g (1 - m), \qquad
//!    \frac{\partial L}{\partial o} = G \sum g (1 - m), $$
//! where the [`ScaleRule`] says what $d$ is and $G$ is a [`gradient_factor`]. The methods differ in codes,
//! mask and rule alone:
//!
//! | method | grid | rule | $G$ |
//! |--------|------|------|-----|
//! | PyTorch's `_fake_quantize_learnable` | [`Affine`](crate::Affine), any integers | `Rounding` | given |
//! | LSQ, LSQ+ | [`Lsq`](crate::Lsq), [`LsqPlus`](crate::LsqPlus) | `Rounding` | $1/\sqrt{N Q_p}$ |
//! | stretched elastic, ternary | [`Seq`](crate::Seq), [`Ternary`](crate::Ternary) | `Rounding` | $1/\sqrt N$ |
//! | binary | [`Binary`](crate::Binary) | `Level` | $1/\sqrt N$ |
//! | PACT, for $\alpha = Q_p s$ | [`Pact`](crate::Pact) | `Clipping` | $1/Q_p$ |
//!
//! They start from a range: `min-max` (the largest magnitude), `mean-magnitude` (the paper of LSQ) or `mse`.
//! Learned scales are stored as $s$ itself, not its logarithm; [`Params::learned`] keeps them from 0.
//!
//! # Reference
//! S. K. Esser et al., *Learned Step Size Quantization*, ICLR 2020, arXiv:1902.08153; Y. Bhalgat et al.,
//! *LSQ+*, 2020, arXiv:2004.09576; J. Choi et al., *PACT*, 2018, arXiv:1805.06085; Z. Liu et al.,
//! *ParetoQ*, 2025, arXiv:2502.02631; `torch._fake_quantize_learnable_per_tensor_affine`, PyTorch 2.15.
//!
//! # Notes on the reference implementations
//! - The paper of LSQ counts $u = Q_p$ as clipped, ParetoQ as inside. A scale from the largest magnitude
//!   puts the largest weight just there, so inside is the rule and [`Mask::exclusive`] the paper's.
//! - PyTorch rounds a learned $z$ to even in the forward pass, but in the backward pass truncates
//!   $z + 1/2$ towards zero: the two disagree at 2.5 and at -2.3. Here one zero point serves both.
//! - ParetoQ's ternary code gives clipped weights the level ±1; its largest level is 2/3, as here.

use serde::{Deserialize, Serialize};

use crate::{Codes, Levels, Mask, Params, QuantizerError};

/// What a value contributes to the gradient of its scale, before its own gradient: $d$.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleRule {
    /// $f(u) - m u$: the error of rounding inside the mask, the level outside.
    #[default]
    Rounding,
    /// $f(u)$: the level, everywhere.
    Level,
    /// $(1 - m) f(u)$: the level outside the mask, nothing inside.
    Clipping,
}

impl ScaleRule {
    /// Whether the gradient at `value` passes, and $d$.
    pub(crate) fn derivative(self, codes: &Codes, params: &Params, value: f32) -> (bool, f64) {
        let units = Params { scale: 1.0, offset: 0.0, ..*params };
        let level = f64::from(codes.value(codes.code(value, params), &units));
        let passes = codes.passes(value, params);
        let [value, scale, offset] = [value, params.scale, params.offset].map(f64::from);
        let followed = match self {
            Self::Rounding if passes => level - (value - offset) / scale,
            Self::Clipping if passes => 0.0,
            _ => level,
        };
        (passes, followed)
    }
}

impl Codes {
    /// $G$ of the method that these codes belong to, for a scale that is trained and `count` values $N$:
    /// see [`gradient_factor`]. Where values are clipped as in PACT it is $1/Q_p^2$, with which a step of
    /// gradient descent on $s$ moves $\alpha = Q_p s$ as the paper's step on $\alpha$ does.
    pub fn gradient_factor(&self, count: usize) -> f64 {
        match (self.rule, &self.levels) {
            (ScaleRule::Clipping, Levels::Integers { max, .. }) => f64::from(*max).powi(-2),
            (_, Levels::Integers { max, .. }) => gradient_factor(count, f64::from(*max)),
            (_, Levels::Table(_) | Levels::Logarithms(_)) => gradient_factor(count, 1.0),
        }
    }
}

/// The gradients of values that share scale, zero point and offset; of a whole matrix,
/// [`Quantizer::gradients`](crate::Quantizer::gradients).
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Of the values, `[n]`.
    pub input: Vec<f32>,
    /// Of the scale.
    pub scale: f64,
    /// Of the zero point.
    pub zero_point: f64,
    /// Of the offset.
    pub offset: f64,
}

impl Gradients {
    /// From the gradient `output`, `[n]`, at the quantised `values`, `[n]`, with $G = 1$. Sums are in
    /// `f64`; an infinite or NaN gradient is passed on.
    ///
    /// # Errors
    /// [`QuantizerError::NotFinite`] for a value.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn new(
        codes: &Codes,
        params: &Params,
        rule: ScaleRule,
        values: &[f32],
        output: &[f32],
    ) -> Result<Self, QuantizerError> {
        assert_eq!(values.len(), output.len(), "one gradient a value");
        let mut found =
            Self { input: vec![0.0; values.len()], scale: 0.0, zero_point: 0.0, offset: 0.0 };
        for (index, (&value, &output)) in values.iter().zip(output).enumerate() {
            if !value.is_finite() {
                return Err(QuantizerError::NotFinite { index, value });
            }
            let gradient = f64::from(output);
            let (passes, followed) = rule.derivative(codes, params, value);
            found.scale += gradient * followed;
            if passes {
                found.input[index] = output;
            } else {
                found.zero_point -= gradient * f64::from(params.scale);
                found.offset += gradient;
            }
        }
        Ok(found)
    }

    /// With $G$ = `factor` for all but the values.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let Self { input, scale, zero_point, offset } = self;
        let [scale, zero_point, offset] = [scale, zero_point, offset].map(|it| factor * it);
        Self { input, scale, zero_point, offset }
    }
}

/// $G = 1/\sqrt{N Q}$ for `count` values $N$ and the greatest level $Q$ in units of the scale: 1 for
/// tables such as SEQ's. $N$ counts the values of the whole tensor, also where every channel has a scale
/// of its own (ParetoQ), or those under one scale; for activations, their features.
pub fn gradient_factor(count: usize, greatest: f64) -> f64 {
    (count as f64 * greatest).sqrt().recip()
}

impl Mask {
    /// Strictly between two ends: the paper's mask of LSQ.
    pub fn exclusive(low: f32, high: f32) -> Self {
        Self::Between(low.next_up(), high.next_down())
    }
}

impl Params {
    /// What a learned scale and zero point stand for: the scale not below $2^{-126}$, the least that a
    /// grid chooses, wherever an optimiser has moved it, the zero point rounded to even and clamped to `codes`.
    ///
    /// # Errors
    /// [`QuantizerError::Setting`] if one is not finite.
    pub fn learned(scale: f32, zero_point: f32, codes: &Codes) -> Result<Self, QuantizerError> {
        for (name, value) in [("scale", scale), ("zero_point", zero_point)] {
            if !value.is_finite() {
                let (value, expected) = (value.into(), "a finite number");
                return Err(QuantizerError::Setting { name, value, expected });
            }
        }
        let zero_point = match codes.levels {
            Levels::Integers { min, max } => {
                zero_point.round_ties_even().clamp(min as f32, max as f32) as i32
            }
            Levels::Table(_) | Levels::Logarithms(_) => 0,
        };
        Ok(Self { scale: scale.max(f32::MIN_POSITIVE), zero_point, offset: 0.0 })
    }
}

#[cfg(test)]
mod tests;
