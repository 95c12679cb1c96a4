//! One file a family of subcommands.

pub(crate) mod certify;
pub(crate) mod corpora;
pub(crate) mod inspect;
pub(crate) mod ortho;
pub(crate) mod ortho_diagnose;
pub(crate) mod ortho_split;
pub(crate) mod ortho_sweep;
pub(crate) mod qat;
pub(crate) mod qat_compare;
pub(crate) mod quantize;
pub(crate) mod quickstart;
pub(crate) mod report;
pub(crate) mod schedule;
pub(crate) mod spectral;
pub(crate) mod sweep;
pub(crate) mod train;

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sublora::corpus::Corpus;
use sublora::{Run, RunConfig};

use crate::args::Args;
use crate::bars::Bars;
use crate::device;
use crate::failure::Failure;

/// Seconds since the epoch, never going back.
pub(crate) fn now() -> f64 {
    static START: LazyLock<(Instant, f64)> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        (Instant::now(), since.map_or(0.0, |since| since.as_secs_f64()))
    });
    START.1 + START.0.elapsed().as_secs_f64()
}

/// What a command has to say on stdout, and whether that is a yes.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) yes: bool,
    /// What is said on stderr after it, of a no that names what is wrong.
    pub(crate) refusal: Option<Failure>,
}

impl Answer {
    /// The command did what it was asked for.
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), yes: true, refusal: None }
    }

    /// The same as a no, for this reason.
    pub(crate) fn refused(self, refusal: Failure) -> Self {
        Self { yes: false, refusal: Some(refusal), ..self }
    }

    /// The same, as JSON.
    pub(crate) fn json(value: &impl serde::Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_string_pretty(value);
        Ok(Self::done(json.map_err(|error| Failure::new(error, "try without `--json`"))?))
    }
}

/// The text of a configuration; `hint` says what that is.
pub(crate) fn read_config(path: &Path, hint: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read `{}`: {error}", path.display()), hint))
}

/// A run on the device that was asked for.
pub(crate) fn open_run<'a>(
    args: &Args,
    folder: &Path,
    config: RunConfig,
    corpus: &'a Corpus,
    bars: &'a Bars,
) -> Result<Run<'a>, Failure> {
    Ok(Run {
        folder: folder.to_owned(),
        config,
        corpus,
        device: device::open(&args.device)?,
        device_name: args.device.clone(),
        now: &now,
        progress: bars,
    })
}
