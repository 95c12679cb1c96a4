//! The sparse product on the host.
//!
//! # Definition
//! $y \mathrel{+}= \alpha\, x O$: each output channel is a sum over its entries, in the order of the
//! inputs, for a block of tokens at a time whose inputs lie side by side. Blocks are dealt to threads, and
//! within a block runs of channels with about equally many entries. A channel of a block is one thread's,
//! so that the number of threads changes no bit.
//!
//! # Reference
//! Balance by entries and not by rows: S. Kim et al., *SqueezeLLM*, ICML 2024, arXiv:2306.07629.

use std::ops::Range;

use rayon::prelude::*;

use crate::matrix::{check_len, transposed};
use crate::{Alpha, Csr, OrthoError};

/// Tokens of a block: a row of inputs is one or two lines of cache.
const TOKENS: usize = 32;

/// Runs of channels for each thread, so that a slow one is made up for.
const RUNS_PER_THREAD: usize = 4;

impl Csr {
    /// $y \mathrel{+}= \alpha\, x O$. At $\alpha = 0$, $y$ is left as it is.
    ///
    /// # Shapes
    /// - x: `[tokens, d_in]`
    /// - y: `[tokens, d_out]`
    ///
    /// # Errors
    /// [`OrthoError::Length`].
    pub fn add_product(
        &self,
        x: &[f32],
        tokens: usize,
        alpha: Alpha,
        y: &mut [f32],
    ) -> Result<(), OrthoError> {
        let [d_in, d_out] = self.shape();
        check_len("`x`", x.len(), tokens.saturating_mul(d_in))?;
        check_len("`y`", y.len(), tokens.saturating_mul(d_out))?;
        if alpha == Alpha::BASE || self.values().is_empty() {
            return Ok(());
        }
        let runs = self.runs(RUNS_PER_THREAD * rayon::current_num_threads());
        let blocks = x.par_chunks(TOKENS * d_in).zip(y.par_chunks_mut(TOKENS * d_out));
        blocks.for_each(|(x, y)| {
            let tokens = x.len() / d_in;
            let x = transposed(x, [tokens, d_in]);
            let mut sums = vec![0.0; d_out * tokens]; // [d_out, tokens]
            let mut parts = Vec::with_capacity(runs.len());
            let mut rest = &mut sums[..];
            for run in &runs {
                let (part, after) = rest.split_at_mut(run.len() * tokens);
                parts.push((run.clone(), part));
                rest = after;
            }
            parts.into_par_iter().for_each(|(run, part)| {
                for (row, sums) in run.zip(part.chunks_exact_mut(tokens)) {
                    self.channel(row, &x, tokens, sums);
                }
            });
            for (y, sum) in y.iter_mut().zip(transposed(&sums, [d_out, tokens])) {
                *y += alpha.get() * sum;
            }
        });
        Ok(())
    }

    /// The sums of an output channel, `[tokens]`, for `x`, `[d_in, tokens]`.
    fn channel(&self, row: usize, x: &[f32], tokens: usize, sums: &mut [f32]) {
        for entry in self.entries(row) {
            let (input, value) = (self.indices().get(entry) as usize, self.values()[entry]);
            for (sum, x) in sums.iter_mut().zip(&x[input * tokens..]) {
                *sum += value * x;
            }
        }
    }

