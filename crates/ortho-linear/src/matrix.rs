//! The matrices that everything here is about.

use half::{bf16, f16};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::OrthoError;

/// A weight matrix `[d_in, d_out]` in row-major order, so that $y = xW$ and an output channel is a
/// column. All values are finite, and there are 1 to $2^{32} - 1$.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Checks `values` against `shape`, `[d_in, d_out]`.
    ///
    /// # Errors
    /// [`OrthoError::Shape`], [`OrthoError::Length`] or [`OrthoError::NotFinite`].
    pub fn new(values: &'a [f32], shape: [usize; 2]) -> Result<Self, OrthoError> {
        let numel = numel(shape)?;
        check_len("the matrix", values.len(), numel)?;
        check_finite("weight", values)?;
        Ok(Self { values, shape })
    }

    /// Values of which it is known that they are finite and fit.
    pub(crate) fn trusted(values: &'a [f32], shape: [usize; 2]) -> Self {
        Self { values, shape }
    }

    /// In row-major order.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// `[d_in, d_out]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Output channel after output channel: `[d_out, d_in]` in row-major order.
    pub(crate) fn channels(&self) -> Vec<f32> {
        transposed(self.values, self.shape)
    }
}

/// Whether something is done for a whole matrix at once or for each of its output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All values together.
    #[default]
    Matrix,
    /// The values of each output channel on their own.
    Channel,
}

/// The type that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// IEEE 754 `binary16`: 11 bits of significand, up to 65,504.
    #[default]
    F16,
    /// The upper half of an `f32`: 8 bits of significand.
    Bf16,
    /// As they are. Differences of such weights need not be numbers of `f32`, so that most splits but
    /// [`Split::extract`](crate::Split::extract) can fail to be exact.
    F32,
}

impl Storage {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The nearest number of the type, ties to even; zeros keep their sign.
    pub fn round(self, x: f32) -> f32 {
        match self {
            Self::F16 => f16::from_f32(x).to_f32(),
            Self::Bf16 => bf16::from_f32(x).to_f32(),
            Self::F32 => x,
        }
    }
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        })
    }
}

/// The *stored* matrix $W$, which a split is exact about: a checkpoint's after the cast to the type it
/// is kept in.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    values: Vec<f32>,
    shape: [usize; 2],
    storage: Storage,
}

impl Reference {
    /// `weights` in the type `storage`. Zeros keep their sign.
    ///
    /// # Errors
    /// [`OrthoError::Overflow`] for a weight that the type has no finite number for.
    pub fn cast(weights: Matrix<'_>, storage: Storage) -> Result<Self, OrthoError> {
        let values: Vec<f32> = weights.values.iter().map(|&x| storage.round(x)).collect();
        match values.iter().position(|it| !it.is_finite()) {
            None => Ok(Self { values, shape: weights.shape, storage }),
            Some(index) => {
                Err(OrthoError::Overflow { index, value: weights.values[index], storage })
            }
        }
    }

    /// The same without negative zeros, and how many there were. The cast to half precision makes them
    /// of small negative weights, and no sum of a base that is not one and an outlier is one.
    #[must_use]
    pub fn with_positive_zeros(mut self) -> (Self, usize) {
        let mut count = 0;
        for value in self.values.iter_mut().filter(|it| it.to_bits() == (-0.0_f32).to_bits()) {
            *value = 0.0;
            count += 1;
        }
        (self, count)
    }

    /// What the cast lost of `weights`, which this was made of: $\lVert W_{\text{file}} - W \rVert /
    /// \lVert W_{\text{file}} \rVert$.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`].
    pub fn cast_error(&self, weights: Matrix<'_>) -> Result<f64, OrthoError> {
        check_shape("the matrix", weights.shape, self.shape)?;
        let pairs = weights.values.iter().zip(&self.values);
        let error = pairs.map(|(&w, &cast)| (f64::from(w) - f64::from(cast)).powi(2)).sum();
        Ok(relative(error, energy(weights.values.iter().copied())))
    }

    /// $W$.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix { values: &self.values, shape: self.shape }
    }

    /// The type that holds it.
    pub fn storage(&self) -> Storage {
        self.storage
    }
}

/// Values of a matrix of `shape`.
pub(crate) fn numel(shape: [usize; 2]) -> Result<usize, OrthoError> {
    match shape[0].checked_mul(shape[1]) {
        Some(numel) if numel > 0 && u32::try_from(numel).is_ok() => Ok(numel),
        _ => Err(OrthoError::Shape { shape }),
    }
}

pub(crate) fn check_len(what: &'static str, len: usize, expected: usize) -> Result<(), OrthoError> {
    if len == expected { Ok(()) } else { Err(OrthoError::Length { what, len, expected }) }
}

pub(crate) fn check_finite(what: &'static str, values: &[f32]) -> Result<(), OrthoError> {
    match values.iter().position(|it| !it.is_finite()) {
        None => Ok(()),
        Some(index) => Err(OrthoError::NotFinite { what, index, value: values[index] }),
    }
}

pub(crate) fn check_shape(
    what: &'static str,
    found: [usize; 2],
    expected: [usize; 2],
) -> Result<(), OrthoError> {
    if found == expected {
        Ok(())
    } else {
        Err(OrthoError::ShapeMismatch { what, found, expected })
    }
}

