//! The second axis of a fake quantiser: which part of the values its codes should reach.

mod min_max;

use crate::{BitWidth, Grid, Params, QuantizerError};

/// A rule that chooses scale and zero point from values.
pub trait Range {
    /// Begins to watch values that share one scale.
    fn observer(&self) -> Box<dyn Observer>;
}

/// What a [`Range`] remembers of the values it was shown, batch by batch.
pub trait Observer: Send {
    /// Takes in a batch.
    ///
    /// # Errors
    /// [`QuantizerError::NotFinite`].
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError>;

    /// Scale and zero point of `grid` for everything seen.
    ///
    /// # Errors
    /// [`QuantizerError::NothingSeen`] before the first value, or a width the grid has no codes for.
    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError>;
}

registry::methods! {
    /// Every range of this crate.
    pub enum AnyRange: dyn Range {
        /// From the smallest to the largest value.
        min_max::MinMax = "min-max",
    }
}
