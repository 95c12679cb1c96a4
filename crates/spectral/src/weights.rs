//! The matrices of one tensor: one of a dense layer, one for every place of a convolution kernel.
//!
//! # Definition
//! A kernel $[O, I, k_h, k_w]$ is $k_h k_w$ matrices $W_{ij}$, each $O \times I$. Pooled, they are one
//! spectrum, every matrix times $\sqrt{1/2}$; apart, each is its own, times $\sqrt{k_h k_w / 2}$.
//! The first two sides are the channels if their sum is at least that of the last two, else the last
//! two are. Both factors and the guess are WeightWatcher's. The other reading of a kernel, flattened to
//! $O \times I k_h k_w$, is [`Weights::matrix`] with that shape: the values are the same.

use std::borrow::Cow;

use counter_rng::Key;

use crate::SpectrumError;

/// Matrices of equal shape whose eigenvalues belong to one spectrum.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    slices: Vec<Cow<'a, [f32]>>,
    shape: [usize; 2],
    /// What multiplies the eigenvalues: the square of the factor of the matrices.
    scale: f64,
}

impl<'a> Weights<'a> {
    /// One matrix.
    ///
    /// # Shapes
    /// - values: `shape`, row after row
    ///
    /// # Errors
    /// If there are no or too few or too many values, or one is not finite.
    pub fn matrix(values: &'a [f32], shape: [usize; 2]) -> Result<Self, SpectrumError> {
        check(values, &shape)?;
        Ok(Self { slices: vec![Cow::Borrowed(values)], shape, scale: 1.0 })
    }

    /// All matrices of a convolution kernel, as one spectrum.
    ///
    /// # Shapes
    /// - values: `shape`, `[out, in, height, width]` or `[height, width, in, out]`
    ///
    /// # Errors
    /// If there are no or too few or too many values, or one is not finite.
    pub fn kernel(values: &'a [f32], shape: [usize; 4]) -> Result<Self, SpectrumError> {
        check(values, &shape)?;
        let (sides, places) = Self::kernel_sides(shape);
        let slices = if sides == [shape[0], shape[1]] {
            let place = |place: usize| values[place..].iter().copied().step_by(places).collect();
            (0..places).map(|it| Cow::Owned(place(it))).collect()
        } else {
            values.chunks(sides[0] * sides[1]).map(Cow::Borrowed).collect()
        };
        Ok(Self { slices, shape: sides, scale: 0.5 })
    }

    /// Sides of the matrices of a convolution kernel of this shape, and how many places it has.
    pub fn kernel_sides([a, b, c, d]: [usize; 4]) -> ([usize; 2], usize) {
        if a + b < c + d { ([c, d], a * b) } else { ([a, b], c * d) }
    }

    /// The matrices of a convolution kernel apart, in the order of their places.
    ///
    /// # Errors
    /// As [`Self::kernel`].
    pub fn kernel_slices(values: &'a [f32], shape: [usize; 4]) -> Result<Vec<Self>, SpectrumError> {
        let Self { slices, shape, scale } = Self::kernel(values, shape)?;
        let scale = scale * slices.len() as f64;
        Ok(slices.into_iter().map(|slice| Self { slices: vec![slice], shape, scale }).collect())
    }

    /// The same entries in random places, each matrix permuted in itself: by Fisher and Yates, every
    /// place drawn from one word, so evenly to one part in $2^{64}$ over the number of entries.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below the length, which is a usize")]
    pub fn permuted(&self, key: &Key) -> Weights<'static> {
        let permute = |(slice, values): (u64, &Cow<[f32]>)| {
            let (mut values, mut words) = (values.to_vec(), key.index(slice).words(0));
            for last in (1..values.len()).rev() {
                let word = words.next().unwrap_or_default(); // there is always a next
                values.swap(last, ((u128::from(word) * (last as u128 + 1)) >> 64) as usize);
            }
            Cow::Owned(values)
        };
        let slices = (0..).zip(&self.slices).map(permute).collect();
        Weights { slices, shape: self.shape, scale: self.scale }
    }

    /// These entries plus Gaussian noise, which `key` determines, of Frobenius norm `norm` over all
    /// matrices together, before the factor.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    pub fn with_noise(&self, norm: f64, key: &Key) -> Weights<'static> {
        let mut squares = 0.0;
        let normals = |(slice, values): (u64, &Cow<[f32]>)| {
            let (mut noise, mut words) = (vec![0.0; values.len()], key.index(slice).words(0));
            for pair in noise.chunks_mut(2) {
                pair.copy_from_slice(&words.normal_pair()[..pair.len()]);
            }
            squares += noise.iter().map(|&z| f64::from(z) * f64::from(z)).sum::<f64>();
            noise
        };
        let mut noise: Vec<Vec<f32>> = (0..).zip(&self.slices).map(normals).collect();
        let scale = if squares > 0.0 { norm / squares.sqrt() } else { 0.0 };
        for (noise, values) in noise.iter_mut().zip(&self.slices) {
            for (z, &w) in noise.iter_mut().zip(values.iter()) {
                *z = (f64::from(w) + scale * f64::from(*z)) as f32;
            }
        }
        let slices = noise.into_iter().map(Cow::Owned).collect();
        Weights { slices, shape: self.shape, scale: self.scale }
    }

    /// The matrices, each `shape()`, row after row, before the factor.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.slices.iter().map(AsRef::as_ref)
    }

    /// Rows and columns of every matrix.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// What multiplies the eigenvalues.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

