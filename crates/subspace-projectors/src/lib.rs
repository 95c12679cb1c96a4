#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "bits are what this crate promises"))]

mod allocated;
mod allocation;
mod error;
mod factor;
mod gate;
mod kernel;
mod layout;
mod matmul;
mod operator;
mod projector;
mod sites;

mod dense;
mod fastfood;
mod film;
mod film_rdkron;
mod film_rdkronqr;
mod identity_rdkronqr;
mod rdkron;
mod rdkronqr;
mod rectkronqr;
mod rkron;
mod sparse;

#[cfg(test)]
mod conformance;

pub use allocated::{Allocated, Gates, Moment, SideValue};
pub use allocation::{
    Allocation, AnyAllocation, Choice, Fixed, Gated, Learned, LearnedShared, Part, PerLayer, Plan,
    Uniform,
};
pub use dense::Distribution;
pub use error::{AllocationError, LayoutError, ProjectorError};
pub use gate::{Annealed, AnyGate, Gate, GateCode, Ramp, SoftMask};
pub use layout::{Group, Layout, Side, Tensor};
pub use projector::{Description, Projector, Shape};
pub use sites::name_matches;

registry::methods! {
    /// Every projector of this crate.
    pub enum AnyProjector: dyn ProjectorMethod {
        /// Rectangular Kronecker, exactly orthonormal for every d (ours, recommended).
        rectkronqr::Rectkronqr = "rectkronqr",
        /// Rounded double Kronecker with orthonormal factors, the published default (Lotfi et al. 2024).
        rdkronqr::Rdkronqr = "rdkronqr",
        /// Rounded double Kronecker with Gaussian factors (Lotfi et al. 2022).
        rdkron::Rdkron = "rdkron",
        /// Rounded one-sided Kronecker, a broadcast sum (Lotfi et al. 2022).
        rkron::Rkron = "rkron",
        /// Dense Gaussian or Rademacher matrix, regenerated and never stored (Li et al. 2018).
        dense::Dense = "dense",
        /// About sqrt(D) signs in each column, regenerated and never stored (Li et al. 2006).
        sparse::Sparse = "sparse",
        /// Stacked Walsh-Hadamard transforms, in O(D log d) (Le et al. 2013).
        fastfood::Fastfood = "fastfood",
        /// Dense Gaussian on chosen sites, nothing elsewhere.
        film::Film = "film",
        /// Chosen sites and rounded double Kronecker, added.
        film_rdkron::FilmRdkron = "film+rdkron",
        /// Chosen sites and rounded double Kronecker with orthonormal factors, added.
        film_rdkronqr::FilmRdkronqr = "film+rdkronqr",
        /// Chosen sites trained directly, rounded double Kronecker with orthonormal factors beside them.
        identity_rdkronqr::IdentityRdkronqr = "identity+rdkronqr",
    }
}

impl Default for AnyProjector {
    fn default() -> Self {
        Self::Rectkronqr(Rectkronqr::default())
    }
}

/// A way to make a projector.
pub trait ProjectorMethod {
    /// The projector with `d` coordinates for the parameters of `layout`. The same arguments give the
    /// same bits; keys of two matrices must differ.
    ///
    /// # Errors
    /// [`ProjectorError`], for a `d` of 0 or above `D`, and for sites that do not fit.
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: counter_rng::Key,
    ) -> Result<Box<dyn Projector>, ProjectorError>;
}
