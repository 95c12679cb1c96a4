//! A study of a tiny GPT-2, and what it is made of.
#![expect(clippy::float_cmp, reason = "exact where nothing moves")]

mod parts;
mod report;
mod runs;

use std::path::Path;

use burn::tensor::Device;
use corpus::{Byte, Corpus, LoadTokenizer, Tokenizer};

use super::*;
use crate::fixture;

/// One block of width 16 over bytes; a third of the weights on a mask, and all.
const CONFIG: &str = r#"
seeds = [1]
facts = 4
retain_tokens = 100
ratios = [0.25, 1.0]
alphas = [0.5, 1.0]
streams = { ratios = [0.5] }

[model]
size = "tiny"
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 48

[base]
kind = "random"

[memorize.train]
steps = 8
batch = 4
seq = 16
learning_rate = { peak = 3e-2, warm_up = 1 }
weight_decay = 0.0
eval_every = 4
eval_batches = 1

[unlearning.ascent]
forget = -1.0
retain = 0.5

[unlearning.ascent.train]
steps = 4
batch = 2
seq = 16
shards = 2
learning_rate = { peak = 1e-2, warm_up = 1 }
eval_every = 1
eval_batches = 1
"#;

fn config(overrides: &[&str]) -> UnlearningConfig {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    UnlearningConfig::parse(CONFIG, &overrides).unwrap()
}

/// 20 documents, of which a fifth is held out.
fn text(dir: &Path) -> Corpus {
    fixture::corpus(&dir.join("corpus"), &fixture::prose(20, 40), 0.2)
}

fn bytes() -> Box<dyn Tokenizer> {
    Byte::default().load().unwrap()
}

fn study<'a>(
    dir: &Path,
    config: UnlearningConfig,
    corpus: &'a Corpus,
    tokenizer: &'a dyn Tokenizer,
    progress: &'a dyn crate::Progress,
) -> UnlearningStudy<'a> {
    UnlearningStudy {
        folder: dir.join("study"),
        config,
        corpus,
        tokenizer,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress,
    }
}
