//! A base of half precision.
//!
//! # Definition
//! $B = \operatorname{fp16}(W)$, ties to even. Of a matrix that is stored in fp16, this is the matrix
//! itself, and every outlier of it is zero: alpha is then inert, and a split says so.
//!
//! # Notes
//! For what forgets and what is clipped, the constructions [`Split::delta`](crate::Split::delta) and
//! [`Split::clamp`](crate::Split::clamp) hold the stored matrix off the mask in any type.

use serde::{Deserialize, Serialize};

use super::coding::Layout;
use super::{Base, BaseKind, ChannelCoding, Coding};
use crate::{OrthoError, Reference, Storage};

/// Half precision, 2 bytes a weight.
///
/// ```toml
/// kind = "fp16"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fp16 {}

impl BaseKind for Fp16 {
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError> {
        let weights = reference.matrix();
        let half = Reference::cast(weights, Storage::F16)?;
        Ok(Base {
            channels: vec![ChannelCoding::unclipped(Coding::Fp16); weights.shape()[1]],
            layout: Layout::Fp16,
            ..Base::stored(&half)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn the_nearest_numbers() {
        let values = [0.1, -3.0];
        let reference =
            Reference::cast(Matrix::new(&values, [2, 1]).unwrap(), Storage::F32).unwrap();
        let base = Fp16 {}.encode(&reference).unwrap();
        assert_eq!(base.matrix().values(), [1_638.0 / 16_384.0, -3.0]); // 1638.4 steps of 2^-14
        assert_eq!(base.bytes(), 4);
        let values = [7e4];
        let reference =
            Reference::cast(Matrix::new(&values, [1, 1]).unwrap(), Storage::F32).unwrap();
        let error = Fp16 {}.encode(&reference).unwrap_err();
        assert!(matches!(error, OrthoError::Overflow { index: 0, .. }));
    }
}
