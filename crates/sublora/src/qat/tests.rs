//! Whole runs of every method on a tiny GPT-2, and what they are made of.

mod calibration;
mod config;
mod cost;
mod learner;
mod range;
mod refusals;
mod runs;
mod stops;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;
use corpus::Corpus;
use quantizers::BitWidth;

use super::*;
use crate::{Error, Progress, fixture};

/// Two blocks of width 16 over bytes, without biases, at 2, 4 and 8 bits.
const CONFIG: &str = r#"
widths = [2, 4, 8]

[model]
size = "tiny"
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 16

[base]
kind = "random"

[calibration]
batches = 2

[train]
steps = 6
batch = 4
seq = 16
learning_rate = { peak = 1e-2, warm_up = 1 }
weight_decay = 0.0
eval_every = 4
eval_batches = 1

[evaluate]
documents = 2
batch = 4
"#;

/// Every method, with adapters of rank 2; the cyclic one at 2, 4, 8, 2, 4 and 8 bits.
const METHODS: [(&str, &str); 4] = [
    ("post-training", "method={ kind = \"post-training\" }"),
    ("switchable", "method={ kind = \"switchable\", adapters = [{ rank = 2, alpha = 2.0 }] }"),
    ("mergeable", "method={ kind = \"mergeable\", rank = 2, alpha = 2.0 }"),
    (
        "cyclic",
        "method={ kind = \"cyclic\", rank = 2, alpha = 2.0, precision = \
         { widths = [2, 4, 8], schedule = { kind = \"repeated\", cycles = 2 } } }",
    ),
];

fn method(name: &str) -> &'static str {
    METHODS.iter().find(|it| it.0 == name).unwrap().1
}

fn bits(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap()
}

fn config(overrides: &[&str]) -> QatConfig {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    QatConfig::parse(CONFIG, &overrides).unwrap()
}

/// 20 documents, of which a fifth is held out.
fn text(dir: &Path) -> Corpus {
    fixture::corpus(&dir.join("corpus"), &fixture::prose(20, 20), 0.2)
}

fn run<'a>(
    folder: PathBuf,
    corpus: &'a Corpus,
    overrides: &[&str],
    progress: &'a dyn Progress,
) -> QatRun<'a> {
    QatRun {
        folder,
        pretraining: None,
        config: config(overrides),
        corpus,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress,
    }
}

fn said<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().to_string()
}

/// A file in the folder of a run.
fn file(run: &QatRun<'_>, name: &str) -> Vec<u8> {
    std::fs::read(run.folder.join(name)).unwrap()
}

/// Asks for an end at some of the updates it hears, counted from 1.
struct Impatient {
    at: &'static [u64],
    heard: AtomicU64,
}

impl Impatient {
    fn new(at: &'static [u64]) -> Self {
        Self { at, heard: AtomicU64::new(0) }
    }
}

impl Progress for Impatient {
    fn begin(&self, _task: &str, _unit: &'static str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        let heard = self.heard.fetch_add(1, Ordering::Relaxed) + 1;
        if self.at.contains(&heard) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn end(&self) {}
}
