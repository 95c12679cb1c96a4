//! A base of 4 bits.
//!
//! # Definition
//! Integers from -7 to 7 with a scale for each output channel, $b = q s$: $s = \max |w| / 7$ (`absmax`),
//! or that of the least squared error (`mse`). One rule, never the smaller one of two. Scales are
//! fp16, rounded up where the nearest would clip by more than half a step.
//!
//! # Reference
//! The grid is [`quantizers::Symmetric`], the search [`quantizers::Mse`].

use serde::{Deserialize, Serialize};

use super::{Base, BaseKind, CodeWidth, RangeRule, coding};
use crate::{OrthoError, Reference};

/// 15 levels for each output channel.
///
/// ```toml
/// kind = "int4"
/// range = "absmax"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Int4 {
    /// How the scale is chosen.
    pub range: RangeRule,
}

impl BaseKind for Int4 {
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError> {
        coding::symmetric(reference, CodeWidth::Four, self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, Storage};

    #[test]
    fn two_weights_a_byte() {
        // s = 1.75 / 7 = .25: 7, 1.6, -.4 and -7 steps.
        let values = [1.75, 0.4, -0.1, -1.75, 0.0];
        let weights = Matrix::new(&values, [5, 1]).unwrap();
        let reference = Reference::cast(weights, Storage::F32).unwrap();
        let base = Int4::default().encode(&reference).unwrap();
        assert_eq!(base.matrix().values(), [1.75, 0.5, 0.0, -1.75, 0.0]);
        assert_eq!(base.bytes(), 3 + 2);
    }

    #[test]
    fn a_clip_of_least_error() {
        // One weight of 8 beside a hundred of +-1: absmax has steps of 8/7 and moves each by .14.
        let mut values = vec![1.0; 100];
        values.push(8.0);
        let reference =
            Reference::cast(Matrix::new(&values, [101, 1]).unwrap(), Storage::F16).unwrap();
        let error = |range| {
            let base = Int4 { range }.encode(&reference).unwrap();
            coding::channel_errors(&reference, &base.values)[0][0]
        };
        assert!((error(RangeRule::Absmax) - 100.0 / 49.0).abs() < 0.01);
        assert!(error(RangeRule::Mse) < 1.1); // a step of 1: the weight of 8 becomes 7
    }
}
