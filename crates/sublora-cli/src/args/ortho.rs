//! What can be typed after `sublora ortho`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Ortho {
    /// Teach a GPT-2 facts, split what that changed off, and measure what is left by alpha: beside masks of
    /// the same size and trainings that unlearn, and after quantising
    Sweep(OrthoSweep),
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
    #[arg(long, value_name = "ALPHA", value_delimiter = ',', allow_negative_numbers = true)]
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