/// `[rows, cols]` to `[cols, rows]`, both in row-major order.
pub(crate) fn transposed(values: &[f32], [rows, cols]: [usize; 2]) -> Vec<f32> {
    /// Columns of a task: a line of cache of each row.
    const COLS: usize = 16;

    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(COLS * rows.max(1)).enumerate().for_each(|(tile, lines)| {
        for row in 0..rows {
            let start = row * cols + tile * COLS;
            let width = lines.len() / rows;
            for (col, value) in values[start..start + width].iter().enumerate() {
                lines[col * rows + row] = *value;
            }
        }
    });
    out
}

/// $\sum x^2$.
pub(crate) fn energy(values: impl IntoIterator<Item = f32>) -> f64 {
    values.into_iter().map(|x| f64::from(x).powi(2)).sum()
}

/// $\sqrt{\mathrm{part} / \mathrm{whole}}$; 0 of nothing, infinite if the whole alone is nothing.
pub(crate) fn relative(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { (part / whole).sqrt() }
}

/// The value below which a share `p` of the values lies, linear between the two at $(n - 1) p$. The
/// order of `values` is lost.
///
/// # Panics
/// If there are no values, or `p` is not in 0 to 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the slice")]
pub(crate) fn quantile(values: &mut [f32], p: f64) -> f64 {
    let place = (values.len() - 1) as f64 * p;
    let (_, &mut below, above) = values.select_nth_unstable_by(place as usize, f32::total_cmp);
    let above = above.iter().copied().min_by(f32::total_cmp).unwrap_or(below);
    f64::from(below) + (f64::from(above) - f64::from(below)) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_between_two_values() {
        // (5 - 1) * 0.3 = 1.2: 2 + 0.2 * (4 - 2); as numpy.quantile([8, 2, 4, 1, 16], p).
        let values = [8.0, 2.0, 4.0, 1.0, 16.0];
        for (p, expected) in [(0.0, 1.0), (0.3, 2.4), (0.5, 4.0), (0.75, 8.0), (1.0, 16.0)] {
            assert!((quantile(&mut values.clone(), p) - expected).abs() < 1e-12);
        }
        assert_eq!(quantile(&mut [3.0], 0.7), 3.0);
    }

    #[test]
    fn a_channel_is_a_column() {
        let matrix = Matrix::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]).unwrap();
        assert_eq!(matrix.channels(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn a_cast_has_an_error() {
        // 1 + 2^-11 is half way to 1 + 2^-10 and goes to 1; 2^-26 goes to 0.
        let [tie, tiny] = [1.0 + 2.0_f32.powi(-11), 2.0_f32.powi(-26)];
        let values = [tie, tiny, -0.5];
        let weights = Matrix::new(&values, [3, 1]).unwrap();
        let cast = Reference::cast(weights, Storage::F16).unwrap();
        let lost = 2_f64.powi(-22) + 2_f64.powi(-52);
        let whole = f64::from(tie).powi(2) + 0.25 + 2_f64.powi(-52);
        assert!((cast.cast_error(weights).unwrap() - (lost / whole).sqrt()).abs() < 1e-12);
        let same = Reference::cast(weights, Storage::F32).unwrap();
        assert_eq!(same.cast_error(weights), Ok(0.0));
        let other = Matrix::new(&values, [1, 3]).unwrap();
        assert!(matches!(same.cast_error(other), Err(OrthoError::ShapeMismatch { .. })));
    }

    #[test]
    fn what_is_no_matrix() {
        let error = |values: &[f32], shape| Matrix::new(values, shape).unwrap_err().to_string();
        let expected = "the matrix has 3 values, expected 4";
        assert_eq!(error(&[0.0; 3], [2, 2]), expected);
        let expected = "weight 1 is NaN, expected a finite number";
        assert_eq!(error(&[0.0, f32::NAN], [2, 1]), expected);
        for shape in [[0, 3], [usize::MAX, 2], [1 << 16, 1 << 16]] {
            assert_eq!(Matrix::new(&[], shape), Err(OrthoError::Shape { shape }));
        }
    }

    #[test]
    fn the_stored_matrix() {
        let values = [0.1, -0.0, -1e-9, 65_504.0];
        let weights = Matrix::new(&values, [4, 1]).unwrap();
        let f16 = Reference::cast(weights, Storage::F16).unwrap();
        let zero = (-0.0_f32).to_bits();
        let bits =
            |it: &Reference| it.matrix().values().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        // .1 is 1638.4 steps of 2^-14, rounded to 1638.
        assert_eq!(
            bits(&f16),
            [(1_638.0_f32 / 16_384.0).to_bits(), zero, zero, 65_504_f32.to_bits()]
        );
        let (positive, count) = f16.with_positive_zeros();
        assert_eq!((bits(&positive)[1..3].to_vec(), count), (vec![0, 0], 2));
        assert_eq!(Reference::cast(weights, Storage::F32).unwrap().matrix(), weights);

        let too_large = Matrix::new(&[0.0, 65_520.0], [1, 2]).unwrap();
        assert!(Reference::cast(too_large, Storage::Bf16).is_ok());
        let error = Reference::cast(too_large, Storage::F16).unwrap_err();
        assert_eq!(
            error.to_string(),
            "weight 1 is 65520, expected a number within the range of f16"
        );
    }
}
