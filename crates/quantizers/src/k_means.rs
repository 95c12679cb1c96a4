//! The codebook of least squared error, found exactly.
//!
//! # Definition
//! In one dimension the optimal cells are runs of the sorted values. With $D_k(j)$ the least squared
//! error of the first $j$ values in $k$ runs,
//! $$ D_k(j) = \min_{k - 1 \le i < j} D_{k-1}(i) + \operatorname{scatter}(i, j), $$
//! and because the scatter is a Monge cost the smallest optimal $i$ does not fall as $j$ rises: each
//! layer takes $O(d \log d)$ by divide and conquer, the whole $O(L d \log d)$ time and $4 L d$ bytes.
//! Of equally good borders the lowest is taken: nothing is random, nothing is iterated.
//!
//! # Reference
//! H. Wang and M. Song, *Ckmeans.1d.dp*, The R Journal 3(2), 2011, for the recursion; A. Grønlund et
//! al., *Fast Exact k-Means, k-Medians and Bregman Divergence Clustering in 1D*, arXiv:1701.07204.
//!
//! # Notes on the reference implementation
//! The published code for language-model bounds runs Lloyd's iterations from an unseeded start.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::{CodebookError, CodebookMethod, SortedValues};

/// Least squared error, exactly, by dynamic programming.
///
/// ```toml
/// kind = "k-means"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeans {}

impl CodebookMethod for KMeans {
    fn centroids(
        &self,
        sorted: &SortedValues,
        levels: NonZeroU8,
    ) -> Result<Vec<f64>, CodebookError> {
        let partitions = OptimalPartitions::new(sorted, usize::from(levels.get()));
        let borders = partitions.borders(partitions.max_runs());
        Ok(borders.windows(2).map(|run| sorted.mean(run[0]..run[1])).collect())
    }
}

/// The best partition of sorted values into every number of runs up to a limit.
pub(crate) struct OptimalPartitions {
    len: usize,
    /// `[max_runs - 1][len + 1]`: where the last of `k + 2` runs over the first `j` values begins.
    starts: Vec<Vec<u32>>,
}

impl OptimalPartitions {
    /// Finds them for 1 to `max_runs` runs, or to as many as there are different values.
    pub(crate) fn new(sorted: &SortedValues, max_runs: usize) -> Self {
        let len = sorted.values().len();
        let mut costs: Vec<f64> =
            (0..=len).map(|j| if j == 0 { 0.0 } else { sorted.scatter(0..j) }).collect();
        let mut starts = Vec::new();
        for runs in 2..=max_runs.min(sorted.distinct()) {
            let mut layer = Layer {
                sorted,
                before: &costs,
                costs: vec![f64::INFINITY; len + 1],
                starts: vec![0; len + 1],
            };
            layer.fill(runs..len + 1, runs - 1..len);
            starts.push(layer.starts);
            costs = layer.costs;
        }
        Self { len, starts }
    }

    /// The largest number of runs.
    pub(crate) fn max_runs(&self) -> usize {
        self.starts.len() + 1
    }

    /// The borders of the best partition into `runs` runs, from 0 to the number of values.
    pub(crate) fn borders(&self, runs: usize) -> Vec<usize> {
        let mut borders = vec![self.len];
        let mut end = self.len;
        for layer in self.starts[..runs - 1].iter().rev() {
            end = layer[end] as usize;
            borders.push(end);
        }
        borders.push(0);
        borders.reverse();
        borders
    }
}

/// One more run: `costs[j]` is the least over `i` of `before[i]` and the scatter of `i..j`.
struct Layer<'a> {
    sorted: &'a SortedValues,
    before: &'a [f64],
    costs: Vec<f64>,
    starts: Vec<u32>,
}

