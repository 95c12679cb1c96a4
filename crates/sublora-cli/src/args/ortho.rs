//! What can be typed after `sublora ortho`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use sublora::ortho_linear::{AnyBase, AnySelection, Construction, Storage};

use super::OrientationArg;

#[derive(Debug, Subcommand)]
pub(crate) enum Ortho {
    /// What the base of each layer would do without its outliers; exit code 1 if one is refused
    Diagnose(OrthoDiagnose),
    /// Write a GPT-2 with every layer as base and outliers, unless a base is refused
    Split(OrthoSplit),
    /// Teach a GPT-2 facts, split what that changed off, and measure what is left by alpha: beside masks of
    /// the same size and trainings that unlearn, and after quantising
    Sweep(OrthoSweep),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OrthoDiagnose {
    /// A file, an index or a folder: safetensors, PyTorch, ONNX, NumPy
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) how: OrthoSettings,
    /// Write tables and `report.html` here
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print every rule for scales of every layer
    #[arg(long)]
    pub(crate) detail: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OrthoSplit {
    /// Folder of a GPT-2
    pub(crate) gpt2: PathBuf,
    /// Folder of the model with two streams, for `sublora eval --alpha`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) how: OrthoSettings,
}

/// How matrices are split, and when their bases are refused.
#[derive(Debug, ClapArgs)]
pub(crate) struct OrthoSettings {
    /// TOML configuration, like `configs/ortho-diagnose.toml`; what follows overrides it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Relative error that a base may have alone: of its weights, and with a text of its outputs [0.05]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
    pub(crate) budget: Option<f64>,
    /// What the base is where the outliers are [residual]
    #[arg(long, value_name = "NAME")]
    pub(crate) construction: Option<ConstructionArg>,
    /// How the base of `residual` is stored [fp16]
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(AnyBase::NAMES).try_map(|name| {
            AnyBase::all().into_iter().find(|it| it.name() == name).ok_or("unknown")
        })
    )]
    pub(crate) base: Option<AnyBase>,
    /// Which weights are outliers [those that the base leaves out, or magnitude]
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(AnySelection::NAMES).try_map(|name| {
            AnySelection::all().into_iter().find(|it| it.name() == name).ok_or("unknown")
        })
    )]
    pub(crate) select: Option<AnySelection>,
    /// Share of the weights that are outliers, of a selection that has one
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) ratio: Option<f64>,
    /// The type that the stored weights are cast to [f16]
    #[arg(long, value_name = "TYPE")]
    pub(crate) storage: Option<StorageArg>,
    /// The checkpoint before fine-tuning, for `delta` and `memory-delta`
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) pretrained: Option<PathBuf>,
    /// Let a GPT-2 folder read windows of this corpus, and look at outputs on what its layers are given
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    /// Leave tensors of this name out, `*` for any text
    #[arg(long, value_name = "PATTERN")]
    pub(crate) skip: Vec<String>,
    /// Which way round weights lie, as for `sublora quantize` [auto]
    #[arg(long, value_name = "NAME")]
    pub(crate) orientation: Option<OrientationArg>,
    /// Of random inputs and of the windows [0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Override a key of the configuration, for example split.base.range=mse
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConstructionArg {
    Extract,
    Clamp,
    Delta,
    Residual,
}

impl From<ConstructionArg> for Construction {
    fn from(construction: ConstructionArg) -> Self {
        match construction {
            ConstructionArg::Extract => Self::Extract,
            ConstructionArg::Clamp => Self::Clamp,
            ConstructionArg::Delta => Self::Delta,
            ConstructionArg::Residual => Self::Residual,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageArg {
    F16,
    Bf16,
    F32,
}

impl From<StorageArg> for Storage {
    fn from(storage: StorageArg) -> Self {
        match storage {
            StorageArg::F16 => Self::F16,
            StorageArg::Bf16 => Self::Bf16,
            StorageArg::F32 => Self::F32,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OrthoSweep {
    /// TOML configuration of the study
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the study; what is finished in it is not done again
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Gains of the outlier stream to measure at, in place of those of the configuration: 0 is the base
    /// alone, 1 the stored model
    #[arg(long, value_name = "ALPHA", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) alpha: Vec<f32>,
    /// Allow gains below 0 and above 1
    #[arg(long)]
    pub(crate) extrapolate: bool,
    /// The `tokenizer.json` of the corpus, if that is what it was built with
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<String>,
    /// Override a key of the configuration, for example memorize.train.steps=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Gains of the outlier streams of a model that `sublora ortho split` wrote.
#[derive(Debug, ClapArgs)]
pub(crate) struct StreamArgs {
    /// With `--alpha`: one layer at a gain of its own, by its name, for example h.0.attn.c_attn=0
    #[arg(long, value_name = "LAYER=ALPHA", value_parser = layer_alpha)]
    pub(crate) layer_alpha: Vec<LayerAlpha>,
    /// With `--alpha`: allow gains below 0 and above 1
    #[arg(long)]
    pub(crate) extrapolate: bool,
}

/// A layer and the gain of its outliers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerAlpha {
    pub(crate) layer: String,
    pub(crate) alpha: f32,
}

fn layer_alpha(text: &str) -> Result<LayerAlpha, String> {
    let found = text.rsplit_once('=').and_then(|(layer, alpha)| {
        Some(LayerAlpha { layer: layer.to_owned(), alpha: alpha.parse().ok()? })
    });
    found.ok_or_else(|| format!("`{text}` is no layer with a number, as h.0.attn.c_attn=0"))
}
