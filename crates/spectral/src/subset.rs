//! Spectra of some of the rows of a tensor, many times over.
//!
//! # Definition
//! $W_S$ has the rows $S$ of $W$, $m$ of $n$, and as many columns, $c$. Where $m \ge c$ the Gram matrix of
//! its columns is that of $W$ less what the other rows add,
//! $$ W_S^\top W_S = W^\top W - W_{\bar S}^\top W_{\bar S}, $$
//! $(n - m)/n$ of the products; where $m < c$ that of its rows is the rows and columns $S$ of $W W^\top$,
//! and nothing is multiplied. A subset then takes hardly more than its eigenvalues.
//!
//! # Notes
//! The difference is exact to about $\varepsilon \lambda_{\max}(W)$, as the Gram matrix itself.

use faer::Mat;

use crate::decomposition::{Products, eigenvalues_of, gram_of};
use crate::{SpectrumError, Weights};

/// What all subsets of `kept` rows share.
pub(crate) struct RowSubsets<'a> {
    weights: &'a Weights<'a>,
    products: Products,
    /// The lower half of the Gram matrix of every slice.
    grams: Vec<Mat<f64>>,
}

impl<'a> RowSubsets<'a> {
    /// For subsets of `kept` rows of every matrix of `weights`.
    pub(crate) fn new(weights: &'a Weights<'a>, kept: usize) -> Self {
        let [_, cols] = weights.shape();
        let products = if kept < cols { Products::Rows } else { Products::Columns };
        let gram = |values| gram_of(products, values, weights.shape(), 1.0);
        Self { weights, products, grams: weights.slices().map(gram).collect() }
    }

    /// The pooled eigenvalues of the rows `kept`, ascending places, without the rows `dropped`, all others.
    ///
    /// # Errors
    /// If the iteration does not converge.
    pub(crate) fn eigenvalues(
        &self,
        kept: &[usize],
        dropped: &[usize],
    ) -> Result<Vec<f64>, SpectrumError> {
        let [_, cols] = self.weights.shape();
        let mut pooled = Vec::new();
        for (gram, values) in self.grams.iter().zip(self.weights.slices()) {
            let of_subset = match self.products {
                Products::Rows => Mat::from_fn(kept.len(), kept.len(), |i, j| {
                    gram[(kept[i.max(j)], kept[i.min(j)])] // only its lower half is there
                }),
                Products::Columns => {
                    let rows =
                        dropped.iter().flat_map(|&row| &values[row * cols..(row + 1) * cols]);
                    let rows: Vec<f32> = rows.copied().collect();
                    gram - gram_of::<f64>(self.products, &rows, [dropped.len(), cols], 1.0)
                }
            };
            pooled.extend(eigenvalues_of(of_subset)?.iter().map(|x| self.weights.scale() * x));
        }
        pooled.sort_unstable_by(f64::total_cmp);
        Ok(pooled)
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Route, Spectrum};

    fn normal(len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(1).fill_normal(0, &mut values);
        values
    }

    #[test]
    fn a_subset_has_the_spectrum_of_its_rows() {
        let kept = [0, 2, 3, 4, 6, 7, 9, 11];
        let dropped = [1, 5, 8, 10];
        for cols in [3, 8, 9, 12, 30] {
            // 8 of 12 rows: long, square, short of columns, and short altogether.
            let values = normal(12 * cols);
            let weights = Weights::matrix(&values, [12, cols]).unwrap();
            let found = RowSubsets::new(&weights, 8).eigenvalues(&kept, &dropped).unwrap();
            let lines = kept.iter().flat_map(|row| &values[row * cols..(row + 1) * cols]);
            let lines: Vec<f32> = lines.copied().collect();
            let expected = Spectrum::from_matrix(&lines, [8, cols], Route::Gram).unwrap();
            assert_eq!(found.len(), expected.eigenvalues().len(), "{cols}");
            for (a, b) in found.iter().zip(expected.eigenvalues()) {
                assert!((a - b).abs() < 1e-12 * expected.largest(), "{cols}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_row_of_a_kernel_is_an_output_at_every_place() {
        let values = normal(6 * 4 * 2);
        let kernel = Weights::kernel(&values, [6, 4, 1, 2]).unwrap();
        let found = RowSubsets::new(&kernel, 5).eigenvalues(&[0, 1, 2, 4, 5], &[3]).unwrap();
        let without: Vec<f32> = [&values[..3 * 8], &values[4 * 8..]].concat();
        let expected = Spectrum::from_kernel(&without, [5, 4, 1, 2], Route::Gram).unwrap();
        for (a, b) in found.iter().zip(expected.eigenvalues()) {
            assert!((a - b).abs() < 1e-12 * expected.largest(), "{a} {b}");
        }
        assert_eq!(found.len(), 8);
    }
}
