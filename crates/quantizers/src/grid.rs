//! The first axis of a fake quantiser: which values a code can stand for.

mod affine;
mod apot;
mod binary;
mod log2;
mod lsq;
mod lsq_plus;
mod nf4;
mod pact;
mod seq;
mod symmetric;
mod ternary;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{BitWidth, QuantizerError, ScaleRule};

/// A set of at most $2^b$ levels for a width $b$, and how it is laid over a range of values.
pub trait Grid {
    /// The codes of a width, without a scale.
    ///
    /// # Errors
    /// [`QuantizerError::GridWidth`] at a width this grid has no codes for.
    fn codes(&self, bits: BitWidth) -> Result<Codes, QuantizerError>;

    /// The scale and zero point with which these codes reach from end to end of `extent`.
    ///
    /// # Errors
    /// As [`codes`](Self::codes).
    fn params(&self, extent: Extent, bits: BitWidth) -> Result<Params, QuantizerError>;
}

registry::methods! {
    /// Every grid of this crate.
    pub enum AnyGrid: dyn Grid {
        /// Integers from -(2^(b-1) - 1) to 2^(b-1) - 1, scaled to the largest magnitude.
        symmetric::Symmetric = "symmetric",
        /// Integers with a zero point, scaled to the smallest and the largest value (PyTorch).
        affine::Affine = "affine",
        /// Zero and powers of a ratio with either sign, for heavy tails.
        log2::Log2 = "log2",
        /// Sums of powers of two (APoT, Li et al. 2020).
        apot::Apot = "apot",
        /// Quantiles of a normal distribution, 4 bits (QLoRA, Dettmers et al. 2023).
        nf4::Nf4 = "nf4",
        /// Balanced levels without a zero (SEQ, ParetoQ, Liu et al. 2025).
        seq::Seq = "seq",
        /// Zero and two thirds of the scale with either sign (ParetoQ).
        ternary::Ternary = "ternary",
        /// The scale with the sign of the value, 1 bit.
        binary::Binary = "binary",
        /// Integers with a learned step (LSQ, Esser et al. 2020).
        lsq::Lsq = "lsq",
        /// Integers with a learned step and offset (LSQ+, Bhalgat et al. 2020).
        lsq_plus::LsqPlus = "lsq-plus",
        /// Integers from 0 to a learned clip, for activations (PACT, Choi et al. 2018).
        pact::Pact = "pact",
    }
}

pub use affine::{Scheme, Signedness};
pub use log2::LogRounding;
pub use lsq::Integers;

/// Refuses a width outside `widths`.
fn check_width(
    grid: &'static str,
    bits: BitWidth,
    widths: RangeInclusive<u8>,
    expected: &'static str,
) -> Result<(), QuantizerError> {
    if widths.contains(&bits.get()) {
        Ok(())
    } else {
        Err(QuantizerError::GridWidth { grid, bits, expected })
    }
}

/// The smallest and the largest value that codes should reach: finite, `low <= high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// The smallest.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl Extent {
    /// The largest magnitude.
    pub fn magnitude(self) -> f32 {
        self.low.abs().max(self.high.abs())
    }
}

/// Scale, zero point and offset of the values that share them:
/// $\hat x = (q - z)\,s + o$ for a code $q$.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// $s$, above 0.
    pub scale: f32,
    /// $z$, the code of the offset.
    pub zero_point: i32,
    /// $o$: 0 but for grids with a real zero point.
    pub offset: f32,
}

impl Params {
    /// A scale alone.
    pub fn scale(scale: f32) -> Self {
        Self { scale, zero_point: 0, offset: 0.0 }
    }
}

/// The scale of values that are all zero: the least of PyTorch. The rules of [`Affine`] alone have it as
/// the least of all values.
pub const LEAST_SCALE: f32 = f32::EPSILON;

/// The scale with which `greatest` levels reach to `magnitude`, however small that is; below
/// $2^{-126}$, the smallest normal number, its reciprocal would not be finite.
fn scale_of(magnitude: f32, greatest: f32) -> f32 {
    if magnitude > 0.0 { (magnitude / greatest).max(f32::MIN_POSITIVE) } else { LEAST_SCALE }
}

/// The codes of one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// What they stand for.
    pub levels: Levels,
    /// Which values pass their gradient.
    pub mask: Mask,
    /// How a scale learns.
    pub rule: ScaleRule,
    /// What learns beside the scale.
    pub shift: Option<Shift>,
}

/// What moves the codes along the line and can be learned with the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// An integer, in steps.
    ZeroPoint,
    /// A real number, in units of the values.
    Offset,
}

/// What codes stand for, in units of the scale.
#[derive(Debug, Clone, PartialEq)]
pub enum Levels {
    /// The integers from `min` to `max`.
    Integers {
        /// The least code.
        min: i32,
        /// The greatest code.
        max: i32,
    },
    /// A table in ascending order; the code is the place, the nearest level is taken, and of two the
    /// one at an even place. At least one level.
    Table(Vec<f32>),
    /// Such a table around zero, rounded in the logarithm: between two levels of one sign the border is
    /// their geometric mean, and zero alone has the level zero.
    Logarithms(Vec<f32>),
}

