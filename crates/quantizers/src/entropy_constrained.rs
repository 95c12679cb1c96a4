//! Squared error and code length weighed against each other.
//!
//! # Definition
//! For a codebook $c$ whose levels the values share as $n_1, \dots, n_L$ when each goes to its
//! nearest centroid, we look for the least
//! $$ J = \sum_i (x_i - c_{z_i})^2 + \lambda \sigma^2 \Bigl( \sum_k n_k \log_2 \frac{d}{n_k} + 16 L
//!    \Bigr), $$
//! with $\sigma^2$ the variance of the values, so that $\lambda$ has no unit: the share of the
//! variance that may be added to the error of one value to save one bit. High-resolution theory puts
//! $R$ bits a value at $\lambda \approx 2 \ln 2 \cdot D(R) / \sigma^2$.
//!
//! From many starts, the exact least-squares partition and the one of equal widths for every number
//! of levels up to $L$, two steps alternate: a value goes to the level of least $(x - c_k)^2 -
//! \lambda \sigma^2 \log_2 (n_k / d)$, which is a run of the sorted values; a centroid moves to the
//! mean of its run. Levels whose runs become empty go. Every start and every end is rounded to fp16
//! and compared by $J$; the least wins, the earliest of equals. The k-means codebook is among them:
//! $J$ is never above its.
//!
//! # Reference
//! P. A. Chou, T. Lookabaugh and R. M. Gray, *Entropy-Constrained Vector Quantization*, IEEE Trans.
//! Acoust. Speech Signal Process. 37(1), 1989, for the iteration.
//!
//! # Notes on the reference implementation
//! There, a value keeps the level of least weighted cost; here, as for every codebook, it goes to the
//! nearest in the end, and that is what $J$ judges. The price of storing a level is ours as well.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::k_means::OptimalPartitions;
use crate::{Codebook, CodebookError, CodebookMethod, SortedValues};

/// Rounds of the iteration from one start, at most.
const MAX_ROUNDS: usize = 100;

/// Least squared error plus a multiple of the code length.
///
/// ```toml
/// kind = "entropy-constrained"
/// lambda = 0.05
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntropyConstrained {
    /// Price of a bit, in units of the variance of the values. 0 is k-means.
    pub lambda: f64,
}

impl Default for EntropyConstrained {
    fn default() -> Self {
        Self { lambda: 0.05 } // 2.7 bits a coefficient on normal values, as a test shows
    }
}

impl EntropyConstrained {
    /// $J$ of a codebook with every value at its nearest centroid.
    ///
    /// # Errors
    /// If `lambda` is negative or not finite.
    pub fn cost(&self, sorted: &SortedValues, codebook: &Codebook) -> Result<f64, CodebookError> {
        let price = self.price(sorted)?;
        let values = sorted.values();
        let mut borders = vec![0];
        let midpoints = codebook.midpoints();
        borders.extend(midpoints.iter().map(|&it| values.partition_point(|&value| value <= it)));
        borders.push(values.len());
        let runs = borders.windows(2).map(|it| it[0]..it[1]);
        let costs = runs.zip(codebook.centroids()).filter(|(run, _)| !run.is_empty()).map(
            |(run, centroid)| {
                let (count, share) = (run.len() as f64, run.len() as f64 / values.len() as f64);
                let bits = Codebook::BITS_PER_LEVEL as f64 - count * share.log2();
                let offset = sorted.mean(run.clone()) - centroid.to_f64();
                sorted.scatter(run) + count * offset * offset + price * bits
            },
        );
        Ok(costs.sum())
    }

    fn price(&self, sorted: &SortedValues) -> Result<f64, CodebookError> {
        if self.lambda.is_finite() && self.lambda >= 0.0 {
            Ok(self.lambda * sorted.variance())
        } else {
            Err(CodebookError::Lambda { lambda: self.lambda })
        }
    }
}

