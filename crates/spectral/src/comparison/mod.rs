//! Statistics of a matrix, or of all of a model's, before and after quantisation.

mod correlation;
mod false_discovery;
mod wasserstein;

pub use correlation::{kendall, pearson, spearman};
pub use false_discovery::FalseDiscovery;
pub use wasserstein::log_wasserstein;