impl Levels {
    /// The table, if it is one.
    pub fn table(&self) -> Option<&[f32]> {
        match self {
            Self::Integers { .. } => None,
            Self::Table(levels) | Self::Logarithms(levels) => Some(levels),
        }
    }

    /// What lies between two neighbours of the table.
    pub(crate) fn border(&self, below: f32, above: f32) -> f64 {
        let [wide_below, wide_above] = [below, above].map(f64::from);
        match self {
            // Nearer to zero than the least f32: on neither side there is another.
            Self::Logarithms(_) if below == 0.0 => f64::MIN_POSITIVE,
            Self::Logarithms(_) if above == 0.0 => -f64::MIN_POSITIVE,
            Self::Logarithms(_) => (wide_below * wide_above).sqrt().copysign(wide_above),
            _ => f64::midpoint(wide_below, wide_above),
        }
    }
}

/// Where the straight-through estimator lets a gradient pass, for $u = (x - o)/s$.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mask {
    /// Where the rounded, unclamped code is one of the codes (PyTorch): up to half a step beyond.
    Rounded,
    /// Where $u$ itself lies between two ends, both included (LSQ, SEQ).
    Between(f32, f32),
}

impl Codes {
    /// Codes whose scale learns by [`ScaleRule::Rounding`], and nothing beside it.
    pub fn new(levels: Levels, mask: Mask) -> Self {
        Self { levels, mask, rule: ScaleRule::Rounding, shift: None }
    }

    /// With another way to learn.
    #[must_use]
    pub fn learned(self, rule: ScaleRule, shift: Option<Shift>) -> Self {
        Self { rule, shift, ..self }
    }

    /// The code of `x`.
    #[inline]
    pub fn code(&self, x: f32, params: &Params) -> i32 {
        let u = (x - params.offset) / params.scale;
        match &self.levels {
            Levels::Integers { min, max } => {
                let q = u.round_ties_even() + params.zero_point as f32;
                q.clamp(*min as f32, *max as f32) as i32
            }
            Levels::Table(levels) | Levels::Logarithms(levels) => {
                i32::try_from(self.place(levels, u)).unwrap_or(i32::MAX)
            }
        }
    }

    /// The value that a code stands for.
    #[inline]
    pub fn value(&self, code: i32, params: &Params) -> f32 {
        match &self.levels {
            Levels::Integers { .. } => {
                (code as f32 - params.zero_point as f32) * params.scale + params.offset
            }
            Levels::Table(levels) | Levels::Logarithms(levels) => {
                let place = usize::try_from(code).unwrap_or(0).min(levels.len() - 1);
                levels[place] * params.scale + params.offset
            }
        }
    }

    /// $\hat x$, the value of the code of `x`.
    #[inline]
    pub fn quantize(&self, x: f32, params: &Params) -> f32 {
        self.value(self.code(x, params), params)
    }

    /// Whether the gradient at `x` passes.
    #[inline]
    pub fn passes(&self, x: f32, params: &Params) -> bool {
        let u = (x - params.offset) / params.scale;
        match (self.mask, &self.levels) {
            (Mask::Between(low, high), _) => (low..=high).contains(&u),
            (Mask::Rounded, Levels::Integers { min, max }) => {
                let q = u.round_ties_even() + params.zero_point as f32;
                (*min as f32..=*max as f32).contains(&q)
            }
            (Mask::Rounded, Levels::Table(levels) | Levels::Logarithms(levels)) => {
                levels.first().is_some_and(|low| *low <= u)
                    && levels.last().is_some_and(|high| u <= *high)
            }
        }
    }

    /// The least and the greatest code.
    pub fn ends(&self) -> (i32, i32) {
        match &self.levels {
            Levels::Integers { min, max } => (*min, *max),
            Levels::Table(levels) | Levels::Logarithms(levels) => {
                (0, i32::try_from(levels.len()).map_or(i32::MAX, |it| it - 1))
            }
        }
    }

    /// Whether `params` can be theirs: a scale above 0, a zero point that is a code, and values within
    /// `f32`. Integers without a zero among them, and tables, have none to shift.
    pub(crate) fn can_have(&self, params: &Params) -> bool {
        let (min, max) = self.ends();
        let is_code = self.levels.table().is_none() && (min..=max).contains(&params.zero_point);
        params.scale > 0.0
            && (params.zero_point == 0 || is_code)
            && [min, max].iter().all(|&end| self.value(end, params).is_finite())
    }

    /// How many codes there are.
    pub fn count(&self) -> usize {
        match &self.levels {
            Levels::Integers { min, max } => max.abs_diff(*min) as usize + 1,
            Levels::Table(levels) | Levels::Logarithms(levels) => levels.len(),
        }
    }

    /// The place of the level of `u`; on a border, the even one.
    fn place(&self, levels: &[f32], u: f32) -> usize {
        let above = levels.partition_point(|&level| level < u);
        if above == 0 || above == levels.len() {
            return above.saturating_sub(1);
        }
        let border = self.levels.border(levels[above - 1], levels[above]);
        if f64::from(u) < border {
            above - 1
        } else if f64::from(u) > border {
            above
        } else {
            above - above % 2
        }
    }
}
