//! The eigenvalues of $W^\top W$: squared singular values, neither centred nor divided by a side.
//!
//! # Definition
//! For an $N \times M$ matrix, $N \ge M$, the Gram matrix on the small side is summed in `f64`, reduced
//! to a tridiagonal one, and its eigenvalues found without vectors. That squares the condition: what
//! lies within about $\varepsilon \lambda_{\max}$ of zero is noise. Above $10^{-10} \lambda_{\max}$ an
//! eigenvalue is certain, so a matrix that has none below is certainly of full rank. For others only
//! singular values proper tell the rank, at three to five times the time; a [`Route`] says who gets
//! them.
//!
//! Both decompositions are faer's, on one thread always: matrices are many, so the caller runs them in
//! parallel.

use serde::{Deserialize, Serialize};

use crate::decomposition::{gram_eigenvalues, singular_values};
use crate::{SpectrumError, Weights};

/// Eigenvalues of a Gram matrix are exact enough above this share of the largest.
const CERTAIN: f64 = 1e-10;

/// Largest difference of the eigenvalues' sum and the squared Frobenius norm, relative to it.
const TRACE_TOLERANCE: f64 = 1e-10;

/// From what a spectrum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Route {
    /// The Gram matrix: all one needs for fits and norms.
    #[default]
    Gram,
    /// The Gram matrix, and singular values where it cannot tell the rank.
    Auto,
    /// Singular values.
    Svd,
}

/// The pooled eigenvalues of the matrices of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    eigenvalues: Vec<f64>,
    shape: [usize; 2],
    slices: usize,
    frobenius_squared: f64,
    singular_min: f64,
    rank_loss: Option<usize>,
}

impl Spectrum {
    /// The spectrum of one matrix.
    ///
    /// # Shapes
    /// - values: `shape`, row after row
    ///
    /// # Errors
    /// If the values are not a matrix of finite numbers, or the eigenvalues do not pass their checks.
    pub fn from_matrix(
        values: &[f32],
        shape: [usize; 2],
        route: Route,
    ) -> Result<Self, SpectrumError> {
        Self::from_weights(&Weights::matrix(values, shape)?, route)
    }

    /// The pooled spectrum of a convolution kernel, `[out, in, height, width]`; see [`Weights`].
    ///
    /// # Errors
    /// As [`Self::from_matrix`].
    pub fn from_kernel(
        values: &[f32],
        shape: [usize; 4],
        route: Route,
    ) -> Result<Self, SpectrumError> {
        Self::from_weights(&Weights::kernel(values, shape)?, route)
    }

    /// The pooled spectrum of any weights.
    ///
    /// # Errors
    /// If the iteration does not converge, or the eigenvalues do not sum to the squared norm.
    pub fn from_weights(weights: &Weights, route: Route) -> Result<Self, SpectrumError> {
        let [rows, cols] = weights.shape();
        let mut spectrum = Self {
            eigenvalues: Vec::with_capacity(weights.slices().len() * rows.min(cols)),
            shape: [rows.max(cols), rows.min(cols)],
            slices: weights.slices().len(),
            frobenius_squared: 0.0,
            singular_min: 0.0,
            rank_loss: Some(0),
        };
        for values in weights.slices() {
            let norm = weights.scale() * values.chunks(1 << 13).map(sum_of_squares).sum::<f64>();
            let slice = Slice::new(values, weights.shape(), route)?;
            let eigenvalues = slice.eigenvalues.iter().map(|x| weights.scale() * x);
            let sum: f64 = eigenvalues.clone().sum();
            if (sum - norm).abs() > TRACE_TOLERANCE * norm {
                return Err(SpectrumError::Trace { sum, norm });
            }
            let min = (weights.scale() * slice.eigenvalues.first().unwrap_or(&0.0)).sqrt();
            spectrum.eigenvalues.extend(eigenvalues);
            spectrum.frobenius_squared += norm;
            spectrum.singular_min = spectrum.singular_min.max(min);
            spectrum.rank_loss = spectrum.rank_loss.zip(slice.rank_loss).map(|(a, b)| a + b);
        }
        spectrum.eigenvalues.sort_unstable_by(f64::total_cmp);
        Ok(spectrum)
    }

    /// Ascending, `[M rf]`.
    pub fn eigenvalues(&self) -> &[f64] {
        &self.eigenvalues
    }

