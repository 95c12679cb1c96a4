//! A base of 8 bits.
//!
//! # Definition
//! Integers from -127 to 127 with a scale for each output channel, $b = q s$: $s = \max |w| / 127$ (`absmax`),
//! or that of the least squared error (`mse`). One rule, never the smaller one of two. Scales are fp16.
//!
//! # Reference
//! The grid is [`quantizers::Symmetric`], the search [`quantizers::Mse`].

use serde::{Deserialize, Serialize};

use super::{Base, BaseKind, CodeWidth, RangeRule, coding};
use crate::{OrthoError, Reference};

/// 255 levels for each output channel.
///
/// ```toml
/// kind = "int8"
/// range = "absmax"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Int8 {
    /// How the scale is chosen.
    pub range: RangeRule,
}

impl BaseKind for Int8 {
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError> {
        coding::symmetric(reference, CodeWidth::Eight, self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, Storage};

    #[test]
    fn a_scale_for_each_channel() {
        // Columns 1.984375 -.023 and .5 0: s = 2^-6, a number of fp16, and .5 / 127, which is not.
        let values = [1.984_375, 0.5, -0.023, 0.0];
        let weights = Matrix::new(&values, [2, 2]).unwrap();
        let base =
            Int8::default().encode(&Reference::cast(weights, Storage::F32).unwrap()).unwrap();
        // -.023 is -1.47 steps. .5 / 127 is 1032.06 steps of 2^-18, rounded to 1032.
        let scale = 1_032.0 * 2.0_f32.powi(-18);
        assert_eq!(base.matrix().values(), [1.984_375, 127.0 * scale, -0.015_625, 0.0]);
        assert_eq!(base.bytes(), 4 + 2 * 2);
        let ends = base.channels()[0];
        assert_eq!((ends.low, ends.high), (-1.984_375, 1.984_375));
    }
}
