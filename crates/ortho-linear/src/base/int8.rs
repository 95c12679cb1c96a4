//! A base of 8 bits.
//!
//! # Definition
//! Integers from -127 to 127 with a scale for each output channel, $b = q s$: $s = \max |w| / 127$ (`absmax`),
//! or that of the least squared error (`mse`). One rule, never the smaller one of two. Scales are
//! fp16, rounded up where the nearest would clip by more than half a step.
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

    /// 1e-4 / 127 is 13.2 of the least numbers of fp16, 2^-24: 13 would clip the largest weight by 1.5 %. 14 of
    /// them make it 119.8 steps, half a step of 8.3e-7 from its code at most.
    #[test]
    fn nothing_is_clipped_where_scales_are_coarse() {
        let values = [1e-4, -3e-5, 0.0];
        let reference =
            Reference::cast(Matrix::new(&values, [3, 1]).unwrap(), Storage::F32).unwrap();
        let base = Int8::default().encode(&reference).unwrap();
        let scale = 14.0 * 2.0_f32.powi(-24);
        assert_eq!(base.matrix().values(), [120.0 * scale, -36.0 * scale, 0.0]);
        assert_eq!(base.channels()[0].high, 127.0 * scale);
    }

    /// Twice the weights are twice the steps' size: the codes stay. One of four becomes another code.
    #[test]
    fn codes_move_and_scales_do_not_count() {
        let base = |values: [f32; 4]| {
            let weights = Matrix::new(&values, [4, 1]).unwrap();
            Int8::default().encode(&Reference::cast(weights, Storage::F32).unwrap()).unwrap()
        };
        let before = base([127.0, 5.0, -3.0, 0.0]);
        assert_eq!(base([254.0, 10.0, -6.0, 0.0]).moved(&before), Ok(0));
        assert_eq!(base([127.0, 5.4, -3.0, -0.0]).moved(&before), Ok(0));
        assert_eq!(base([127.0, 5.6, -3.0, 0.0]).moved(&before), Ok(1));
        let other = Matrix::new(&[1.0, 2.0], [2, 1]).unwrap();
        let other = Int8::default().encode(&Reference::cast(other, Storage::F32).unwrap());
        assert!(matches!(other.unwrap().moved(&before), Err(OrthoError::ShapeMismatch { .. })));
    }
}
