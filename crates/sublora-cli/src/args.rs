//! What can be typed.

mod inspect;
mod ortho;
mod qat;
mod schedule;
mod spectral;
mod sweep;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sublora::Orientation;
use sublora::quantizers::{AnyGrid, AnyRange, BitWidth, Granularity};

use crate::device::DEFAULT;

pub(crate) use inspect::{Eval, Generate, SplitArg};
pub(crate) use ortho::{Ortho, OrthoDiagnose, OrthoSettings, OrthoSplit, OrthoSweep, StreamArgs};
pub(crate) use qat::{
    Qat, QatCompare, QatCyclic, QatParameters, QatRangeTest, QatSuiteArgs, QatTrain,
};
pub(crate) use schedule::{ScheduleArgs, ScheduleCommand};
pub(crate) use spectral::{KernelsArg, ModeArg, Spectral};
pub(crate) use sweep::{Report, Sweep};

/// Certified compression and quantisation of GPT-2-class language models.
#[derive(Debug, Parser)]
#[command(name = "sublora", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where to compute: flex, wgpu, vulkan, metal, cuda or rocm, with an index for one of several
    #[arg(
        long,
        global = true,
        value_name = "NAME[:INDEX]",
        env = "SUBLORA_DEVICE",
        hide_env_values = true,
        default_value = DEFAULT
    )]
    pub(crate) device: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train, compress, certify and verify a small model on real text, in minutes on a CPU
    Quickstart(Quickstart),
    /// Build or inspect token files
    #[command(subcommand)]
    Corpus(CorpusCommand),
    /// Train a model as a configuration says
    Train(Train),
    /// Quantise and code a trained model into `model.sublora`
    Compress(RunArgs),
    /// Turn a compressed model into a certificate
    Certify(Certify),
    /// Check a certificate; exit code 1 if anything differs
    Verify(Verify),
    /// Train, compress and certify every mode at every budget and seed, and compare them
    Sweep(Sweep),
    /// Turn what came of a sweep into a page and tables
    Report(Report),
    /// Loss of a compressed model, or of one at several precisions or gains of its outliers, on held-out
    /// documents
    Eval(Eval),
    /// Text from a compressed model, or from one of bases and outliers
    Generate(Generate),
    /// Write a checkpoint with its matrices fake-quantised, and what that did to each
    Quantize(Quantize),
    /// Heavy-tailed spectra of a checkpoint's weights, before and after quantisation
    Spectral(Spectral),
    /// Matrices as a base and the outliers that complete it
    #[command(subcommand)]
    Ortho(Ortho),
    /// Train a model that runs at several precisions
    #[command(subcommand)]
    Qat(Qat),
    /// What a precision schedule uses and costs
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Every tokenizer, projector, allocation, gate, codebook, training at several precisions,
    /// distillation, precision schedule, grid, range, base, selection of outliers, estimator and bound
    List {
        /// Only this family
        what: Option<Family>,
    },
    /// Completions for a shell, to be sourced
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Quickstart {
    /// Text files, directories or JSON Lines to use instead of the sources of our dependencies
    #[arg(long, value_name = "PATH")]
    pub(crate) text: Vec<PathBuf>,
    /// Folder for everything that is written
    #[arg(long, value_name = "DIR", default_value = "quickstart")]
    pub(crate) out: PathBuf,
    /// Go on where an interrupted quickstart in that folder stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Base weights: pretrained on a part of the text that is not certified, or random
    #[arg(long, default_value = "prior-split")]
    pub(crate) base: Base,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Base {
    PriorSplit,
    Random,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CorpusCommand {
    /// Documents to token files
    Build(CorpusBuild),
    /// What is in a corpus
    Inspect {
        /// Its folder
        dir: PathBuf,
        /// Recompute every hash as well
        #[arg(long)]
        verify: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CorpusBuild {
    /// Text file, directory, JSON Lines (plain, .gz, .zst, .xz), Parquet, or nanoGPT `train.bin`
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub(crate) input: Vec<PathBuf>,
    /// byte, gpt2, or a Hugging Face tokenizer.json
    #[arg(long, default_value = "gpt2", value_name = "NAME|FILE.json")]
    pub(crate) tokenizer: String,
    /// Folder of the corpus
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Share of the documents held out, 0 for none
    #[arg(long, default_value_t = 0.01, value_name = "F")]
    pub(crate) val_fraction: f64,
    /// Of the hash that holds documents out
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Count and leave out documents that cannot be used, instead of stopping
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Look for near-duplicates and report the effective number of documents
    #[arg(long)]
    pub(crate) near_duplicates: bool,
    /// Replace a corpus that is already there
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Train {
    /// TOML configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Override a key of the configuration, for example train.steps=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Go on where an earlier call stopped
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Folder of the run
    pub(crate) run: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Certify {
    /// Folder of the run
    pub(crate) run: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Units instead of the configuration's
    #[arg(long)]
    pub(crate) unit: Option<UnitArg>,
    /// Documents, and positions, to draw; `all` scores everything
    #[arg(long, value_name = "N|all", value_parser = sample)]
    pub(crate) sample: Option<Sample>,
    /// Override a key of the run's configuration, for example certify.seed=1
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Replace a certificate that is already there; the best of several is to be paid for with
    /// certify.configurations
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitArg {
    Document,
    Token,
    Both,
}

/// A sample size; none is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample(pub(crate) Option<NonZeroU64>);

fn sample(text: &str) -> Result<Sample, String> {
    match text.parse() {
        _ if text == "all" => Ok(Sample(None)),
        Ok(size) => Ok(Sample(Some(size))),
        Err(_) => Err(format!("`{text}` is no sample size, expected a number or `all`")),
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// certificate.json, or the folder of a run that has one
    pub(crate) certificate: PathBuf,
    /// Corpus folder, if it is not where it was when the certificate was made
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    /// Rebuild the model and evaluate every scored token again
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Quantize {
    /// A file, an index or a folder: safetensors, PyTorch, ONNX, NumPy; written as safetensors
    pub(crate) checkpoint: PathBuf,
    /// Folder of the quantised checkpoint
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Bits of a code, 1 to 16
    #[arg(long, default_value = "4", value_parser = bits)]
    pub(crate) bits: BitWidth,
    /// What shares a scale: tensor, channel (an output), group:N or group:N:pad (inputs of an output)
    #[arg(long, default_value = "group:64", value_name = "NAME")]
    pub(crate) granularity: Granularity,
    /// How scales are chosen
    #[arg(
        long,
        default_value = "mse",
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(AnyRange::NAMES).try_map(|name| {
            AnyRange::all().into_iter().find(|it| it.name() == name).ok_or("unknown")
        })
    )]
    pub(crate) range: AnyRange,
    /// What codes stand for
    #[arg(
        long,
        default_value = "symmetric",
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(AnyGrid::NAMES).try_map(|name| {
            AnyGrid::all().into_iter().find(|it| it.name() == name).ok_or("unknown")
        })
    )]
    pub(crate) grid: AnyGrid,
    /// Hold scales and values in this type, as codes that run in half precision do
    #[arg(long, value_name = "TYPE")]
    pub(crate) emulate: Option<HalfArg>,
    /// Quantise embeddings and output heads too
    #[arg(long = "quantize-embeddings")]
    pub(crate) embeddings: bool,
    /// Leave tensors of this name alone, `*` for any text
    #[arg(long, value_name = "PATTERN")]
    pub(crate) skip: Vec<String>,
    /// Which way round weights lie: [d_in, d_out] (conv1d), [d_out, d_in] (linear), or as their
    /// names and shapes say
    #[arg(long, default_value = "auto")]
    pub(crate) orientation: OrientationArg,
    /// A setting of the range or the grid, for example range.exponent=2.4
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HalfArg {
    F16,
    Bf16,
}

pub(crate) fn bit_width(text: &str) -> Result<BitWidth, String> {
    let width =
        text.parse().map_err(|_| format!("`{text}` is no width, expected 1 to 16, or 32"))?;
    BitWidth::new(width).map_err(|error| error.to_string())
}

pub(crate) fn bits(text: &str) -> Result<BitWidth, String> {
    match text.parse().map(BitWidth::new) {
        Ok(Ok(bits)) if !bits.is_full() => Ok(bits),
        _ => Err(format!("`{text}` is no width, expected 1 to 16")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrientationArg {
    Auto,
    Conv1d,
    Linear,
}

impl From<OrientationArg> for Orientation {
    fn from(orientation: OrientationArg) -> Self {
        match orientation {
            OrientationArg::Auto => Self::Auto,
            OrientationArg::Conv1d => Self::Conv1d,
            OrientationArg::Linear => Self::Linear,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    Tokenizers,
    Projectors,
    Allocations,
    Gates,
    Codebooks,
    Trainings,
    Distillations,
    Schedules,
    Grids,
    Ranges,
    Bases,
    Selections,
    Estimators,
    Bounds,
}
