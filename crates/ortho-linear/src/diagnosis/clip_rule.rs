//! The rules by which scales of output channels have been chosen, and what each does to a matrix.
//!
//! # Definition
//! Each rule is a threshold $T$ of a channel, to which codes of $b$ bits reach, $s = T/(2^{b-1} - 1)$. Predicted
//! is the error of normal values with the channel's root mean square $\sigma$ at $c = T/\sigma$
//! ([`gaussian`]); of a rule that clips nothing, over what is within $c$ alone. Channels add up by their
//! energy. For [`Mse`](ClipRule::Mse) at 8 bits the prediction is high: the best clip is next to the largest
//! value, beyond which a normal distribution goes on and the channel does not.
//!
//! # Notes on the reference implementation
//! [`ClipRule::PublishedMinimum`] is that of `raccoonrat/libortho-2.2`. For bell-shaped channels the 95th
//! percentile is 1.96 $\sigma$ and always the smaller of the two, so that 5 % are clipped: 11.4 %, which no
//! bits mend. It is here to be shown, and no base kind has it.

use std::fmt;

use quantizers::{BitWidth, Mse, Quantizer};
use serde::{Deserialize, Serialize};

use super::Cause;
use crate::base::coding::{channel_errors, clipped};
use crate::base::{Base, CodeWidth, RangeRule};
use crate::matrix::{energy, quantile, relative};
use crate::{OrthoError, Reference, gaussian};

/// A rule for the threshold of an output channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipRule {
    /// The largest magnitude.
    Absmax,
    /// That of the least squared error.
    Mse,
    /// A multiple of the root mean square.
    Sigma(f64),
    /// A quantile of the magnitudes.
    Quantile(f64),
    /// The smaller of the 95th percentile and three sigma: the published rule.
    PublishedMinimum,
}

impl fmt::Display for ClipRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absmax => f.write_str("absmax"),
            Self::Mse => f.write_str("mse"),
            Self::Sigma(k) => write!(f, "{k} sigma"),
            Self::Quantile(p) => write!(f, "p{}", 100.0 * p),
            Self::PublishedMinimum => f.write_str("min(p95, 3 sigma)"),
        }
    }
}

impl From<RangeRule> for ClipRule {
    fn from(rule: RangeRule) -> Self {
        match rule {
            RangeRule::Absmax => Self::Absmax,
            RangeRule::Mse => Self::Mse,
        }
    }
}

/// An error predicted for normal values, and the one there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Predicted.
    pub predicted: f64,
    /// Measured.
    pub measured: f64,
}

/// What a rule does to a matrix at a width: relative errors, $\lVert W - B \rVert / \lVert W \rVert$.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleError {
    /// Of clipping alone.
    pub clip: Estimate,
    /// With steps.
    pub total: Estimate,
}

impl RuleError {
    /// What the error comes from: clipping, if that is more than half of it.
    pub fn cause(&self) -> Cause {
        if self.clip.measured > 0.5 * self.total.measured { Cause::Clipping } else { Cause::Steps }
    }
}

impl ClipRule {
    /// Those that a diagnosis compares: what base kinds offer, and what was published.
    pub const ALL: [Self; 5] =
        [Self::Absmax, Self::Mse, Self::Sigma(3.0), Self::Quantile(0.995), Self::PublishedMinimum];

    /// The bases that were published, each with its width: three sigma, the minimum, and the percentiles that were
    /// tried one after the other where that had failed.
    pub const PUBLISHED: [(Self, CodeWidth); 7] = [
        (Self::Sigma(3.0), CodeWidth::Four),
        (Self::PublishedMinimum, CodeWidth::Eight),
        (Self::Quantile(0.90), CodeWidth::Eight),
        (Self::Quantile(0.85), CodeWidth::Eight),
        (Self::Quantile(0.80), CodeWidth::Eight),
        (Self::Quantile(0.75), CodeWidth::Eight),
        (Self::Quantile(0.70), CodeWidth::Eight),
    ];

