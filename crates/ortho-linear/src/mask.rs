//! Which weights go to the outlier stream.

use counter_rng::Key;
use rayon::prelude::*;

use crate::matrix::numel;
use crate::{Matrix, OrthoError, Scope};

/// Places of a matrix `[d_in, d_out]`, rising, in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    places: Vec<u32>,
    shape: [usize; 2],
}

#[expect(clippy::cast_possible_truncation, reason = "a matrix has less than 2^32 values")]
impl Mask {
    /// Checks that `places` rise and lie in a matrix of `shape`.
    ///
    /// # Errors
    /// [`OrthoError::Shape`] or [`OrthoError::Mask`].
    pub fn new(places: Vec<u32>, shape: [usize; 2]) -> Result<Self, OrthoError> {
        let numel = numel(shape)?;
        let mut previous = None;
        for &place in &places {
            if place as usize >= numel || previous.is_some_and(|it| it >= place) {
                return Err(OrthoError::Mask { place, previous, numel });
            }
            previous = Some(place);
        }
        Ok(Self { places, shape })
    }

    /// The places whose value in `weights` satisfies `is_selected`, which is asked with the place.
    pub(crate) fn of(weights: Matrix<'_>, is_selected: impl Fn(usize, f32) -> bool) -> Self {
        let places = weights.values().iter().enumerate();
        let places = places.filter(|&(place, &x)| is_selected(place, x));
        Self { places: places.map(|(place, _)| place as u32).collect(), shape: weights.shape() }
    }

    /// The places of the largest scores: exactly $k = \operatorname{round}(\mathrm{ratio} \cdot n)$ of
    /// the $n$ values of the matrix, or of each output channel; ties to the lowest place, and halves to
    /// the even count.
    pub(crate) fn top(
        shape: [usize; 2],
        ratio: f64,
        scope: Scope,
        score: impl Fn(usize) -> f64 + Sync,
    ) -> Result<Self, OrthoError> {
        let numel = numel(shape)?;
        let [d_in, d_out] = shape;
        let top = |mut places: Vec<u32>, k: usize| {
            if k < places.len() {
                let order = |a: &u32, b: &u32| {
                    score(*b as usize).total_cmp(&score(*a as usize)).then(a.cmp(b))
                };
                places.select_nth_unstable_by(k, order);
                places.truncate(k);
            }
            places
        };
        let mut places: Vec<u32> = match scope {
            Scope::Matrix => top((0..numel as u32).collect(), count(ratio, numel)?),
            Scope::Channel => {
                let k = count(ratio, d_in)?;
                let channel = |out: usize| (0..d_in).map(|i| (i * d_out + out) as u32).collect();
                let tops = (0..d_out).into_par_iter().flat_map_iter(|out| top(channel(out), k));
                tops.collect()
            }
        };
        places.sort_unstable();
        Ok(Self { places, shape })
    }

    /// `k` places drawn without replacement.
    pub(crate) fn random(shape: [usize; 2], ratio: f64, key: Key) -> Result<Self, OrthoError> {
        let numel = numel(shape)?;
        let mut places = key.permutation(numel);
        places.truncate(count(ratio, numel)?);
        places.sort_unstable();
        Ok(Self { places, shape })
    }

    /// Rising, in row-major order.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// `[d_in, d_out]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Share of the weights that it holds.
    pub fn density(&self) -> f64 {
        self.places.len() as f64 / (self.shape[0] * self.shape[1]) as f64
    }
}

/// $k$ of `numel` values.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0 to numel")]
fn count(ratio: f64, numel: usize) -> Result<usize, OrthoError> {
    if (0.0..=1.0).contains(&ratio) {
        Ok((ratio * numel as f64).round_ties_even() as usize)
    } else {
        Err(OrthoError::Ratio { ratio })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_as_many_as_asked_for() {
        // 5632 x 2048: .001 of 11,534,336 is 11,534.3.
        for (ratio, numel, k) in [
            (0.001, 11_534_336, 11_534),
            (0.005, 11_534_336, 57_672),
            (0.0, 9, 0),
            (1.0, 9, 9),
            (0.5, 9, 4),  // 4.5, to even
            (0.5, 11, 6), // 5.5, to even
        ] {
            assert_eq!(count(ratio, numel), Ok(k));
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            let error = count(ratio, 9).unwrap_err().to_string();
            assert_eq!(error, format!("`ratio` is {ratio}, expected 0 to 1"));
        }
    }

    #[test]
    fn ties_to_the_lowest_place() {
        let scores = [1.0, 2.0, 2.0, 0.0, 2.0, 1.0]; // [3, 2]
        let top = |ratio, scope| Mask::top([3, 2], ratio, scope, |place| scores[place]).unwrap();
        assert_eq!(top(2.0 / 6.0, Scope::Matrix).places(), [1, 2]);
        assert_eq!(top(4.0 / 6.0, Scope::Matrix).places(), [0, 1, 2, 4]);
        // Channels 1 2 2 and 2 0 1.
        assert_eq!(top(1.0 / 3.0, Scope::Channel).places(), [1, 2]);
        assert_eq!(top(1.0, Scope::Channel).places(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn places_that_are_no_mask() {
        let error = |places| Mask::new(places, [2, 2]).unwrap_err();
        assert_eq!(error(vec![4]), OrthoError::Mask { place: 4, previous: None, numel: 4 });
        assert_eq!(error(vec![1, 1]), OrthoError::Mask { place: 1, previous: Some(1), numel: 4 });
        assert_eq!(error(vec![2, 1]), OrthoError::Mask { place: 1, previous: Some(2), numel: 4 });
        assert_eq!(Mask::new(vec![0, 3], [2, 2]).unwrap().density(), 0.5);
    }
}