impl Layer<'_> {
    /// Fills in `ends`, knowing that their runs begin within `starts`.
    fn fill(&mut self, ends: std::ops::Range<usize>, starts: std::ops::Range<usize>) {
        if ends.is_empty() {
            return;
        }
        let end = usize::midpoint(ends.start, ends.end);
        let (mut best, mut best_start) = (f64::INFINITY, starts.start);
        for start in starts.start..starts.end.min(end) {
            let cost = self.before[start] + self.sorted.scatter(start..end);
            if cost < best {
                (best, best_start) = (cost, start);
            }
        }
        self.costs[end] = best;
        self.starts[end] = u32::try_from(best_start).expect("at most 2^30 values");
        self.fill(ends.start..end, starts.start..best_start + 1);
        self.fill(end + 1..ends.end, best_start..starts.end);
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    fn error(sorted: &SortedValues, borders: &[usize]) -> f64 {
        borders.windows(2).map(|it| sorted.scatter(it[0]..it[1])).sum()
    }

    #[test]
    fn three_clusters_by_hand() {
        let sorted = SortedValues::new(&[1.0, 1.5, 10.0, 11.0, 12.0, 20.0]).unwrap();
        let levels = const { NonZeroU8::new(3).unwrap() };
        assert_eq!(KMeans {}.centroids(&sorted, levels).unwrap(), [1.25, 11.0, 20.0]);
        assert_eq!(OptimalPartitions::new(&sorted, 3).borders(3), [0, 2, 5, 6]);
    }

    /// The best quantisers of a Gaussian with 4 to 32 levels (S. P. Lloyd, J. Max), in dB.
    #[test]
    fn quantiles_of_a_gaussian_have_its_best_quantiser() {
        let normal = Normal::standard();
        let len = 1 << 14;
        let quantile = |i| normal.inverse_cdf((f64::from(i) + 0.5) / f64::from(len)) as f32;
        let values: Vec<f32> = (0..len).map(quantile).collect();
        let sorted = SortedValues::new(&values).unwrap();
        let power: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let partitions = OptimalPartitions::new(&sorted, 32);
        for (levels, decibels) in [(4, 9.30), (8, 14.62), (16, 20.22), (32, 26.01)] {
            let found = 10.0 * (power / error(&sorted, &partitions.borders(levels))).log10();
            assert!((found - decibels).abs() < 0.05, "{levels}: {found}");
        }
    }

    #[test]
    fn no_partition_is_better() {
        let mut values = [0.0; 12];
        for (seed, power) in [(1, 1), (2, 3), (3, 5), (4, 1)] {
            Key::from_seed(seed).fill_normal(0, &mut values);
            let values = values.map(|it| it.powi(power));
            let sorted = SortedValues::new(&values).unwrap();
            let partitions = OptimalPartitions::new(&sorted, 12);
            // A set of borders is a subset of the 11 gaps; the number of runs is one more.
            let mut least = [f64::INFINITY; 12];
            for subset in 0..1_u32 << 11 {
                let gaps = (1..12).filter(|gap| subset >> (gap - 1) & 1 == 1);
                let borders: Vec<usize> = std::iter::once(0).chain(gaps).chain([12]).collect();
                let least = &mut least[borders.len() - 2];
                *least = least.min(error(&sorted, &borders));
            }
            for (runs, least) in (1..).zip(least) {
                let found = error(&sorted, &partitions.borders(runs));
                assert!((found - least).abs() <= 1e-12 * least, "{runs} runs: {found}, {least}");
            }
        }
    }

    #[test]
    fn divide_and_conquer_equals_the_plain_recursion() {
        let mut values = [0.0; 300];
        Key::from_seed(5).fill_normal(0, &mut values);
        let sorted = SortedValues::new(&values).unwrap();
        let mut costs: Vec<f64> =
            std::iter::once(0.0).chain((1..=300).map(|end| sorted.scatter(0..end))).collect();
        let partitions = OptimalPartitions::new(&sorted, 20);
        for runs in 2..=20 {
            let least = |end: usize| {
                let cost = |start: usize| costs[start] + sorted.scatter(start..end);
                (runs - 1..end).map(cost).fold(f64::INFINITY, f64::min)
            };
            costs = (0..=300).map(least).collect();
            let found = error(&sorted, &partitions.borders(runs));
            assert!((found / costs[300] - 1.0).abs() < 1e-12, "{runs}: {found}, {}", costs[300]);
        }
    }

    #[test]
    fn there_are_no_more_runs_than_different_values() {
        let sorted = SortedValues::new(&[3.0, 1.0, 3.0, 1.0]).unwrap();
        let levels = const { NonZeroU8::new(9).unwrap() };
        assert_eq!(KMeans {}.centroids(&sorted, levels).unwrap(), [1.0, 3.0]);
    }
}