impl CodebookMethod for EntropyConstrained {
    fn centroids(
        &self,
        sorted: &SortedValues,
        levels: NonZeroU8,
    ) -> Result<Vec<f64>, CodebookError> {
        let price = self.price(sorted)?;
        let partitions = OptimalPartitions::new(sorted, usize::from(levels.get()));
        let (mut best, mut least) = (Vec::new(), f64::INFINITY);
        for runs in (1..=partitions.max_runs()).rev() {
            for start in [partitions.borders(runs), equal_widths(sorted, runs)] {
                let start = Levels::new(sorted, &start);
                let end = start.clone().descend(sorted, price);
                for Levels { centroids, .. } in [start, end] {
                    let cost = self.cost(sorted, &Codebook::round(&centroids)?)?;
                    if cost < least {
                        (best, least) = (centroids, cost);
                    }
                }
            }
        }
        Ok(best)
    }
}

/// Borders of runs of equal width between the extremes, some of which may be empty.
fn equal_widths(sorted: &SortedValues, runs: usize) -> Vec<usize> {
    let values = sorted.values();
    let (low, high) = (values[0], values[values.len() - 1]);
    let edge = |k: usize| low + (high - low) * k as f64 / runs as f64;
    let inner = (1..runs).map(|k| values.partition_point(|&it| it < edge(k)));
    std::iter::once(0).chain(inner).chain([values.len()]).collect()
}

/// Centroids in increasing order with the ideal code lengths of their symbols, in bits.
#[derive(Debug, Clone)]
struct Levels {
    centroids: Vec<f64>,
    lengths: Vec<f64>,
}

impl Levels {
    /// The means and lengths of runs with the given borders, but for empty ones.
    fn new(sorted: &SortedValues, borders: &[usize]) -> Self {
        let runs = || borders.windows(2).map(|it| it[0]..it[1]).filter(|run| !run.is_empty());
        let share = |run: std::ops::Range<usize>| run.len() as f64 / sorted.values().len() as f64;
        Self {
            centroids: runs().map(|run| sorted.mean(run)).collect(),
            lengths: runs().map(|run| -share(run).log2()).collect(),
        }
    }