    /// The largest eigenvalue.
    pub fn largest(&self) -> f64 {
        self.eigenvalues.last().copied().unwrap_or(0.0)
    }

    /// $N$, the larger side of a matrix.
    pub fn larger_side(&self) -> usize {
        self.shape[0]
    }

    /// $M$, the smaller side of a matrix.
    pub fn smaller_side(&self) -> usize {
        self.shape[1]
    }

    /// How many matrices there are: the receptive field of a kernel, else 1.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// Sum of the squared entries, from the entries.
    pub fn frobenius_squared(&self) -> f64 {
        self.frobenius_squared
    }

    /// The largest over all matrices of the smallest singular value of each, as WeightWatcher has it.
    pub fn singular_min(&self) -> f64 {
        self.singular_min
    }

    /// How many singular values of a matrix are at most $N \varepsilon$ of its largest, summed over
    /// the matrices; none where a Gram matrix cannot tell.
    pub fn rank_loss(&self) -> Option<usize> {
        self.rank_loss
    }
}

/// What one matrix contributes.
struct Slice {
    /// Ascending.
    eigenvalues: Vec<f64>,
    rank_loss: Option<usize>,
}

impl Slice {
    fn new(values: &[f32], shape: [usize; 2], route: Route) -> Result<Self, SpectrumError> {
        if route != Route::Svd {
            let eigenvalues = gram_eigenvalues::<f64>(values, shape, 1.0)?;
            let ends = eigenvalues.first().zip(eigenvalues.last());
            let certain = ends.is_none_or(|(min, max)| *min > CERTAIN * max);
            if certain || route == Route::Gram {
                return Ok(Self { eigenvalues, rank_loss: certain.then_some(0) });
            }
        }
        let singular = singular_values(values, shape)?;
        let larger = shape[0].max(shape[1]) as f64;
        let zero = singular.last().unwrap_or(&0.0) * larger * f64::EPSILON;
        let rank_loss = Some(singular.partition_point(|&s| s <= zero));
        Ok(Self { eigenvalues: singular.into_iter().map(|s| s * s).collect(), rank_loss })
    }
}

/// The pooled eigenvalues of weights to six digits of the largest, in half the time: by a Gram matrix
/// in `f32`, of the entries in units of their root mean square.
pub(crate) fn rough_eigenvalues(weights: &Weights) -> Result<Vec<f64>, SpectrumError> {
    let mut pooled = Vec::new();
    for values in weights.slices() {
        let mean = values.chunks(1 << 13).map(sum_of_squares).sum::<f64>() / values.len() as f64;
        let unit = if mean > 0.0 { mean } else { 1.0 };
        let eigenvalues = gram_eigenvalues::<f32>(values, weights.shape(), 1.0 / unit.sqrt())?;
        pooled.extend(eigenvalues.into_iter().map(|x| weights.scale() * unit * x));
    }
    pooled.sort_unstable_by(f64::total_cmp);
    Ok(pooled)
}

