//! The levels a quantised vector can take: at most 255 numbers of fp16, in increasing order.

use half::f16;

use crate::CodebookError;

/// Centroids in strictly increasing order, none of them NaN, infinite or a negative zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebook {
    /// `[levels]`.
    centroids: Vec<f16>,
}

impl Codebook {
    /// The most levels there can be, so that a symbol is a byte and $L$ fits one too.
    pub const MAX_LEVELS: usize = 255;

    /// What a level costs in a file.
    pub const BITS_PER_LEVEL: usize = 16;

    /// A codebook as stored: `[levels]`.
    ///
    /// # Errors
    /// If there are no or too many centroids, or they are not finite and strictly increasing.
    pub fn new(mut centroids: Vec<f16>) -> Result<Self, CodebookError> {
        check_level_count(centroids.len())?;
        if let Some(index) = centroids.iter().position(|it| !it.is_finite()) {
            return Err(CodebookError::CentroidNotFinite {
                index,
                value: centroids[index].to_f64(),
            });
        }
        if let Some(index) = (1..centroids.len()).find(|&k| centroids[k] <= centroids[k - 1]) {
            return Err(CodebookError::CentroidsNotIncreasing { index });
        }
        centroids.iter_mut().filter(|it| **it == f16::ZERO).for_each(|it| *it = f16::ZERO);
        Ok(Self { centroids })
    }

    /// Rounds centroids, `[levels]` in any order, to fp16 (by way of `f32`, which is how every
    /// platform does it), sorts them and drops doubles.
    ///
    /// # Errors
    /// If there are none or too many, or one is not finite after the cast.
    pub fn round(centroids: &[f64]) -> Result<Self, CodebookError> {
        check_level_count(centroids.len())?;
        let mut rounded: Vec<f16> = centroids.iter().map(|&it| f16::from_f32(it as f32)).collect();
        if let Some(index) = rounded.iter().position(|it| !it.is_finite()) {
            return Err(CodebookError::CentroidNotFinite { index, value: centroids[index] });
        }
        rounded.sort_unstable_by(f16::total_cmp);
        rounded.dedup_by(|a, b| a == b); // also a zero after a negative zero
        Self::new(rounded)
    }

    /// The centroids, `[levels]`.
    pub fn centroids(&self) -> &[f16] {
        &self.centroids
    }

    /// How many there are, from 1 to 255.
    #[expect(clippy::len_without_is_empty, reason = "a codebook is never empty")]
    pub fn len(&self) -> usize {
        self.centroids.len()
    }

    /// The borders between neighbours' territories, `[levels - 1]`, exact: a value on a border
    /// belongs to the lower centroid.
    pub(crate) fn midpoints(&self) -> Vec<f64> {
        self.centroids.windows(2).map(|it| f64::midpoint(it[0].to_f64(), it[1].to_f64())).collect()
    }

    /// The symbol of every value: its nearest centroid, the lower of two. `[d]` to `[d]`.
    ///
    /// # Errors
    /// If a value is NaN or infinite.
    pub fn assign(&self, values: &[f32]) -> Result<Vec<u8>, CodebookError> {
        check_finite(values)?;
        let midpoints = self.midpoints();
        let nearest = |&value: &f32| midpoints.partition_point(|&it| it < f64::from(value)) as u8;
        Ok(values.iter().map(nearest).collect())
    }
}

/// Refuses what no symbol could name.
pub(crate) fn check_level_count(levels: usize) -> Result<(), CodebookError> {
    if (1..=Codebook::MAX_LEVELS).contains(&levels) {
        Ok(())
    } else {
        Err(CodebookError::LevelCount { levels })
    }
}

/// Refuses NaN and infinities.
pub(crate) fn check_finite(values: &[f32]) -> Result<(), CodebookError> {
    match values.iter().position(|it| !it.is_finite()) {
        Some(index) => Err(CodebookError::ValueNotFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(centroids: &[f32]) -> Vec<f16> {
        centroids.iter().copied().map(f16::from_f32).collect()
    }

    #[test]
    fn the_lower_of_two_equally_near_centroids_wins() {
        let codebook = Codebook::new(half(&[-1.0, 0.0, 0.5])).unwrap();
        let values = [-2.0, -0.5, -0.499, 0.25, 0.250_01, 9.0];
        assert_eq!(codebook.assign(&values).unwrap(), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn rounding_sorts_and_drops_doubles() {
        // fp16 has 11 significant bits: 1 + 2^-12 becomes 1.
        let codebook = Codebook::round(&[1.0, -3.0, 1.0 + 1.0 / 4096.0, 0.0, -0.0]).unwrap();
        assert_eq!(codebook.centroids(), half(&[-3.0, 0.0, 1.0]));
        assert!(codebook.centroids()[1].is_sign_positive());
    }

    #[test]
    fn bad_codebooks_are_refused() {
        use CodebookError::{CentroidNotFinite, CentroidsNotIncreasing, LevelCount};
        assert_eq!(Codebook::new(vec![]), Err(LevelCount { levels: 0 }));
        assert_eq!(Codebook::new(vec![f16::ONE; 256]), Err(LevelCount { levels: 256 }));
        assert_eq!(Codebook::round(&[0.0; 256]), Err(LevelCount { levels: 256 }));
        let repeated = Err(CentroidsNotIncreasing { index: 2 });
        assert_eq!(Codebook::new(half(&[0.0, 1.0, 1.0])), repeated);
        assert_eq!(Codebook::new(half(&[-1.0, 0.0, -0.0])), repeated);
        let infinite = Err(CentroidNotFinite { index: 1, value: f64::INFINITY });
        assert_eq!(Codebook::new(half(&[0.0, f32::INFINITY])), infinite);
        assert_eq!(
            Codebook::round(&[0.0, 65_520.0]),
            Err(CentroidNotFinite { index: 1, value: 65_520.0 })
        );
        assert!(Codebook::round(&[f64::NAN]).is_err());
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        let codebook = Codebook::new(half(&[0.0])).unwrap();
        let expected = CodebookError::ValueNotFinite { index: 1, value: f32::INFINITY };
        assert_eq!(codebook.assign(&[0.0, f32::INFINITY]), Err(expected));
        assert!(codebook.assign(&[f32::NAN]).is_err());
    }
}
