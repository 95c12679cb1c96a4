//! Statistics of a matrix, or of all of a model's, before and after quantisation.

mod collapsed;
mod correlation;
mod delta;
mod false_discovery;
mod summary;
mod wasserstein;
mod weights;

pub use collapsed::{CollapseLimits, CollapseReason};
pub use correlation::{kendall, pearson, spearman};
pub use delta::{alpha_above, delta_alpha_fixed};
pub use false_discovery::FalseDiscovery;
pub use summary::{Centre, LayerOutcome, SummarySettings, VariantSummary};
pub use wasserstein::log_wasserstein;
pub use weights::WeightDifference;