    /// All channels in at most `count` runs with about equally many entries each; a channel that has
    /// more than its share is in a run of its own, or ends one.
    fn runs(&self, count: usize) -> Vec<Range<usize>> {
        let d_out = self.shape()[1];
        let share = self.values().len().div_ceil(count).max(1);
        let (mut runs, mut start) = (Vec::new(), 0);
        for row in 0..d_out {
            if self.entries(start).start + share <= self.entries(row).end {
                runs.push(start..row + 1);
                start = row + 1;
            }
        }
        if start < d_out {
            runs.push(start..d_out);
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{IndexWidth, Mask};

    fn sparse(shape: [usize; 2], ratio: f64) -> Csr {
        let mut values = vec![0.0; shape[0] * shape[1]];
        Key::from_seed(7).fill_normal(0, &mut values);
        let mask = Mask::random(shape, ratio, Key::from_seed(8)).unwrap();
        Csr::build(&mask, IndexWidth::Auto, |place| values[place as usize]).unwrap()
    }

    #[test]
    fn by_hand() {
        // O = 1 . .    x = 1 2 3    x O = 1 + 3 * 3, 3 * 4, 2 * 2
        //     . . 2
        //     3 4 .
        let values = [1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0];
        let mask = Mask::new(vec![0, 5, 6, 7], [3, 3]).unwrap();
        let csr = Csr::build(&mask, IndexWidth::Auto, |place| values[place as usize]).unwrap();
        let mut y = [100.0, 200.0, 300.0];
        csr.add_product(&[1.0, 2.0, 3.0], 1, Alpha::new(0.5).unwrap(), &mut y).unwrap();
        assert_eq!(y, [105.0, 206.0, 302.0]);
        csr.add_product(&[f32::NAN; 3], 1, Alpha::BASE, &mut y).unwrap();
        assert_eq!(y, [105.0, 206.0, 302.0]);
    }

    #[test]
    fn equal_to_the_dense_product() {
        for (shape, tokens, ratio) in
            [([37, 53], 1, 0.1), ([64, 8], 33, 1.0), ([5, 300], 70, 0.01), ([9, 9], 0, 0.5)]
        {
            let csr = sparse(shape, ratio);
            let mut dense = vec![0.0; shape[0] * shape[1]];
            csr.iter().for_each(|(place, value)| dense[place] = value);
            let mut x = vec![0.0; tokens * shape[0]];
            Key::from_seed(9).fill_normal(0, &mut x);
            let mut y = vec![1.0; tokens * shape[1]];
            csr.add_product(&x, tokens, Alpha::STORED, &mut y).unwrap();
            for (at, &found) in y.iter().enumerate() {
                let (token, out) = (at / shape[1], at % shape[1]);
                let terms = (0..shape[0]).map(|i| {
                    f64::from(x[token * shape[0] + i]) * f64::from(dense[i * shape[1] + out])
                });
                let (sum, size) =
                    terms.fold((1.0, 1.0), |(sum, size), it| (sum + it, size + it.abs()));
                assert!((f64::from(found) - sum).abs() <= 1e-6 * size, "{found} {sum}");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let csr = sparse([200, 90], 0.2);
        let mut x = vec![0.0; 40 * 200];
        Key::from_seed(3).fill_normal(0, &mut x);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut y = vec![0.0; 40 * 90];
            let alpha = Alpha::new(0.3).unwrap();
            pool.install(|| csr.add_product(&x, 40, alpha, &mut y).unwrap());
            y
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn runs_are_balanced_and_cover_every_channel() {
        // 2 outputs hold all: 50 entries and 1; the others none.
        let places = (0..50).map(|i| i * 10 + 3).chain([495 + 4]).collect();
        let mask = Mask::new(places, [50, 10]).unwrap();
        let csr = Csr::build(&mask, IndexWidth::Auto, |_| 1.0).unwrap();
        assert_eq!(csr.runs(4), [0..4, 4..10]);
        let csr = sparse([100, 64], 0.5);
        let runs = csr.runs(8);
        assert!(runs.iter().flat_map(Clone::clone).eq(0..64));
        for run in &runs {
            let entries = csr.entries(run.start).start..csr.entries(run.end - 1).end;
            assert!(entries.len() < 400 + 100, "{run:?}: {}", entries.len()); // 3200 / 8 and a channel
        }
    }

    #[test]
    fn what_does_not_fit() {
        let csr = sparse([4, 3], 1.0);
        let mut y = [0.0; 6];
        let error = csr.add_product(&[0.0; 7], 2, Alpha::STORED, &mut y).unwrap_err();
        assert_eq!(error.to_string(), "`x` has 7 values, expected 8");
        let error = csr.add_product(&[0.0; 8], 2, Alpha::STORED, &mut y[..5]).unwrap_err();
        assert_eq!(error.to_string(), "`y` has 5 values, expected 6");
        assert!(csr.add_product(&[], usize::MAX, Alpha::STORED, &mut []).is_err());
    }
}