/// In eight sums, so that they are summed at once.
fn sum_of_squares(values: &[f32]) -> f64 {
    let (lanes, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for lane in lanes {
        for (sum, &x) in sums.iter_mut().zip(lane) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;

    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    #[test]
    fn three_by_two_by_hand() {
        // Columns (3, 0, 4) and (0, 2, 0): orthogonal, squared norms 25 and 4.
        let values = [3.0, 0.0, 0.0, 2.0, 4.0, 0.0];
        for route in [Route::Gram, Route::Auto, Route::Svd] {
            let spectrum = Spectrum::from_matrix(&values, [3, 2], route).unwrap();
            for (eigenvalue, expected) in spectrum.eigenvalues().iter().zip([4.0, 25.0]) {
                assert!((eigenvalue - expected).abs() < 1e-13, "{spectrum:?}");
            }
            assert!((spectrum.singular_min() - 2.0).abs() < 1e-14);
            assert_eq!([spectrum.larger_side(), spectrum.smaller_side()], [3, 2]);
            assert_eq!((spectrum.slices(), spectrum.rank_loss()), (1, Some(0)));
        }
    }

    #[test]
    fn both_routes_agree_on_every_shape() {
        for (seed, shape) in
            (0..).zip([[1, 1], [1, 9], [2, 2], [3, 2], [40, 61], [61, 40], [1030, 3]])
        {
            let values = normal(seed, shape[0] * shape[1]);
            let gram = Spectrum::from_matrix(&values, shape, Route::Gram).unwrap();
            let svd = Spectrum::from_matrix(&values, shape, Route::Svd).unwrap();
            assert_eq!(gram.eigenvalues().len(), shape[0].min(shape[1]));
            for (a, b) in gram.eigenvalues().iter().zip(svd.eigenvalues()) {
                assert!((a - b).abs() < 1e-13 * gram.largest(), "{shape:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn rough_eigenvalues_are_right_to_six_digits_at_any_magnitude() {
        for magnitude in [1.0, 1e-42, 1e37] {
            let values: Vec<f32> = normal(5, 90 * 60).iter().map(|x| x * magnitude).collect();
            let weights = Weights::matrix(&values, [90, 60]).unwrap();
            let exact = Spectrum::from_weights(&weights, Route::Gram).unwrap();
            for (a, b) in exact.eigenvalues().iter().zip(rough_eigenvalues(&weights).unwrap()) {
                assert!((a - b).abs() < 1e-5 * exact.largest(), "{magnitude}: {a} {b}");
            }
        }
    }

    #[test]
    fn only_singular_values_tell_a_low_rank() {
        // Rank 1 plus 1e-7 on one place: eigenvalue 1e-14 of the largest, singular value 1e-7.
        let mut values = vec![1.0; 30 * 20];
        values[0] += 1e-6;
        let gram = Spectrum::from_matrix(&values, [30, 20], Route::Gram).unwrap();
        assert_eq!(gram.rank_loss(), None);
        let auto = Spectrum::from_matrix(&values, [30, 20], Route::Auto).unwrap();
        assert_eq!(auto.rank_loss(), Some(18));
        let zero = Spectrum::from_matrix(&[0.0; 12], [3, 4], Route::Auto).unwrap();
        assert_eq!((zero.rank_loss(), zero.largest()), (Some(3), 0.0));
    }

    #[test]
    fn transposing_and_permuting_rows_change_nothing() {
        let [rows, cols] = [50, 30];
        let values = normal(9, rows * cols);
        let spectrum = Spectrum::from_matrix(&values, [rows, cols], Route::Gram).unwrap();
        let transposed: Vec<f32> =
            (0..rows * cols).map(|place| values[place % rows * cols + place / rows]).collect();
        let reversed: Vec<f32> = values.chunks(cols).rev().flatten().copied().collect();
        for (values, shape) in [(transposed, [cols, rows]), (reversed, [rows, cols])] {
            let other = Spectrum::from_matrix(&values, shape, Route::Gram).unwrap();
            for (a, b) in spectrum.eigenvalues().iter().zip(other.eigenvalues()) {
                assert!((a - b).abs() < 1e-13 * spectrum.largest());
            }
        }
    }

    #[test]
    fn the_ends_of_f32_neither_overflow_nor_vanish() {
        for magnitude in [f32::MAX, 1e-44] {
            let values: Vec<f32> =
                normal(2, 400).iter().map(|x| x.clamp(-1.0, 1.0) * magnitude).collect();
            for route in [Route::Gram, Route::Svd] {
                let spectrum = Spectrum::from_matrix(&values, [20, 20], route).unwrap();
                assert!(spectrum.largest() > 0.0 && spectrum.largest().is_finite());
            }
        }
    }

    #[test]
    fn a_kernel_pools_its_places() {
        let values = normal(4, 5 * 4 * 3 * 2);
        let pooled = Spectrum::from_kernel(&values, [5, 4, 3, 2], Route::Gram).unwrap();
        assert_eq!((pooled.eigenvalues().len(), pooled.slices()), (24, 6));
        let mut apart = Vec::new();
        for slice in Weights::kernel_slices(&values, [5, 4, 3, 2]).unwrap() {
            let spectrum = Spectrum::from_weights(&slice, Route::Gram).unwrap();
            apart.extend(spectrum.eigenvalues().iter().map(|x| x / 6.0)); // 6/2 against 1/2
        }
        apart.sort_unstable_by(f64::total_cmp);
        for (a, b) in pooled.eigenvalues().iter().zip(&apart) {
            assert!((a - b).abs() < 1e-13 * pooled.largest());
        }
    }
}
