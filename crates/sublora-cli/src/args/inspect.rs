//! What can be typed after `sublora eval` and `sublora generate`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, value_parser};
use sublora::quantizers::BitWidth;

use super::{Sample, StreamArgs, bit_width, sample};

#[derive(Debug, ClapArgs)]
pub(crate) struct Eval {
    /// Folder of the run, of a GPT-2, or of what `sublora ortho split` wrote
    pub(crate) run: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Documents to look at, of a compressed model [val]
    #[arg(long)]
    pub(crate) split: Option<SplitArg>,
    /// Blocks to score of each document, of a compressed model; `all` scores everything [16]
    #[arg(long, value_name = "N|all", value_parser = sample)]
    pub(crate) blocks: Option<Sample>,
    /// Widths in bits, of a run of `sublora qat` or of a GPT-2 folder, which is then quantised
    #[arg(long, value_name = "BITS,..", value_delimiter = ',', value_parser = bit_width)]
    pub(crate) precision: Vec<BitWidth>,
    /// Gains of the outliers of what `sublora ortho split` wrote: 0 is the base alone, 1 base and outliers
    /// [0,1]
    #[arg(
        long,
        value_name = "ALPHA,..",
        value_delimiter = ',',
        allow_hyphen_values = true,
        conflicts_with = "precision"
    )]
    pub(crate) alpha: Vec<f32>,
    #[command(flatten)]
    pub(crate) streams: StreamArgs,
    /// With `--precision` or `--alpha`: tokens by which windows slide, one evaluation each, 0 for the
    /// context
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub(crate) stride: Vec<usize>,
    /// With `--precision` or `--alpha`: documents to score, from the first
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) documents: Option<u64>,
    /// With `--precision` of a GPT-2 folder: how it is quantised, a configuration of `sublora qat`
    #[arg(long, value_name = "FILE", requires = "precision")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitArg {
    Val,
    Train,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Generate {
    /// Folder of the run, or of what `sublora ortho split` wrote
    pub(crate) run: PathBuf,
    /// Corpus folder, for its tokenizer
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// The file of its tokenizer, if it has one: a Hugging Face tokenizer.json
    #[arg(long, value_name = "FILE.json")]
    pub(crate) tokenizer: Option<String>,
    /// Text to go on from
    #[arg(long, default_value = "")]
    pub(crate) prompt: String,
    /// Tokens to draw
    #[arg(long, default_value_t = 200)]
    pub(crate) tokens: usize,
    /// 0 takes the likeliest token
    #[arg(long, default_value_t = 0.8)]
    pub(crate) temperature: f64,
    /// Of the draws
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Gain of the outliers of what `sublora ortho split` wrote: 0 is the base alone [1]
    #[arg(long, value_name = "ALPHA", allow_hyphen_values = true)]
    pub(crate) alpha: Option<f32>,
    #[command(flatten)]
    pub(crate) streams: StreamArgs,
}
