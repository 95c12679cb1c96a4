//! A base that codes the bulk of each output channel and leaves the tails to the outliers.
//!
//! # Definition
//! With $q_l$ and $q_h$ the empirical quantiles of a channel at `low` and `high`, codes of 4 or 8 bits with
//! a zero point for $[\min(q_l, 0), \max(q_h, 0)]$. What lies outside $[q_l, q_h]$ is what
//! [`Percentile`](crate::Percentile) selects with the same shares and scope, and is meant for the outlier
//! stream, `1 - (high - low)` of all weights. Without it, in $\alpha = 0$, the tails are clipped.
//!
//! # Reference
//! The affine codes are [`quantizers::Affine`].
//!
//! # Notes on the reference implementation
//! `raccoonrat/libortho-2.2` takes the edges of two of 256 bins of equal width for the 10th and the 95th
//! percentile, which they are not. True ones would leave 15 % of the weights to the outliers.

use serde::{Deserialize, Serialize};

use super::{Base, BaseKind, CodeWidth, coding};
use crate::selection::{Selection, Signals};
use crate::{OrthoError, Percentile, Reference, Scope};

/// Codes between two quantiles of each output channel.
///
/// ```toml
/// kind = "bulk"
/// bits = 8
/// low = 0.005
/// high = 0.995
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bulk {
    /// Bits of a code, 4 or 8.
    pub bits: CodeWidth,
    /// Share of a channel below the bulk.
    pub low: f64,
    /// Share of a channel below the upper end of the bulk.
    pub high: f64,
}

/// Half a percent at each end.
impl Default for Bulk {
    fn default() -> Self {
        Self { bits: CodeWidth::Eight, low: 0.005, high: 0.995 }
    }
}

impl BaseKind for Bulk {
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError> {
        let weights = reference.matrix();
        let tails = Percentile { low: self.low, high: self.high, scope: Scope::Channel };
        #[expect(clippy::cast_possible_truncation, reason = "between two f32")]
        let extents: Vec<[f32; 2]> =
            tails.extents(weights)?.into_iter().map(|it| it.map(|end| end as f32)).collect();
        let base = coding::affine(reference, self.bits, &extents)?;
        Ok(Base { outside: Some(tails.select(&Signals::of(weights))?), ..base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, Storage};

    #[test]
    fn codes_between_quantiles() {
        // 0 to 100 and an outlier: (102 - 1) * .01 = 1.01, quantile 1.01; at .99, 99.99. From 0 to 99.99
        // in 15 steps: s = 6.666.
        let mut values: Vec<f32> = (0_u8..=100).map(f32::from).collect();
        values.push(5_000.0);
        let weights = Matrix::new(&values, [102, 1]).unwrap();
        let reference = Reference::cast(weights, Storage::F16).unwrap();
        let bulk = Bulk { bits: CodeWidth::Four, low: 0.01, high: 0.99 };
        let base = bulk.encode(&reference).unwrap();
        assert_eq!(base.outside().unwrap().places(), [0, 1, 100, 101]);
        for (&w, &b) in values.iter().zip(base.matrix().values()).take(101) {
            assert!((w - b).abs() < 3.4, "{w} {b}");
        }
        assert!((base.matrix().values()[101] - 99.99).abs() < 0.1);
        assert_eq!(base.bytes(), 51 + 2 + 1); // 4 bits of zero point
    }
}
