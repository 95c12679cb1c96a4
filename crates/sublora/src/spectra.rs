//! What quantisation does to the spectra of a checkpoint.
//!
//! Every weight matrix is analysed as it is and as every width and granularity asked for leaves it; the
//! crate `spectral` says what each number is. Results are a table with a row a matrix and variant, a
//! table of every tensor of the checkpoint, a summary, and a page for people.

mod charts;
mod gate;
mod layer;
mod outputs;
mod page;
mod reading;
mod record;
mod selection;
mod study;
mod summary;
mod tables;
mod work;

use quantizers::{AnyGrid, AnyRange, BitWidth, Granularity, MinMax, QuantizerError, Symmetric};
use serde::{Deserialize, Serialize};
use spectral::{Comparison, Estimation, FalseDiscovery, Mode, SummarySettings};

pub use gate::{Comparison as GateComparison, Gate};
pub use selection::Kernels;
pub use study::{Coverage, SpectralReport};
pub use summary::{NamedSummary, StudySummary};

use crate::{Error, FileError, Orientation};

/// What is analysed, and how. The default is the strict analysis of a checkpoint as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part of the analysis by itself")]
pub struct SpectralStudy {
    /// Whose columns, thresholds and choice of tensors.
    pub mode: Mode,
    /// Widths of the variants, each at every granularity.
    pub widths: Vec<BitWidth>,
    /// Which values share a scale, with the axes of a weight `[d_in, d_out]`.
    pub granularities: Vec<Granularity>,
    /// Which values codes can stand for.
    pub grid: AnyGrid,
    /// Which part of the values the codes should reach.
    pub range: AnyRange,
    /// Which way round weights are stored.
    pub orientation: Orientation,
    /// What convolution kernels are taken for.
    pub kernels: Kernels,
    /// Whether queries, keys and values in one matrix are three; in strict mode.
    pub split_qkv: bool,
    /// Tensors with more are left out.
    pub max_eigenvalues: usize,
    /// Names of tensors to leave out, `*` for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Compat only: fit without the largest eigenvalues where that lowers alpha by one.
    pub clip_xmax: bool,
    /// Whether the Marchenko-Pastur law is fitted.
    pub mp_fit: bool,
    /// Whether the entries are permuted for comparison.
    pub randomize: bool,
    /// The estimators.
    pub estimation: Estimation,
    /// Of a variant with the original.
    pub comparison: Comparison,
    /// Over the matrices.
    pub summary: SummarySettings,
    /// Of the p-values over the matrices.
    pub correction: FalseDiscovery,
    /// Of noise, replicates and permutations.
    pub seed: u64,
}

impl Default for SpectralStudy {
    fn default() -> Self {
        Self {
            mode: Mode::Strict,
            widths: Vec::new(),
            granularities: vec![Granularity::Tensor],
            grid: Symmetric {}.into(),
            range: MinMax {}.into(),
            orientation: Orientation::Auto,
            kernels: Kernels::Pooled,
            split_qkv: false,
            max_eigenvalues: 15_000,
            skip: Vec::new(),
            clip_xmax: false,
            mp_fit: false,
            randomize: false,
            estimation: Estimation::default(),
            comparison: Comparison::default(),
            summary: SummarySettings::default(),
            correction: FalseDiscovery::default(),
            seed: 0,
        }
    }
}

impl SpectralStudy {
    /// These settings with some overridden, each `table.key=value` with a TOML value: for example
    /// `comparison.limits.snr_db=6`.
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn overridden(self, overrides: &[String]) -> Result<Self, Error> {
        crate::config::overridden(self, overrides)
    }

    /// What can be said without a checkpoint.
    fn validate(&self) -> Result<(), SpectralError> {
        for (index, bits) in self.widths.iter().enumerate() {
            self.grid.as_dyn().codes(*bits)?;
            if self.widths[..index].contains(bits) {
                return Err(SpectralError::Repeated(format!("{bits} bits")));
            }
        }
        for (index, granularity) in self.granularities.iter().enumerate() {
            granularity.groups(quantizers::Operand::Weight, [0, 0])?;
            if self.granularities[..index].contains(granularity) {
                return Err(SpectralError::Repeated(granularity.to_string()));
            }
        }
        let farms = &self.estimation.farms;
        for (name, value) in [
            ("estimation.farms.rows", farms.rows),
            ("estimation.farms.aspect", farms.aspect),
            ("estimation.ks.min_tail", self.estimation.ks.min_tail),
        ] {
            if value == 0 {
                return Err(SpectralError::Setting { name, value: 0.0, expected: "at least 1" });
            }
        }
        for (name, value) in [
            ("estimation.bootstrap.confidence", self.estimation.bootstrap.confidence),
            ("comparison.paired.confidence", self.comparison.paired.confidence),
            ("comparison.rows.confidence", self.comparison.rows.confidence),
            ("comparison.rows.share", self.comparison.rows.share),
            ("summary.confidence", self.summary.confidence),
        ] {
            if !(value > 0.0 && value < 1.0) {
                let expected = "a number between 0 and 1";
                return Err(SpectralError::Setting { name, value, expected });
            }
        }
        let compat = self.mode == Mode::Compat;
        let other = [
            ("split_qkv", self.split_qkv && compat, "strict"),
            ("kernels = flat", self.kernels == Kernels::Flat && compat, "strict"),
            ("clip_xmax", self.clip_xmax && !compat, "compat"),
        ];
        match other.into_iter().find(|it| it.1) {
            Some((setting, _, mode)) => Err(SpectralError::OtherMode { setting, mode }),
            None => Ok(()),
        }
    }
}

/// Why a checkpoint was not analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpectralError {
    /// A checkpoint that cannot be read.
    #[error(transparent)]
    Weights(#[from] weight_files::Error),
    /// Settings with which nothing can be quantised.
    #[error(transparent)]
    Settings(#[from] QuantizerError),
    /// A width or granularity that is listed twice.
    #[error("{0} is listed twice")]
    Repeated(String),
    /// A setting out of its range.
    #[error("`{name}` is {value}, expected {expected}")]
    Setting {
        /// Its key.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// A setting that the mode does not know.
    #[error("`{setting}` belongs to the mode `{mode}`")]
    OtherMode {
        /// The setting.
        setting: &'static str,
        /// The mode that has it.
        mode: &'static str,
    },
    /// A table that cannot be written.
    #[error(transparent)]
    Table(#[from] report::Error),
    /// See [`FileError`].
    #[error(transparent)]
    File(#[from] FileError),
    /// The caller asked for an end.
    #[error("interrupted; what was finished is kept for the next call")]
    Interrupted,
}

#[cfg(test)]
mod tests;
