#![doc = include_str!("../README.md")]

mod analysis;
mod bootstrap;
mod columns;
mod comparison;
pub mod compat;
#[cfg(test)]
mod conformance;
mod decomposition;
mod erg;
mod error;
mod estimates;
mod farms;
mod hill;
mod interval;
mod likelihood_ratio;
mod marchenko_pastur;
mod mode;
mod norms;
mod power_law;
mod randomized;
mod spectrum;
mod stop;
mod subset;
mod tilted;
mod truncated;
mod weights;

pub use analysis::Analysis;
pub use bootstrap::{Bootstrap, Uncertainty};
pub use columns::{Columns, Word, plain_means};
pub use comparison::{
    Centre, Change, ChangeColumns, CollapseLimits, CollapseReason, Comparison, FalseDiscovery,
    LayerOutcome, NoiseTest, PairedBootstrap, RowSubsampling, SubsetAlphas, SummarySettings,
    TopSubspace, VariantSummary, WeightDifference, alpha_above, delta_alpha_fixed, kendall,
    log_wasserstein, pearson, spearman,
};
pub use erg::UnitProductTail;
pub use error::SpectrumError;
pub use estimates::{EstimateColumns, Estimates, Estimation, Measured};
pub use farms::{Farms, WindowSpectra};
pub use interval::{Interval, Verdict};
pub use likelihood_ratio::{Alternative, LikelihoodRatio};
pub use marchenko_pastur::MarchenkoPastur;
pub use mode::Mode;
pub use norms::{entropy, log_alpha_norm, norm, rank, stable_rank};
pub use power_law::{FitFailure, KsScratch, PowerLaw};
pub use randomized::Randomized;
pub use spectrum::{Route, Spectrum};
pub use stop::{NEVER, Stop};
pub use truncated::TruncatedPowerLaw;
pub use weights::Weights;

/// An exponent from the eigenvalues alone.
pub trait TailEstimator: Send + Sync {
    /// The exponent $\alpha$ of the density $x^{-\alpha}$ in the tail of `sorted`, `[N]` ascending
    /// eigenvalues. Scaling them all does not change it.
    ///
    /// # Errors
    /// Says why `sorted` has no exponent.
    fn alpha(&self, sorted: &[f64]) -> Result<f64, FitFailure>;
}

registry::methods! {
    /// Every estimator of the exponent of a tail.
    pub enum AnyEstimator: dyn TailEstimator {
        /// Power law above the threshold of least Kolmogorov-Smirnov distance (Clauset et al. 2009).
        power_law::KsFit = "ks",
        /// Hill's estimator over the upper half of the spectrum.
        hill::Hill = "hill",
        /// Power law with an exponential cut-off above the same threshold.
        truncated::Truncated = "truncated",
    }
}
