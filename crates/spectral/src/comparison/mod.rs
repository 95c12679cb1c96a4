//! Statistics of a matrix, or of all of a model's, before and after quantisation.

mod change;
mod collapsed;
mod correlation;
mod delta;
mod difference;
mod drift;
mod false_discovery;
mod noise_floor;
mod paired;
mod rows;
mod summary;
mod wasserstein;

pub use change::{Change, ChangeColumns, Comparison};
pub use collapsed::{CollapseLimits, CollapseReason};
pub use correlation::{kendall, pearson, spearman};
pub use delta::{alpha_above, delta_alpha_fixed};
pub use difference::WeightDifference;
pub use drift::TopSubspace;
pub use false_discovery::FalseDiscovery;
pub use noise_floor::NoiseTest;
pub use paired::PairedBootstrap;
pub use rows::{RowSubsampling, SubsetAlphas};
pub use summary::{Centre, LayerOutcome, SummarySettings, VariantSummary};
pub use wasserstein::log_wasserstein;
