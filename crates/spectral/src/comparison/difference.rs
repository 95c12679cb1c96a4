//! What quantisation did to the entries, before any spectrum.
//!
//! # Definition
//! For $W$ before and $W'$ after, with Frobenius norms:
//! relative error $\|W' - W\| / \|W\|$, and $\mathrm{SNR} = -20 \log_{10}$ of it in decibels. Zeros and
//! distinct levels are counted in $W'$, the latter over the whole matrix: with a scale for every channel
//! there are about as many levels for every channel.

use crate::{SpectrumError, Weights};

/// The entries of a matrix after quantisation beside those before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightDifference {
    /// $\|W' - W\|$, the norm of the error.
    pub error_norm: f64,
    /// $\|W' - W\| / \|W\|$; 0 for equal matrices, infinite if only $W$ is zero.
    pub relative_error: f64,
    /// Signal to noise in decibels; infinite for equal matrices.
    pub snr_db: f64,
    /// Share of the entries of $W'$ that are zero.
    pub zero_fraction: f64,
    /// Rows of $W'$ that are zero.
    pub zero_rows: usize,
    /// Columns of $W'$ that are zero.
    pub zero_columns: usize,
    /// Rows and columns that are zero in $W'$ and were not in $W$.
    pub lost: usize,
    /// Distinct values in $W'$.
    pub levels: usize,
}

impl WeightDifference {
    /// Compares `before` and `after`.
    ///
    /// # Shapes
    /// - before, after: `[rows, columns]`, row by row
    ///
    /// # Errors
    /// If either does not fill `shape`, the shape is empty, or an entry is not finite.
    pub fn of(before: &[f32], after: &[f32], shape: [usize; 2]) -> Result<Self, SpectrumError> {
        let [rows, columns] = shape;
        for values in [before, after] {
            Weights::matrix(values, shape)?;
        }
        let (mut error, mut signal, mut zeros) = (0.0, 0.0, 0);
        let mut alive_rows = vec![[false; 2]; rows];
        let mut alive_columns = vec![[false; 2]; columns];
        let lines = before.chunks_exact(columns).zip(after.chunks_exact(columns));
        for (row, (before, after)) in alive_rows.iter_mut().zip(lines) {
            for (column, (&w, &q)) in alive_columns.iter_mut().zip(before.iter().zip(after)) {
                let alive = [w != 0.0, q != 0.0];
                let difference = f64::from(q) - f64::from(w);
                error += difference * difference;
                signal += f64::from(w) * f64::from(w);
                zeros += usize::from(!alive[1]);
                for line in [&mut *row, column] {
                    line[0] |= alive[0];
                    line[1] |= alive[1];
                }
            }
        }
        let dead = |lines: &[[bool; 2]]| lines.iter().filter(|alive| !alive[1]).count();
        let lost = |lines: &[[bool; 2]]| lines.iter().filter(|alive| alive[0] && !alive[1]).count();
        let relative_error = if error == 0.0 { 0.0 } else { (error / signal).sqrt() };
        Ok(Self {
            error_norm: error.sqrt(),
            relative_error,
            snr_db: -20.0 * relative_error.log10(),
            zero_fraction: zeros as f64 / after.len() as f64,
            zero_rows: dead(&alive_rows),
            zero_columns: dead(&alive_columns),
            lost: lost(&alive_rows) + lost(&alive_columns),
            levels: distinct(after),
        })
    }
}

/// Distinct values, the two zeros counted as one: grouped by the upper half of their bits, then marked
/// by the lower. Sorting a million of them takes as long as their spectrum.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn distinct(values: &[f32]) -> usize {
    let bits = |value: &f32| (value + 0.0).to_bits();
    let mut ends = vec![0_usize; 1 << 16];
    for value in values {
        ends[(bits(value) >> 16) as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total - *end; // the start of the group, moved to its end below
    }
    let mut lower = vec![0_u16; values.len()];
    for value in values {
        let end = &mut ends[(bits(value) >> 16) as usize];
        lower[*end] = bits(value) as u16;
        *end += 1;
    }
    let (mut seen, mut start, mut levels) = (vec![false; 1 << 16], 0, 0);
    for end in ends {
        for &place in &lower[start..end] {
            levels += usize::from(!std::mem::replace(&mut seen[usize::from(place)], true));
        }
        for &place in &lower[start..end] {
            seen[usize::from(place)] = false;
        }
        start = end;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_matrix_by_hand() {
        let before = [3.0, 0.4, 0.0, /**/ 0.3, 0.2, 0.0];
        let after = [3.0, 0.0, 0.0, /**/ -0.0, 0.0, 0.0];
        let found = WeightDifference::of(&before, &after, [2, 3]).unwrap();
        let error = 0.16_f64 + 0.09 + 0.04; // .4^2 + .3^2 + .2^2
        let signal = 9.29; // and 3^2
        assert!((found.error_norm - error.sqrt()).abs() < 1e-7, "{found:?}");
        assert!((found.relative_error - (error / signal).sqrt()).abs() < 1e-7, "{found:?}");
        assert!((found.snr_db - 10.0 * (signal / error).log10()).abs() < 1e-6, "{found:?}");
        assert!((found.zero_fraction - 5.0 / 6.0).abs() < 1e-15);
        assert_eq!((found.zero_rows, found.zero_columns), (1, 2));
        assert_eq!(found.lost, 2); // the second row and the second column: the third was zero before
        assert_eq!(found.levels, 2); // 3 and 0, with either sign
    }

    #[test]
    fn nothing_changed_and_everything_changed() {
        let equal = WeightDifference::of(&[1.0, 2.0], &[1.0, 2.0], [1, 2]).unwrap();
        assert_eq!((equal.relative_error, equal.snr_db), (0.0, f64::INFINITY));
        let nothing = WeightDifference::of(&[0.0], &[0.0], [1, 1]).unwrap();
        assert_eq!((nothing.relative_error, nothing.lost), (0.0, 0));
        let noise = WeightDifference::of(&[0.0], &[1.0], [1, 1]).unwrap();
        assert_eq!((noise.relative_error, noise.snr_db), (f64::INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn distinct_values_are_those_of_a_set() {
        let values: Vec<f32> = (0..5_000_u16).map(|i| (f32::from(i % 700) - 350.0) / 3.0).collect();
        assert_eq!(distinct(&values), 700);
        let neighbours =
            [1.0, 1.0_f32.next_up(), -1.0, f32::MAX, f32::MIN_POSITIVE, 0.0, -0.0, 1.0];
        assert_eq!(distinct(&neighbours), 6);
    }

    #[test]
    fn what_is_no_pair_of_matrices() {
        let of = |before: &[f32], after: &[f32], shape| WeightDifference::of(before, after, shape);
        let shape = of(&[1.0], &[1.0, 2.0], [1, 1]).unwrap_err();
        assert_eq!(shape, SpectrumError::Shape { values: 2, shape: vec![1, 1] });
        let empty = of(&[], &[], [0, 3]).unwrap_err();
        assert_eq!(empty, SpectrumError::Empty { shape: vec![0, 3] });
        let infinite = of(&[1.0, 2.0], &[1.0, f32::INFINITY], [2, 1]).unwrap_err();
        assert_eq!(infinite, SpectrumError::NonFinite { index: 1, value: f32::INFINITY });
        assert!(of(&[1.0], &[1.0], [usize::MAX, 2]).is_err());
    }
}
