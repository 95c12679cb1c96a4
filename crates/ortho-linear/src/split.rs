//! The split of a stored matrix into a dense base and sparse outliers.
//!
//! # Definition
//! $W = B + O$ with $O$ on a mask $M$, and $y(\alpha) = xB + \alpha\,(xO)$: at $\alpha = 1$ the stored
//! matrix, at $\alpha = 0$ the base alone, linear between. On the mask,
//!
//! | construction | $B$ | $\alpha = 0$ is |
//! |---|---|---|
//! | [`extract`](Split::extract) | zero, with the sign of $w$ | the matrix without its outliers: for diagnosis alone |
//! | [`clamp`](Split::clamp) | $\operatorname{sign}(w) \min(\lvert w \rvert, T)$ | clipped at the largest magnitude $T$ off the mask |
//! | [`delta`](Split::delta) | $w_0$ | the chosen changes of fine-tuning undone |
//! | [`residual`](Split::residual) | what a [base kind](crate::AnyBase) makes of $w$ | compressed without correction |
//!
//! and $O = W - B$ in `f32`. Off the mask, $B$ is $W$, but for `residual`, where the error of the base kind
//! remains.
//!
//! # Exactness
//! The sum $B + O$ in `f32` has the bits of $W$ on the mask, and $B$ has them off it for the first three.
//! This is verified when a split is made; where it fails, there is no split. It cannot fail for `extract` and
//! `clamp`, whose $T$ is rounded down to a multiple of the last digit of the largest weight. Differences of
//! f16 below 1 are numbers of `f32`, and so are those of any two numbers within a factor of two. Of weights
//! in `f32`, a `delta` that leads to another size fails as a rule, since no number of `f32` completes it. A
//! weight of $-0$ is the sum of negative zeros alone.
//!
//! # Reference
//! `raccoonrat/libortho-2.2` has the idea and no exact split: it rounds outliers to half precision, in
//! which differences of weights need not be numbers.

use crate::base::Base;
use crate::matrix::{check_shape, relative};
use crate::{Alpha, Csr, IndexWidth, Mask, Matrix, OrthoError, Reference, Scope, Storage};

/// How base and outliers were made; the table of [`Split`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Construction {
    /// The base is zero on the mask.
    Extract,
    /// The base is clipped on the mask.
    Clamp,
    /// The base is pretrained on the mask.
    Delta,
    /// The base is of a base kind everywhere.
    Residual,
}

impl Construction {
    /// Whether base and outliers are the stored matrix also off the mask.
    pub fn is_lossless(self) -> bool {
        self != Self::Residual
    }
}

/// Why alpha changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inert {
    /// The mask is empty.
    EmptyMask,
    /// Every outlier is zero.
    ZeroOutliers,
}

/// A matrix as a base and outliers that add up to it.
///
/// ```
/// use ortho_linear::{Alpha, IndexWidth, Mask, Matrix, Reference, Split, Storage};
///
/// let [before, after] = [[0.5, 1.0, -2.0, 0.25], [0.5, 1.5, -2.0, 0.0]];
/// let cast = |values| Reference::cast(Matrix::new(values, [2, 2])?, Storage::F16);
/// let (before, after) = (cast(&before)?, cast(&after)?);
/// let split = Split::delta(&after, &before, &Mask::new(vec![1], [2, 2])?, IndexWidth::Auto)?;
/// assert_eq!(split.materialise(Alpha::BASE), [0.5, 1.0, -2.0, 0.0]);
/// assert_eq!(split.materialise(Alpha::new(0.5)?), [0.5, 1.25, -2.0, 0.0]);
/// assert_eq!(split.materialise(Alpha::STORED), after.matrix().values());
/// # Ok::<(), ortho_linear::OrthoError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    construction: Construction,
    storage: Storage,
    base: Base,
    outliers: Csr,
}

