//! What can be typed after `sublora qat`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Qat {
    /// All widths together: calibrated only, with adapters and norms for each, or with one adapter that can
    /// be merged
    Switchable(QatTrain),
    /// A width that a schedule moves from step to step (CPT), or one width all along
    Cyclic(QatCyclic),
    /// Between which widths precision should cycle, by short trainings from one state
    RangeTest(QatRangeTest),
    /// Parameters of a configuration, from its layers, without a weight
    Parameters(QatParameters),
    /// Several methods on several seeds
    Suite(QatSuiteArgs),
    /// Runs beside one another, as a page and tables: what each method gives at each width, and what it costs
    Compare(QatCompare),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatTrain {
    /// TOML configuration of the run
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Go on where an interrupted run in that folder stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Override a key of the configuration, for example train.steps=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatCyclic {
    #[command(flatten)]
    pub(crate) train: QatTrain,
    /// Test first between which widths precision should cycle, and leave out the schedule's others
    #[arg(long, conflicts_with = "resume")]
    pub(crate) range_test: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatRangeTest {
    /// TOML configuration of the run; its table `range_test` says what is probed
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the run, whose base it makes or finds
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Override a key of the configuration, for example range_test.iterations=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatSuiteArgs {
    /// TOML configuration of the suite
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Corpus folder
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: PathBuf,
    /// Folder of the suite; what is finished in it is not done again
    #[arg(long, value_name = "SUITE")]
    pub(crate) out: PathBuf,
    /// Override a key of the configuration, for example run.train.steps=100
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatCompare {
    /// Folders of runs, or of suites, which hold runs as LABEL/seed-N
    #[arg(required = true, value_name = "RUN|SUITE")]
    pub(crate) runs: Vec<PathBuf>,
    /// What runs are compared as, one for each folder: runs of one label are seeds of one method, and
    /// labels NAME-2, NAME-3 of runs at these widths alone are one method NAME; the name of the folder above
    /// that of a run without it
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// Folder of the page; `report` in the folder, if it is one, without it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct QatParameters {
    /// TOML configuration of the run
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Tokens of the vocabulary; GPT-2's without it
    #[arg(long, value_name = "N", default_value_t = 50_257)]
    pub(crate) vocabulary: usize,
    /// Override a key of the configuration, for example model.size=medium
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
