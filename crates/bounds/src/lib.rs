#![doc = include_str!("../README.md")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "exact where the arithmetic is"))]

mod alpha;
pub mod code_length;
mod error;
mod evidence;
mod published;
mod scores;
mod smoothing;
mod stakes;
mod sums;
mod units;

mod azuma;
mod catoni;
mod catoni_union;
mod clopper_pearson;
mod empirical_bernstein;
mod fixed_t;
mod freedman;
mod kl_inverse;
mod mcallester;
mod parity;
mod product;
mod strict;
mod test_set;
mod thiemann;

pub use alpha::Alpha;
pub use error::BoundError;
pub use evidence::{Certified, Evidence, Metric, Sampling, Unit};
pub use published::round_up;
pub use scores::Scores;
pub use smoothing::{REFERENCE_GRID, Smoothing};
pub use test_set::Tail;
pub use units::{Bits, FailureProbability, LossRange, Nats};

/// An inequality that turns evidence into a certified bound.
pub trait Bound {
    /// Whether the bound is proven for this metric over these units.
    fn applies_to(&self, unit: Unit, metric: Metric) -> bool;

    /// The bound, which holds with probability at least $1 - \delta_1 - \delta_2$.
    ///
    /// # Errors
    /// If the bound does not apply, the evidence is not consistent, a loss is not a number of its
    /// range, or the bound needs what the evidence does not have.
    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError>;
}

registry::methods! {
    /// Every bound of this crate.
    pub enum AnyBound: dyn Bound {
        /// Documents or tokens: Hoeffding as in the published code, no union paid.
        parity::Parity = "parity",
        /// Documents: Hoeffding, simultaneous over hypotheses, smoothing weights and models.
        strict::Strict = "strict",
        /// Documents: inverse of the binary divergence (Chernoff).
        kl_inverse::KlInverse = "kl-inverse",
        /// Binary documents: exact binomial limit (Clopper and Pearson 1934).
        clopper_pearson::ClopperPearson = "clopper-pearson",
        /// Documents: empirical variance (Maurer and Pontil 2009).
        empirical_bernstein::EmpiricalBernstein = "empirical-bernstein",
        /// Documents or tokens: betting; the tightest for documents.
        product::Product = "product",
        /// Tokens: Azuma, simultaneous over hypotheses, smoothing weights and models.
        azuma::Azuma = "azuma",
        /// Tokens: residuals against a predicted loss (after Finzi et al. 2025).
        freedman::Freedman = "freedman",
        /// Tokens: Chernoff at exponents fixed beforehand.
        fixed_t::FixedT = "fixed-t",
        /// Documents, for comparison: PAC-Bayes square root (McAllester 2003).
        mcallester::McAllester = "mcallester",
        /// Documents, for comparison: quasi-convex PAC-Bayes (Thiemann et al. 2017).
        thiemann::Thiemann = "thiemann",
        /// Documents, for comparison: PAC-Bayes at a fixed exponent (Catoni 2007).
        catoni::Catoni = "catoni",
        /// Documents, for comparison: PAC-Bayes with a union over exponents (Catoni 2007).
        catoni_union::CatoniUnion = "catoni-union",
        /// Held-out documents: no code length, but nothing about the training set.
        test_set::TestSet = "test-set",
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod testing;