impl Split {
    /// The outliers whole, and a base without them.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`] or [`OrthoError::IndexOverflow`].
    pub fn extract(
        reference: &Reference,
        mask: &Mask,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
        let zero = |_: usize, w: f32| 0.0_f32.copysign(w);
        Self::stored(Construction::Extract, reference, mask, width, zero)
    }

    /// The outliers beyond a threshold, and a base that is clipped there: at the largest magnitude that is
    /// not on the mask, in the matrix or in the output channel, so that a weight of the mask that is below
    /// it has an outlier of zero.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`] or [`OrthoError::IndexOverflow`].
    pub fn clamp(
        reference: &Reference,
        mask: &Mask,
        scope: Scope,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
        check_shape("the mask", mask.shape(), reference.matrix().shape())?;
        let thresholds = thresholds(reference.matrix(), mask, scope);
        let clip = |place: usize, w: f32| {
            w.abs().min(thresholds[place % mask.shape()[1] % thresholds.len()]).copysign(w)
        };
        Self::stored(Construction::Clamp, reference, mask, width, clip)
    }

    /// The changes from `pretrained`, and a base without them.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`], also of `pretrained`, [`OrthoError::StorageMismatch`],
    /// [`OrthoError::IndexOverflow`], [`OrthoError::NotExact`] or [`OrthoError::NegativeZero`].
    pub fn delta(
        reference: &Reference,
        pretrained: &Reference,
        mask: &Mask,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
        let before = pretrained.matrix();
        check_shape("the pretrained matrix", before.shape(), reference.matrix().shape())?;
        if pretrained.storage() != reference.storage() {
            return Err(OrthoError::StorageMismatch {
                what: "the pretrained matrix",
                found: pretrained.storage(),
                expected: reference.storage(),
            });
        }
        let before = |place: usize, _| before.values()[place];
        Self::stored(Construction::Delta, reference, mask, width, before)
    }

    /// What `base`, made of the same matrix by a [base kind](crate::AnyBase), is away from the weights of
    /// the mask.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`], also of `base`, [`OrthoError::IndexOverflow`],
    /// [`OrthoError::NotExact`] or [`OrthoError::NegativeZero`].
    pub fn residual(
        reference: &Reference,
        base: Base,
        mask: &Mask,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
        check_shape("the base", base.shape, reference.matrix().shape())?;
        let base = Base { outside: None, ..base }; // what is outside is what is on the mask
        Self::complete(Construction::Residual, reference, base, mask, width)
    }

    /// The stored matrix as its base, but for `value` of place and weight on the mask.
    fn stored(
        construction: Construction,
        reference: &Reference,
        mask: &Mask,
        width: IndexWidth,
        value: impl Fn(usize, f32) -> f32,
    ) -> Result<Self, OrthoError> {
        check_shape("the mask", mask.shape(), reference.matrix().shape())?;
        let mut base = Base::stored(reference);
        for &place in mask.places() {
            let place = place as usize;
            base.values[place] = value(place, base.values[place]);
        }
        Self::complete(construction, reference, base, mask, width)
    }

    /// Outliers for a base, verified.
    fn complete(
        construction: Construction,
        reference: &Reference,
        base: Base,
        mask: &Mask,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
        let weights = reference.matrix();
        check_shape("the mask", mask.shape(), weights.shape())?;
        let outlier =
            |place: u32| outlier(weights.values()[place as usize], base.values[place as usize]);
        let outliers = Csr::build(mask, width, outlier)?;
        verify(weights.values(), &base.values, &outliers)?;
        Ok(Self { construction, storage: reference.storage(), base, outliers })
    }

    /// Parts that were read from somewhere and fit each other.
    pub(crate) fn from_parts(
        construction: Construction,
        storage: Storage,
        base: Base,
        outliers: Csr,
    ) -> Self {
        Self { construction, storage, base, outliers }
    }