    /// $T$ of each output channel, `[d_out]`.
    ///
    /// # Errors
    /// [`OrthoError::Setting`] for a multiple that is not above 0 or a quantile outside 0 to 1.
    pub fn thresholds(
        self,
        reference: &Reference,
        width: CodeWidth,
    ) -> Result<Vec<f32>, OrthoError> {
        match self {
            Self::Sigma(value) if !(value > 0.0 && value.is_finite()) => {
                let expected = "a finite number above 0";
                return Err(OrthoError::Setting { key: "sigma", value, expected });
            }
            Self::Quantile(value) if !(0.0..=1.0).contains(&value) => {
                return Err(OrthoError::Setting { key: "quantile", value, expected: "0 to 1" });
            }
            _ => {}
        }
        let weights = reference.matrix();
        if self == Self::Mse {
            let bits = BitWidth::new(width.into())?;
            let quantizer =
                Quantizer { bits, range: Mse::default().into(), ..Quantizer::default() };
            let params = quantizer.fit(weights.values(), weights.shape())?;
            return Ok(params.iter().map(|it| it.scale * levels(width) as f32).collect());
        }
        let mut magnitudes: Vec<f32> = weights.channels().into_iter().map(f32::abs).collect();
        let threshold = |channel: &mut [f32]| {
            let sigma = root_mean_square(channel);
            match self {
                Self::Absmax | Self::Mse => quantile(channel, 1.0),
                Self::Sigma(k) => k * sigma,
                Self::Quantile(p) => quantile(channel, p),
                Self::PublishedMinimum => quantile(channel, 0.95).min(3.0 * sigma),
            }
        };
        let thresholds = magnitudes.chunks_exact_mut(weights.shape()[0]).map(threshold);
        #[expect(clippy::cast_possible_truncation, reason = "a threshold among f32")]
        let thresholds = thresholds.map(|it| it as f32).collect();
        Ok(thresholds)
    }

    /// The base that this rule makes.
    ///
    /// # Errors
    /// As [`thresholds`](Self::thresholds).
    pub fn base(self, reference: &Reference, width: CodeWidth) -> Result<Base, OrthoError> {
        clipped(reference, width, &self.thresholds(reference, width)?)
    }

    /// What it does.
    ///
    /// # Errors
    /// As [`thresholds`](Self::thresholds).
    pub fn error(self, reference: &Reference, width: CodeWidth) -> Result<RuleError, OrthoError> {
        let thresholds = self.thresholds(reference, width)?;
        let base = clipped(reference, width, &thresholds)?;
        let totals = channel_errors(reference, base.matrix().values());
        let weights = reference.matrix();
        let channels = weights.channels();
        let (mut whole, mut clip, mut total) = (0.0, [0.0; 2], [0.0; 2]);
        let rows = channels.chunks_exact(weights.shape()[0]).zip(&thresholds).zip(&totals);
        for ((channel, &threshold), &[error, energy]) in rows {
            let c = f64::from(threshold) / root_mean_square(channel);
            let excess = channel.iter().map(|w| f64::from((w.abs() - threshold).max(0.0)).powi(2));
            whole += energy;
            clip[1] += excess.sum::<f64>();
            total[1] += error;
            if energy > 0.0 {
                let (edge, inside) = match self {
                    Self::Absmax => (0.0, gaussian::unclipped_error(c, levels(width))),
                    _ => (gaussian::clip_error(c), gaussian::rounding_error(c, levels(width))),
                };
                clip[0] += energy * edge.powi(2);
                total[0] += energy * inside.powi(2);
            }
        }
        let estimate = |[predicted, measured]: [f64; 2]| Estimate {
            predicted: relative(predicted, whole),
            measured: relative(measured, whole),
        };
        Ok(RuleError { clip: estimate(clip), total: estimate(total) })
    }
}

/// The greatest code.
fn levels(width: CodeWidth) -> u32 {
    match width {
        CodeWidth::Four => 7,
        CodeWidth::Eight => 127,
    }
}

fn root_mean_square(values: &[f32]) -> f64 {
    (energy(values.iter().copied()) / values.len() as f64).sqrt()
}
