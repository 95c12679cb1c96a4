//! The base kinds: how the dense stream is stored.

mod bulk;
pub(crate) mod coding;
mod fp16;
mod int4;
mod int8;
mod mixed;

pub use coding::{Base, ChannelCoding, CodeWidth, Coding, RangeRule};

use crate::{OrthoError, Reference};

/// A rule that makes a dense base of a matrix, to be completed by
/// [`Split::residual`](crate::Split::residual).
pub trait BaseKind {
    /// The base of `reference`. It sees all weights and no mask: $\alpha = 0$ is what it makes of them.
    ///
    /// # Errors
    /// [`OrthoError`] for a setting out of its range, or weights that the codes cannot stand for.
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError>;
}

registry::methods! {
    /// Every base kind of this crate.
    pub enum AnyBase: dyn BaseKind {
        /// Half precision.
        fp16::Fp16 = "fp16",
        /// Integers of 8 bits with a scale for each output channel.
        int8::Int8 = "int8",
        /// Integers of 4 bits with a scale for each output channel.
        int4::Int4 = "int4",
        /// Fp16, 8 or 4 bits for each output channel, the cheapest within an error budget.
        mixed::Mixed = "mixed",
        /// Integers with a zero point between two quantiles; the tails are for the outliers.
        bulk::Bulk = "bulk",
    }
}

/// The base of the crate's default: half precision.
impl Default for AnyBase {
    fn default() -> Self {
        Self::Fp16(Fp16 {})
    }
}