    /// $B + \alpha O$, `[d_in, d_out]`: the bits of the stored matrix at 1 (on the mask alone for
    /// `residual`), those of the base at 0.
    pub fn materialise(&self, alpha: Alpha) -> Vec<f32> {
        let mut values = self.base.values.clone();
        if alpha != Alpha::BASE {
            for (place, outlier) in self.outliers.iter() {
                values[place] += alpha.get() * outlier;
            }
        }
        values
    }

    /// How it was made.
    pub fn construction(&self) -> Construction {
        self.construction
    }

    /// The type that the stored matrix has.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// `[d_in, d_out]`.
    pub fn shape(&self) -> [usize; 2] {
        self.base.shape
    }

    /// The dense stream.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The sparse stream.
    pub fn outliers(&self) -> &Csr {
        &self.outliers
    }

    /// Why alpha has no effect, if it has none.
    pub fn inert(&self) -> Option<Inert> {
        if self.outliers.values().is_empty() {
            Some(Inert::EmptyMask)
        } else if self.outliers.values().iter().all(|&it| it == 0.0) {
            Some(Inert::ZeroOutliers)
        } else {
            None
        }
    }

    /// $\lVert W - B - \alpha O \rVert / \lVert W \rVert$.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`].
    pub fn relative_error(&self, reference: &Reference, alpha: Alpha) -> Result<f64, OrthoError> {
        let weights = reference.matrix();
        check_shape("the matrix", weights.shape(), self.shape())?;
        let values = self.materialise(alpha);
        let pairs = weights.values().iter().zip(&values);
        let error = pairs.map(|(&w, &x)| (f64::from(w) - f64::from(x)).powi(2)).sum();
        Ok(relative(error, crate::matrix::energy(weights.values().iter().copied())))
    }
}

/// $w - b$, as a zero of the sign of $w$ where the two are the same, so that the sum is $w$ for $-0$, too.
fn outlier(weight: f32, base: f32) -> f32 {
    if weight.to_bits() == base.to_bits() { 0.0_f32.copysign(weight) } else { weight - base }
}

/// Whether base and outliers have the bits of the weights, on the mask.
fn verify(weights: &[f32], base: &[f32], outliers: &Csr) -> Result<(), OrthoError> {
    let missed: Vec<(usize, f32)> = outliers
        .iter()
        .filter(|&(place, outlier)| (base[place] + outlier).to_bits() != weights[place].to_bits())
        .collect();
    let Some(&(index, outlier)) = missed.iter().min_by_key(|it| it.0) else { return Ok(()) };
    let (weight, base) = (weights[index], base[index]);
    if weight == 0.0 && weight.is_sign_negative() {
        return Err(OrthoError::NegativeZero { index, base });
    }
    let others = missed.len() - 1;
    Err(OrthoError::NotExact { index, weight, base, outlier, others })
}

/// The largest magnitude off the mask: one, or one for each channel; 0 where all are on it. In multiples of
/// the last digit of the largest weight of the matrix or channel, so that the difference of the two is a number.
fn thresholds(weights: Matrix<'_>, mask: &Mask, scope: Scope) -> Vec<f32> {
    let d_out = weights.shape()[1];
    let mut thresholds = vec![0.0_f32; if scope == Scope::Channel { d_out } else { 1 }];
    let mut masked = mask.places().iter().copied().peekable();
    for (place, w) in (0_u32..).zip(weights.values()) {
        if masked.next_if_eq(&place).is_none() {
            let at = place as usize % d_out % thresholds.len();
            thresholds[at] = thresholds[at].max(w.abs());
        }
    }
    let mut largest = vec![0.0_f32; thresholds.len()];
    for (place, w) in weights.values().iter().enumerate() {
        let at = place % d_out % largest.len();
        largest[at] = largest[at].max(w.abs());
    }
    for (threshold, largest) in thresholds.iter_mut().zip(largest) {
        let digit = f64::from(largest) - f64::from(largest.next_down());
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^24 digits")]
        let rounded = ((f64::from(*threshold) / digit).floor() * digit) as f32;
        *threshold = rounded;
    }
    thresholds
}

#[cfg(test)]
mod tests;
