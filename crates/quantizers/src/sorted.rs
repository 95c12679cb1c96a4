//! Values in increasing order with prefix sums: the mean and the scatter of any run in $O(1)$.
//!
//! # Definition
//! With $S_1$ and $S_2$ the prefix sums of $x - m$ and $(x - m)^2$ about the overall mean $m$, the
//! values $i \le \cdot < j$ have
//! $$ \text{mean} = m + \frac{S_1(j) - S_1(i)}{j - i}, \qquad
//!    \text{scatter} = S_2(j) - S_2(i) - \frac{(S_1(j) - S_1(i))^2}{j - i} . $$
//! The sums are accumulated in `f64` with Neumaier's compensation, so that a scatter is off by a few
//! parts in $10^{16}$ of the total scatter, not of the total of squares.

use std::ops::Range;

use crate::CodebookError;
use crate::codebook::check_finite;

/// The values a codebook is made for, sorted. Never empty, all finite.
#[derive(Debug, Clone)]
pub struct SortedValues {
    /// `[d]`, increasing.
    values: Vec<f64>,
    mean: f64,
    /// `[d + 1]` each: prefix sums of the deviations from the mean, and of their squares.
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl SortedValues {
    /// Sorts `values`, `[d]`.
    ///
    /// # Errors
    /// If there are none, or one is NaN or infinite.
    pub fn new(values: &[f32]) -> Result<Self, CodebookError> {
        check_finite(values)?;
        if values.is_empty() {
            return Err(CodebookError::NoValues);
        }
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let total = prefix_sums(values.iter().copied())[values.len()];
        let mean = total / values.len() as f64;
        let sums = prefix_sums(values.iter().map(|it| it - mean));
        let squares = prefix_sums(values.iter().map(|it| (it - mean).powi(2)));
        Ok(Self { values, mean, sums, squares })
    }

    /// The values, `[d]`, increasing.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many different values there are.
    pub fn distinct(&self) -> usize {
        1 + self.values.windows(2).filter(|it| it[0] < it[1]).count()
    }

    /// The mean square deviation from the mean.
    pub fn variance(&self) -> f64 {
        self.squares[self.values.len()] / self.values.len() as f64
    }

    /// The mean of a run, which is not empty.
    pub fn mean(&self, run: Range<usize>) -> f64 {
        self.mean + (self.sums[run.end] - self.sums[run.start]) / run.len() as f64
    }

    /// The squared distances from the mean of a run, which is not empty, summed.
    #[inline]
    pub fn scatter(&self, run: Range<usize>) -> f64 {
        let sum = self.sums[run.end] - self.sums[run.start];
        let squares = self.squares[run.end] - self.squares[run.start];
        (squares - sum * sum / run.len() as f64).max(0.0)
    }
}

/// `[n + 1]` sums of the first 0, 1, ... n numbers, each rounded once.
fn prefix_sums(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    let mut sums = vec![0.0];
    for number in numbers {
        let next = sum + number;
        lost += if sum.abs() >= number.abs() { sum - next + number } else { number - next + sum };
        sum = next;
        sums.push(sum + lost);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_scatters_of_runs() {
        let sorted = SortedValues::new(&[4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!(sorted.values(), [1.0, 2.0, 4.0, 9.0]);
        assert!((sorted.variance() - 38.0 / 4.0).abs() < 1e-15); // 9 + 4 + 0 + 25 about the mean 4
        assert_eq!((sorted.mean(0..2), sorted.scatter(0..2)), (1.5, 0.5));
        assert_eq!((sorted.mean(1..4), sorted.scatter(1..4)), (5.0, 26.0)); // 9 + 1 + 16
        assert_eq!(SortedValues::new(&[2.0, -1.0, 2.0]).unwrap().distinct(), 2);
    }

    #[test]
    fn a_far_offset_does_not_drown_the_scatter() {
        // 10^4 values around 1000 in steps of 2^-13: the scatter is n (n^2 - 1) / 12 steps squared.
        let values: Vec<f32> = (0..10_000_u16).map(|k| 1000.0 + f32::from(k) / 8192.0).collect();
        let sorted = SortedValues::new(&values).unwrap();
        let exact = 1e4 * (1e8 - 1.0) / 12.0 / 8192.0_f64.powi(2);
        assert!((sorted.scatter(0..10_000) / exact - 1.0).abs() < 1e-13);
        let exact = 10.0 * 99.0 / 12.0 / 8192.0_f64.powi(2);
        assert!((sorted.scatter(7_000..7_010) / exact - 1.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_and_nan_are_refused() {
        assert_eq!(SortedValues::new(&[]).unwrap_err(), CodebookError::NoValues);
        let error = SortedValues::new(&[0.0, 1.0, f32::NEG_INFINITY]).unwrap_err();
        assert!(matches!(error, CodebookError::ValueNotFinite { index: 2, .. }));
    }
}
