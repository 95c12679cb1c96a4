//! The second axis of a fake quantiser: which part of the values its codes should reach.

mod cells;
mod histogram;
mod hqq;
mod kept;
mod kernel;
mod mean_magnitude;
mod min_max;
mod moving_average;
mod mse;
mod percentile;
mod search;

use crate::{BitWidth, Grid, Params, QuantizerError};

pub(crate) use min_max::extremes;
pub use percentile::Tails;

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
        /// Twice the mean magnitude times the root of the levels: where LSQ begins.
        mean_magnitude::MeanMagnitude = "mean-magnitude",
        /// Averaged extremes of the batches.
        moving_average::MovingAverage = "moving-average",
        /// All but a given share of the values.
        percentile::Percentile = "percentile",
        /// Least expected squared error over 2,048 bins.
        histogram::Histogram = "histogram",
        /// Least error by search.
        mse::Mse = "mse",
        /// Half-quadratic quantisation: a real zero point, integer codes only.
        hqq::Hqq = "hqq",
    }
}
