//! What can be typed after `sublora spectral`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use sublora::Gate;
use sublora::quantizers::{BitWidth, Granularity};

use super::{OrientationArg, bits};

#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Spectral {
    /// Files, indices or folders: safetensors, PyTorch, ONNX, NumPy
    #[arg(required = true)]
    pub(crate) checkpoint: Vec<PathBuf>,
    /// Write the tables and `report.html` here; a folder for each checkpoint if there are several
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Sound thresholds and empty cells, or the columns of WeightWatcher 0.7.7
    #[arg(long, default_value = "strict")]
    pub(crate) mode: ModeArg,
    /// Widths to quantise to, for example 8,4,2
    #[arg(long, value_name = "BITS", value_delimiter = ',', value_parser = bits)]
    pub(crate) quantize: Vec<BitWidth>,
    /// What shares a scale: tensor, channel (an output), group:N or group:N:pad; several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "tensor")]
    pub(crate) granularity: Vec<Granularity>,
    /// Fit the Marchenko-Pastur law
    #[arg(long)]
    pub(crate) mp_fit: bool,
    /// Compare with the spectrum of the entries in random places
    #[arg(long)]
    pub(crate) randomize: bool,
    /// Compat mode: fit without the largest eigenvalues where that lowers alpha by one
    #[arg(long)]
    pub(crate) clip_xmax: bool,
    /// Strict mode: queries, keys and values in one matrix are three
    #[arg(long)]
    pub(crate) split_qkv: bool,
    /// What a convolution kernel is taken for
    #[arg(long, default_value = "pooled")]
    pub(crate) kernels: KernelsArg,
    /// Leave tensors of this name out, `*` for any text
    #[arg(long, value_name = "PATTERN")]
    pub(crate) skip: Vec<String>,
    /// Replicates of every fit, for its interval and its goodness; 0 for none
    #[arg(long, value_name = "N", default_value = "500")]
    pub(crate) bootstrap: usize,
    /// Replicates of the noise floor of every variant; 0 for none
    #[arg(long, value_name = "N", default_value = "16")]
    pub(crate) noise: u64,
    /// Subsets of the rows for the interval of every change of alpha, each a spectrum before and after: 200
    /// are enough; 0 for none
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) paired: u64,
    /// Leave FARMS and its paired intervals out
    #[arg(long)]
    pub(crate) no_farms: bool,
    /// Seed of replicates, noise and permutations
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// Which way round weights lie, as for `sublora quantize`
    #[arg(long, default_value = "auto")]
    pub(crate) orientation: OrientationArg,
    /// Exit with 1 where this holds: [VARIANT:]NAME, one of > >= < <= == !=, and a number, for example
    /// 'collapsed>0' or '4bit-tensor:mean_change>0.5'; NAME is a number of `summary.json`
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_on: Vec<Gate>,
    /// A setting of the analysis, for example comparison.limits.snr_db=6
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    Strict,
    Compat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KernelsArg {
    Pooled,
    Slices,
    Flat,
}
