//! How much of the outlier stream is added.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::OrthoError;

/// A number from 0, the base alone, to 1, the stored matrix.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Alpha(f32);

impl Alpha {
    /// The base alone.
    pub const BASE: Self = Self(0.0);
    /// The stored matrix.
    pub const STORED: Self = Self(1.0);

    /// An interpolation.
    ///
    /// # Errors
    /// [`OrthoError::Alpha`] outside 0 to 1.
    pub fn new(alpha: f32) -> Result<Self, OrthoError> {
        if (0.0..=1.0).contains(&alpha) {
            Ok(Self(alpha))
        } else {
            Err(OrthoError::Alpha { alpha })
        }
    }

    /// Any finite number: an extrapolation below 0 and above 1.
    ///
    /// # Errors
    /// [`OrthoError::Alpha`] for NaN and infinities.
    pub fn extrapolated(alpha: f32) -> Result<Self, OrthoError> {
        if alpha.is_finite() { Ok(Self(alpha)) } else { Err(OrthoError::Alpha { alpha }) }
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// The alpha of a layer. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SharedAlpha(Arc<AtomicU32>);

impl SharedAlpha {
    pub(crate) fn new(alpha: Alpha) -> Self {
        Self(Arc::new(AtomicU32::new(alpha.0.to_bits())))
    }

    pub(crate) fn set(&self, alpha: Alpha) {
        self.0.store(alpha.0.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Alpha {
        Alpha(f32::from_bits(self.0.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extrapolation_has_to_be_asked_for() {
        assert_eq!(Alpha::new(0.25).map(Alpha::get), Ok(0.25));
        assert_eq!((Alpha::new(0.0), Alpha::new(1.0)), (Ok(Alpha::BASE), Ok(Alpha::STORED)));
        for alpha in [-0.01, 1.01] {
            assert_eq!(Alpha::new(alpha), Err(OrthoError::Alpha { alpha }));
            assert_eq!(Alpha::extrapolated(alpha).map(Alpha::get), Ok(alpha));
        }
        assert!(Alpha::new(f32::NAN).is_err() && Alpha::extrapolated(f32::NAN).is_err());
        assert!(Alpha::extrapolated(f32::INFINITY).is_err());
    }
}