fn check(values: &[f32], shape: &[usize]) -> Result<(), SpectrumError> {
    let shape_of = || shape.to_vec();
    let count = shape.iter().try_fold(1, |count: usize, &side| count.checked_mul(side));
    if count == Some(0) {
        return Err(SpectrumError::Empty { shape: shape_of() });
    }
    if count != Some(values.len()) {
        return Err(SpectrumError::Shape { values: values.len(), shape: shape_of() });
    }
    let finite = |some: &[f32]| some.iter().fold(true, |all, x| all & x.is_finite());
    if values.chunks(1 << 13).all(finite) {
        return Ok(());
    }
    let index = values.iter().position(|x| !x.is_finite()).unwrap_or_default();
    Err(SpectrumError::NonFinite { index, value: values[index] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_its_places_whichever_sides_are_channels() {
        // [O, I, h, w] = [3, 2, 1, 2]: entry (o, i, 0, j) is 100 o + 10 i + j.
        let values: Vec<f32> =
            [0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211].map(|x| x as f32).to_vec();
        let kernel = Weights::kernel(&values, [3, 2, 1, 2]).unwrap();
        assert_eq!((kernel.shape(), kernel.scale()), ([3, 2], 0.5));
        let slices: Vec<&[f32]> = kernel.slices().collect();
        assert_eq!(
            slices,
            [[0.0, 10.0, 100.0, 110.0, 200.0, 210.0], [1.0, 11.0, 101.0, 111.0, 201.0, 211.0]]
        );
        assert_eq!(Weights::kernel_sides([2, 2, 2, 2]), ([2, 2], 4));
        let last = Weights::kernel(&values, [1, 2, 3, 2]).unwrap();
        assert_eq!(last.shape(), [3, 2]);
        assert!(last.slices().eq([&values[..6], &values[6..]]));
        let apart = Weights::kernel_slices(&values, [3, 2, 1, 2]).unwrap();
        assert_eq!((apart.len(), apart[1].scale()), (2, 1.0)); // sqrt(2/2) squared
    }

    #[test]
    fn a_permutation_moves_and_keeps_the_entries() {
        let values: Vec<f32> = (0..60_u8).map(f32::from).collect();
        let weights = Weights::matrix(&values, [6, 10]).unwrap();
        let permuted = weights.permuted(&Key::from_seed(1));
        let mut moved = permuted.slices().next().unwrap().to_vec();
        assert_ne!(moved, values);
        moved.sort_unstable_by(f32::total_cmp);
        assert_eq!(moved, values);
    }

    #[test]
    fn noise_has_the_norm_asked_for() {
        let values: Vec<f32> = (0..1001_u16).map(f32::from).collect();
        let one_norm = |shape: [usize; 4]| {
            let weights = Weights::kernel(&values, shape).unwrap();
            let noisy = weights.with_noise(3.0, &Key::from_seed(1));
            let slices = noisy.slices().flatten().zip(weights.slices().flatten());
            slices.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        for shape in [[7, 11, 1, 13], [143, 7, 1, 1]] {
            assert!((one_norm(shape) - 3.0).abs() < 1e-3, "rounded to f32 near 1000");
        }
        let weights = Weights::matrix(&values, [7, 143]).unwrap();
        let noisy = |norm, seed| {
            let noisy = weights.with_noise(norm, &Key::from_seed(seed));
            noisy.slices().next().unwrap().to_vec()
        };
        assert_eq!(noisy(3.0, 1), noisy(3.0, 1));
        assert_ne!(noisy(3.0, 1), noisy(3.0, 2));
        assert_eq!(noisy(0.0, 1), values);
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let refused = |values: &[f32], shape| Weights::matrix(values, shape).unwrap_err();
        assert_eq!(
            refused(&[1.0; 5], [2, 3]).to_string(),
            "5 values do not fill a matrix of shape [2, 3]"
        );
        assert_eq!(refused(&[], [0, 3]).to_string(), "a matrix of shape [0, 3] has no entries");
        assert_eq!(
            refused(&[], [usize::MAX, 3]).to_string(),
            format!("0 values do not fill a matrix of shape [{}, 3]", usize::MAX)
        );
        assert_eq!(
            refused(&[0.0, f32::NAN], [2, 1]).to_string(),
            "entry 1 is NaN, not a finite number"
        );
        assert_eq!(
            refused(&[f32::NEG_INFINITY], [1, 1]).to_string(),
            "entry 0 is -inf, not a finite number"
        );
    }
}
