//! Grid, range and granularity put together: the fake quantisation of a matrix.
//!
//! # Definition
//! The [`Granularity`] divides the matrix into groups; the [`Range`] chooses scale and zero point of
//! each from its values; the [`Grid`] has the codes. Of a group with scale $s$, zero point $z$ and
//! offset $o$,
//! $$ q = \operatorname{clamp}\bigl(\operatorname{round}((x - o)/s) + z\bigr), \qquad
//!    \hat x = (q - z)\,s + o, $$
//! in `f32`, ties to even, or the nearest level of a table. At 32 bits $\hat x$ is $x$, bit for bit,
//! NaN included. A [`Half`] may be imitated on top.

mod extents;
mod gradients;
mod sweep;

use std::borrow::Cow;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    AnyGrid, AnyRange, BitWidth, Codes, Granularity, Groups, Half, MinMax, Operand, Params,
    QuantizerError, Symmetric, kernel,
};

pub use gradients::{Derivatives, MatrixGradients};

/// A fake quantiser of matrices `[rows, cols]` in row-major order.
///
/// The default is symmetric, min-max, one scale an output channel, 8 bits.
///
/// ```toml
/// bits = 4
/// granularity = "group:64"
/// operand = "weight"
///
/// [grid]
/// kind = "symmetric"
///
/// [range]
/// kind = "min-max"
/// ```
///
/// ```
/// use quantizers::{BitWidth, Granularity, Quantizer};
///
/// let quantizer = Quantizer {
///     bits: BitWidth::new(2)?,
///     granularity: Granularity::Channel { axis: 1 },
///     ..Quantizer::default()
/// };
/// let weight = [0.9, 0.2, -0.5, 0.04, 0.1, -0.2]; // [d_in, d_out] = [3, 2]
/// let params = quantizer.fit(&weight, [3, 2])?;
/// let mut quantized = [0.0; 6];
/// quantizer.fake_quantize_into(&weight, [3, 2], &params, &mut quantized)?;
/// assert_eq!(quantized, [0.9, 0.2, -0.9, 0.0, 0.0, -0.2]);
/// assert_eq!(quantizer.codes(&weight, [3, 2], &params)?, [1, 1, -1, 0, 0, -1]);
/// # Ok::<(), quantizers::QuantizerError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantizer {
    /// Bits of a code.
    pub bits: BitWidth,
    /// Which values share a scale.
    pub granularity: Granularity,
    /// What the matrix is, and so which axis a product sums over.
    pub operand: Operand,
    /// Which values codes can stand for.
    pub grid: AnyGrid,
    /// Which part of the values the codes should reach.
    pub range: AnyRange,
    /// A type in which scales and values are held, `"f16"` or `"bf16"`: none for `f32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulate: Option<Half>,
}

impl Default for Quantizer {
    fn default() -> Self {
        Self {
            bits: BitWidth::new(8).unwrap_or(BitWidth::FULL),
            granularity: Granularity::default(),
            operand: Operand::default(),
            grid: Symmetric {}.into(),
            range: MinMax {}.into(),
            emulate: None,
        }
    }
}

impl Quantizer {
    /// The groups of a matrix `[rows, cols]`.
    ///
    /// # Errors
    /// If the granularity does not suit the operand or the shape.
    pub fn groups(&self, shape: [usize; 2]) -> Result<Groups, QuantizerError> {
        self.granularity.groups(self.operand, shape)
    }

