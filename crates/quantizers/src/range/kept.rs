//! All values of all batches, for the rules that need them.

use super::min_max::{extremes, widest};
use crate::{Extent, QuantizerError};

/// The values in the order they came, 4 bytes each, and their extremes.
#[derive(Default)]
pub(super) struct Kept {
    values: Vec<f32>,
    extent: Option<Extent>,
}

impl Kept {
    pub(super) fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.extent = widest(self.extent, extremes(values)?);
        self.values.extend_from_slice(values);
        Ok(())
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn extent(&self) -> Result<Extent, QuantizerError> {
        self.extent.ok_or(QuantizerError::NothingSeen)
    }
}
