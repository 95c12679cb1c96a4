//! What can be typed after `sublora schedule`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use sublora::precision_schedule::Schedule;

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Steps at each width, and BitOPs of the run and of the operations of a GPT-2
    Table(ScheduleArgs),
    /// The same as a page, with the width over the steps
    Plot(SchedulePlot),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ScheduleArgs {
    /// TOML configuration of a schedule, like `configs/schedule-cpt.toml`
    pub(crate) config: PathBuf,
    /// Length of the run, instead of the configuration's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=Schedule::MAX_STEPS))]
    pub(crate) steps: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SchedulePlot {
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    /// The page, or a folder for `schedule.html`
    #[arg(long, value_name = "FILE.html|DIR")]
    pub(crate) out: PathBuf,
}
