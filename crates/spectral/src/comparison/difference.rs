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
    /// Compares `before` and `after`. A row of a convolution kernel is an output channel, over all places.
    ///
    /// # Errors
    /// If `after` has another shape than `before`.
    pub fn of(before: &Weights, after: &Weights) -> Result<Self, SpectrumError> {
        let [rows, columns] = before.shape();
        if after.shape() != before.shape() || after.slices().len() != before.slices().len() {
            let values = after.slices().map(<[f32]>::len).sum();
            let shape = vec![before.slices().len(), rows, columns];
            return Err(SpectrumError::Shape { values, shape });
        }
        let (mut error, mut signal, mut zeros) = (0.0, 0.0, 0);
        let mut alive_rows = vec![[false; 2]; rows];
        let mut alive_columns = vec![[false; 2]; columns];
        for (before, after) in before.slices().zip(after.slices()) {
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
        }
        let entries = rows * columns * before.slices().len();
        let dead = |lines: &[[bool; 2]]| lines.iter().filter(|alive| !alive[1]).count();
        let lost = |lines: &[[bool; 2]]| lines.iter().filter(|alive| alive[0] && !alive[1]).count();
        let relative_error = if error == 0.0 { 0.0 } else { (error / signal).sqrt() };
        Ok(Self {
            error_norm: error.sqrt(),
            relative_error,
            snr_db: -20.0 * relative_error.log10(),
            zero_fraction: zeros as f64 / entries as f64,
            zero_rows: dead(&alive_rows),
            zero_columns: dead(&alive_columns),
            lost: lost(&alive_rows) + lost(&alive_columns),
            levels: distinct(&after.slices()),
        })
    }
}

/// Distinct values, the two zeros counted as one: grouped by the upper half of their bits, then marked
/// by the lower. Sorting a million of them takes as long as their spectrum.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn distinct<'a>(slices: &(impl Iterator<Item = &'a [f32]> + Clone)) -> usize {
    let bits = || slices.clone().flatten().map(|value| (value + 0.0).to_bits());
    let mut ends = vec![0_usize; 1 << 16];
    for bits in bits() {
        ends[(bits >> 16) as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total - *end; // the start of the group, moved to its end below
    }
    let mut lower = vec![0_u16; total];
    for bits in bits() {
        let end = &mut ends[(bits >> 16) as usize];
        lower[*end] = bits as u16;
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

    fn of(before: &[f32], after: &[f32], shape: [usize; 2]) -> WeightDifference {
        let [before, after] = [before, after].map(|values| Weights::matrix(values, shape).unwrap());
        WeightDifference::of(&before, &after).unwrap()
    }

    #[test]
    fn a_small_matrix_by_hand() {
        let before = [3.0, 0.4, 0.0, /**/ 0.3, 0.2, 0.0];
        let after = [3.0, 0.0, 0.0, /**/ -0.0, 0.0, 0.0];
        let found = of(&before, &after, [2, 3]);
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
        let equal = of(&[1.0, 2.0], &[1.0, 2.0], [1, 2]);
        assert_eq!((equal.relative_error, equal.snr_db), (0.0, f64::INFINITY));
        let nothing = of(&[0.0], &[0.0], [1, 1]);
        assert_eq!((nothing.relative_error, nothing.lost), (0.0, 0));
        let noise = of(&[0.0], &[1.0], [1, 1]);
        assert_eq!((noise.relative_error, noise.snr_db), (f64::INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn distinct_values_are_those_of_a_set() {
        let values: Vec<f32> = (0..5_000_u16).map(|i| (f32::from(i % 700) - 350.0) / 3.0).collect();
        assert_eq!(distinct(&[&values[..]].into_iter()), 700);
        let neighbours =
            [1.0, 1.0_f32.next_up(), -1.0, f32::MAX, f32::MIN_POSITIVE, 0.0, -0.0, 1.0];
        assert_eq!(distinct(&[&neighbours[..3], &neighbours[3..]].into_iter()), 6);
    }

    #[test]
    fn a_channel_of_a_kernel_is_alive_at_any_place() {
        // [out, in, h, w] = [2, 2, 1, 2]; the first output channel lives at one place only.
        let before = Weights::kernel(&[1.0; 8], [2, 2, 1, 2]).unwrap();
        let values = [0.0, 1.0, 0.0, 0.0, /**/ 0.0, 0.0, 0.0, 0.0];
        let after = Weights::kernel(&values, [2, 2, 1, 2]).unwrap();
        let found = WeightDifference::of(&before, &after).unwrap();
        assert_eq!((found.zero_rows, found.zero_columns, found.lost), (1, 1, 2));
        assert!((found.zero_fraction - 0.875).abs() < 1e-15);
    }

    #[test]
    fn shapes_must_agree() {
        let before = Weights::matrix(&[1.0; 6], [2, 3]).unwrap();
        let after = Weights::matrix(&[1.0; 6], [3, 2]).unwrap();
        let expected = SpectrumError::Shape { values: 6, shape: vec![1, 2, 3] };
        assert_eq!(WeightDifference::of(&before, &after), Err(expected));
    }
}
