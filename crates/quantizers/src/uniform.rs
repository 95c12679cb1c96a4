//! Equal bins between the extremes, each represented by the mean of its values.
//!
//! # Definition
//! With $m = \max_i |x_i|$, the $L + 1$ edges run evenly from $-m - 10^{-6}$ to $m + 10^{-6}$. The
//! centroid of a bin is the mean of its values; of an empty bin, its left edge.
//!
//! # Reference
//! S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, ICML 2024,
//! arXiv:2312.17173; Sanaelotfi/sublora-bounds-for-llms, where the rule goes by the name of `random`.
//!
//! # Notes on the reference implementation
//! It codes the bins themselves. Here, as for every codebook, a value belongs in the end to the
//! nearest centroid as stored, which need not be that of its bin, and levels without values go.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::{CodebookError, CodebookMethod, SortedValues};

/// Bins of equal width over the range of the values, symmetric about zero.
///
/// ```toml
/// kind = "uniform"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uniform {}

impl CodebookMethod for Uniform {
    fn centroids(
        &self,
        sorted: &SortedValues,
        levels: NonZeroU8,
    ) -> Result<Vec<f64>, CodebookError> {
        let values = sorted.values();
        let limit = values[0].abs().max(values[values.len() - 1].abs()) + 1e-6;
        let width = 2.0 * limit / f64::from(levels.get());
        let edge = |k: u8| -limit + width * f64::from(k);
        let mut start = 0;
        let centroids = (0..levels.get()).map(|k| {
            let is_last = k + 1 == levels.get();
            let end =
                if is_last { values.len() } else { values.partition_point(|&it| it < edge(k + 1)) };
            let run = start..end;
            start = end;
            if run.is_empty() { edge(k) } else { sorted.mean(run) }
        });
        Ok(centroids.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_means_and_an_empty_bin() {
        let sorted = SortedValues::new(&[-4.0, -3.0, 2.5, 0.5, 1.5]).unwrap();
        let levels = const { NonZeroU8::new(4).unwrap() };
        let centroids = Uniform {}.centroids(&sorted, levels).unwrap();
        // Edges -4.000001, -2.0000005, 0, 2.0000005, 4.000001; the second bin is empty.
        let expected = [-3.5, -2.000_000_5, 1.0, 2.5];
        for (actual, expected) in centroids.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-12, "{centroids:?}");
        }
    }
}