    /// Alternates the two steps until nothing moves.
    fn descend(mut self, sorted: &SortedValues, price: f64) -> Self {
        let mut borders = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let next = self.borders(sorted.values(), price);
            if next == borders {
                break;
            }
            borders = next;
            self = Self::new(sorted, &borders);
        }
        self
    }

    /// The borders of the runs in which each level has the least $(x - c)^2$ + price · length.
    ///
    /// Less $x^2$, that is the lower envelope of lines in $x$ whose slopes fall from one to the next.
    fn borders(&self, values: &[f64], price: f64) -> Vec<usize> {
        let weight = |k: usize| price * self.lengths[k];
        let crossing = |a: usize, b: usize| {
            let distance = self.centroids[b] - self.centroids[a];
            f64::midpoint(self.centroids[a], self.centroids[b])
                + (weight(b) - weight(a)) / (2.0 * distance)
        };
        let mut envelope: Vec<(usize, f64)> = Vec::new(); // a level and where it takes over
        for level in 0..self.centroids.len() {
            let mut from = f64::NEG_INFINITY;
            while let Some(&(last, last_from)) = envelope.last() {
                let is_double = self.centroids[last] >= self.centroids[level];
                if is_double && weight(last) <= weight(level) {
                    from = f64::INFINITY; // never takes over
                    break;
                }
                if !is_double {
                    from = crossing(last, level);
                    if from > last_from {
                        break;
                    }
                    from = f64::NEG_INFINITY;
                }
                envelope.pop();
            }
            if from < f64::INFINITY {
                envelope.push((level, from));
            }
        }
        let mut borders: Vec<usize> = envelope
            .iter()
            .map(|&(_, from)| values.partition_point(|&value| value < from))
            .collect();
        borders.push(values.len());
        borders
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{KMeans, entropy_bits, quantize};

    fn normal(len: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    #[test]
    fn never_above_k_means_at_the_same_price() {
        for (seed, len) in (1..).zip([1, 2, 3, 10, 100, 3_000]) {
            let values: Vec<f32> = normal(len, seed).iter().map(|it| it.powi(3)).collect();
            let sorted = SortedValues::new(&values).unwrap();
            for lambda in [0.0, 1e-4, 0.01, 0.1, 1.0, 100.0] {
                for levels in [1, 2, 11, 40].map(|it| NonZeroU8::new(it).unwrap()) {
                    let method = EntropyConstrained { lambda };
                    let cost = |vector: crate::CodedVector| {
                        method.cost(&sorted, vector.codebook()).unwrap()
                    };
                    let ours = cost(quantize(&method, &values, levels).unwrap());
                    let theirs = cost(quantize(&KMeans {}, &values, levels).unwrap());
                    assert!(ours <= theirs, "{len} values, {lambda}, {levels}: {ours} > {theirs}");
                }
            }
        }
    }

    #[test]
    fn the_cost_is_error_plus_price_times_bits() {
        let values = normal(500, 9);
        let sorted = SortedValues::new(&values).unwrap();
        let method = EntropyConstrained { lambda: 0.3 };
        let vector = quantize(&method, &values, NonZeroU8::new(7).unwrap()).unwrap();
        let errors = values.iter().zip(vector.dequantize()).map(|(x, y)| f64::from(x - y).powi(2));
        let bits = entropy_bits(&vector.counts()) + 16.0 * vector.codebook().len() as f64;
        let expected = errors.sum::<f64>() + 0.3 * sorted.variance() * bits;
        let actual = method.cost(&sorted, vector.codebook()).unwrap();
        assert!((actual / expected - 1.0).abs() < 1e-6, "{actual}, expected {expected}"); // f32 errors
    }

    #[test]
    fn the_default_price_buys_2_7_bits_and_beats_uniform_bins() {
        let values = normal(20_000, 11);
        let levels = NonZeroU8::new(21).unwrap();
        let method = EntropyConstrained::default();
        let vector = quantize(&method, &values, levels).unwrap();
        let rate = entropy_bits(&vector.counts()) / 20_000.0;
        assert!((rate - 2.7).abs() < 0.05, "{rate}");
        let sorted = SortedValues::new(&values).unwrap();
        let uniform = quantize(&crate::Uniform {}, &values, levels).unwrap();
        let cost = |it: &crate::CodedVector| method.cost(&sorted, it.codebook()).unwrap();
        assert!(cost(&vector) < 0.95 * cost(&uniform), "{}, {}", cost(&vector), cost(&uniform));
    }

    #[test]
    fn a_dearer_bit_means_fewer_bits() {
        let values = normal(2_000, 10);
        let bits = [0.0, 0.01, 0.05, 0.2, 0.5, 10.0].map(|lambda| {
            let method = EntropyConstrained { lambda };
            let vector = quantize(&method, &values, NonZeroU8::new(31).unwrap()).unwrap();
            entropy_bits(&vector.counts()) + 16.0 * vector.codebook().len() as f64
        });
        assert!(bits.is_sorted_by(|a, b| a > b), "{bits:?}");
        assert!((bits[5] - 16.0).abs() < 1e-12); // one level: nothing but its centroid
    }

    #[test]
    fn a_dominated_level_disappears() {
        // (x - 0)^2 + 0, (x - 1)^2 + 9, (x - 2)^2 + 0: the middle one is never least, 0 and 2 cross at 1.
        let levels = Levels { centroids: vec![0.0, 1.0, 2.0], lengths: vec![0.0, 9.0, 0.0] };
        assert_eq!(levels.borders(&[-1.0, 0.9, 1.1, 5.0], 1.0), [0, 2, 4]);
        let double = Levels { centroids: vec![0.0, 0.0, 2.0], lengths: vec![2.0, 1.0, 1.0] };
        assert_eq!(double.borders(&[-1.0, 0.9, 1.1, 5.0], 1.0), [0, 2, 4]);
    }

    #[test]
    fn a_bad_price_is_refused() {
        let sorted = SortedValues::new(&[1.0]).unwrap();
        for lambda in [-0.1, f64::NAN, f64::INFINITY] {
            let error =
                EntropyConstrained { lambda }.centroids(&sorted, NonZeroU8::MIN).unwrap_err();
            assert!(matches!(error, CodebookError::Lambda { .. }));
        }
    }
}
