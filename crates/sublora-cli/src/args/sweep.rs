//! What can be typed after `sublora sweep` and `sublora report`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Sweep {
    /// TOML configuration of the sweep
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the sweep; what is finished in it is not done again
    #[arg(long, value_name = "SWEEP")]
    pub(crate) out: PathBuf,
    /// Runs at once
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// Memory that runs at once may take by their estimates, on the device that computes; four fifths of
    /// what is free if that is the CPU
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    pub(crate) memory: Option<u64>,
    /// Override a key of the configuration, for example run.train.steps=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Write job arrays for a Slurm cluster instead: SWEEP/slurm/submit.sh hands them over
    #[arg(long, group = "step")]
    pub(crate) slurm: bool,
    /// Do one task only, as the job arrays do: 0 is the first
    #[arg(long, value_name = "N", group = "step")]
    pub(crate) task: Option<usize>,
    /// Run nothing, and collect what is there
    #[arg(long, group = "step")]
    pub(crate) collect: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Report {
    /// Folder of a sweep, finished or not
    #[arg(value_name = "SWEEP")]
    pub(crate) sweep: PathBuf,
    /// Folder of the report; SWEEP/report without it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn gibibytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => {
            Ok((number * f64::from(1 << 30)) as u64)
        }
        _ => Err(format!("`{text}` is no amount of memory, expected a number above 0")),
    }
}
