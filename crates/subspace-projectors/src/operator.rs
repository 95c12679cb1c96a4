//! The few operators that every named projector is composed of.

mod block_diagonal;
mod dense;
mod identity;
mod kronecker;
mod permuted;
mod sum;

pub(crate) use block_diagonal::BlockDiagonal;
pub(crate) use dense::{Dense, Entries};
pub(crate) use identity::Identity;
pub(crate) use kronecker::Kronecker;
pub(crate) use permuted::Permuted;
pub(crate) use sum::Sum;

/// Runs of rows or blocks that one product is cut into: tasks, and the partial sums of an adjoint. A
/// constant, so that no sum depends on the number of threads.
pub(crate) const RUNS: usize = 64;