    /// The parameters of each group of `values`, `[rows, cols]`; none at 32 bits.
    ///
    /// # Errors
    /// If the granularity does not suit the operand or the shape, the grid has no codes of this width,
    /// a value is NaN or infinite or too large for its levels, or there are no values.
    pub fn fit(&self, values: &[f32], shape: [usize; 2]) -> Result<Vec<Params>, QuantizerError> {
        let groups = self.checked_groups(values.len(), shape)?;
        if self.bits.is_full() {
            return Ok(Vec::new());
        }
        let grid = self.grid.as_dyn();
        let codes = grid.codes(self.bits)?;
        if values.is_empty() {
            return Err(QuantizerError::NothingSeen);
        }
        let params = if let AnyRange::MinMax(_) = self.range {
            // One pass along the memory, whatever the groups: see the test of equality below.
            let extents = extents::of_groups(&groups, values).ok_or_else(|| not_finite(values))?;
            extents
                .into_iter()
                .map(|extent| grid.params(extent, self.bits))
                .collect::<Result<Vec<_>, _>>()?
        } else {
            let fitted = groups.map(values, |_, values| {
                let mut observer = self.range.as_dyn().observer();
                observer.observe(values)?;
                observer.fit(self.grid.as_dyn(), self.bits)
            });
            fitted.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| match error {
                // By its place in the matrix, not in the group.
                QuantizerError::NotFinite { .. } => not_finite(values),
                error => error,
            })?
        };
        Ok(self.held(&codes, &groups, &params)?.into_owned())
    }

    /// Checks that `params`, for example some that were stored, can be those of a matrix of `shape`,
    /// `[rows, cols]`.
    ///
    /// # Errors
    /// If the granularity does not suit the operand or the shape, the grid has no codes of this width,
    /// there is not one set of parameters a group (none at 32 bits), or one of them cannot be: a scale
    /// that is not above 0, a zero point that is no code, values that `f32`, or the type that is
    /// imitated, cannot hold.
    pub fn check(&self, shape: [usize; 2], params: &[Params]) -> Result<(), QuantizerError> {
        let groups = self.groups(shape)?;
        if self.bits.is_full() {
            return match params.len() {
                0 => Ok(()),
                len => Err(QuantizerError::ScaleCount { len, groups: 0 }),
            };
        }
        self.codes_for(&groups, params).map(drop)
    }

    /// $\hat x$ of every value, `[rows, cols]`, to `out` of the same shape.
    ///
    /// # Errors
    /// If a slice does not fit the shape, there is not one set of parameters a group, one of them
    /// cannot be, or a value is NaN or infinite (`out` then holds nothing of use).
    pub fn fake_quantize_into(
        &self,
        values: &[f32],
        shape: [usize; 2],
        params: &[Params],
        out: &mut [f32],
    ) -> Result<(), QuantizerError> {
        let groups = self.checked_groups(values.len(), shape)?;
        check_len(out.len(), shape)?;
        if self.bits.is_full() {
            out.copy_from_slice(values);
            return Ok(());
        }
        let (codes, params) = self.codes_for(&groups, params)?;
        if sweep::quantize(&codes, &groups, &params, values, out) {
            self.round(out);
            Ok(())
        } else {
            Err(not_finite(values))
        }
    }

    /// The code of every value, `[rows, cols]`.
    ///
    /// # Errors
    /// As [`fake_quantize_into`](Self::fake_quantize_into), and at 32 bits, where there are no codes.
    pub fn codes(
        &self,
        values: &[f32],
        shape: [usize; 2],
        params: &[Params],
    ) -> Result<Vec<i32>, QuantizerError> {
        let groups = self.checked_groups(values.len(), shape)?;
        let (codes, params) = self.codes_for(&groups, params)?;
        check_finite(values)?;
        let code = |(index, &x): (usize, &f32)| codes.code(x, &params[groups.group(index)]);
        Ok(values.par_iter().enumerate().map(code).collect())
    }

    /// The value of every code, `[rows, cols]`.
    ///
    /// # Errors
    /// If a slice does not fit the shape, there is not one set of parameters a group, or a number is no
    /// code.
    pub fn values(
        &self,
        codes: &[i32],
        shape: [usize; 2],
        params: &[Params],
    ) -> Result<Vec<f32>, QuantizerError> {
        let groups = self.checked_groups(codes.len(), shape)?;
        let (grid, params) = self.codes_for(&groups, params)?;
        let (min, max) = grid.ends();
        if let Some(index) = codes.iter().position(|code| !(min..=max).contains(code)) {
            return Err(QuantizerError::NoSuchCode { index, code: codes[index], min, max });
        }
        let value = |(index, &code): (usize, &i32)| grid.value(code, &params[groups.group(index)]);
        let mut values: Vec<f32> = codes.par_iter().enumerate().map(value).collect();
        self.round(&mut values);
        Ok(values)
    }

    /// The codes of this width, and `params` as they are held, if they can be their parameters in
    /// `groups`.
    pub(crate) fn codes_for<'a>(
        &self,
        groups: &Groups,
        params: &'a [Params],
    ) -> Result<(Codes, Cow<'a, [Params]>), QuantizerError> {
        let codes = self.grid.as_dyn().codes(self.bits)?;
        let params = self.held(&codes, groups, params)?;
        Ok((codes, params))
    }

    /// `params` in the type that is imitated.
    fn held<'a>(
        &self,
        codes: &Codes,
        groups: &Groups,
        params: &'a [Params],
    ) -> Result<Cow<'a, [Params]>, QuantizerError> {
        check_params(codes, groups, params)?;
        let Some(half) = self.emulate else { return Ok(params.into()) };
        let held: Vec<Params> = params.iter().map(|&it| half.params(it)).collect();
        match held.iter().position(|it| !half.holds(codes, it)) {
            None => Ok(held.into()),
            Some(group) => Err(QuantizerError::Half { group, params: held[group], half }),
        }
    }

    /// Values in the type that is imitated.
    fn round(&self, values: &mut [f32]) {
        if let Some(half) = self.emulate {
            values.par_iter_mut().for_each(|it| *it = half.round(*it));
        }
    }

    /// The groups of a matrix with `len` values.
    pub(crate) fn checked_groups(
        &self,
        len: usize,
        shape: [usize; 2],
    ) -> Result<Groups, QuantizerError> {
        check_len(len, shape)?;
        self.groups(shape)
    }
}

fn check_len(len: usize, shape: [usize; 2]) -> Result<(), QuantizerError> {
    if shape[0].checked_mul(shape[1]) == Some(len) {
        Ok(())
    } else {
        Err(QuantizerError::Shape { len, shape })
    }
}

fn check_params(codes: &Codes, groups: &Groups, params: &[Params]) -> Result<(), QuantizerError> {
    if params.len() != groups.count() {
        return Err(QuantizerError::ScaleCount { len: params.len(), groups: groups.count() });
    }
    match params.iter().position(|it| !codes.can_have(it)) {
        None => Ok(()),
        Some(group) => Err(QuantizerError::Params { group, params: params[group] }),
    }
}

pub(crate) fn check_finite(values: &[f32]) -> Result<(), QuantizerError> {
    if values.is_empty() || kernel::extent(values).is_some() {
        Ok(())
    } else {
        Err(not_finite(values))
    }
}

/// The error for the first value that is not finite.
#[cold]
fn not_finite(values: &[f32]) -> QuantizerError {
    let index = values.iter().position(|it| !it.is_finite()).unwrap_or(0);
    QuantizerError::NotFinite { index, value: values.get(index).copied().unwrap_or(f32::NAN) }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
