//! The held-out text that states of one model are compared on: all of them on the same windows.

use corpus::{Corpus, Split};
use gpt2_model::{Gpt2, Gpt2Config, LinearLayer, NormLayer, TokenScores};
use serde::{Deserialize, Serialize};

use crate::blocks::Blocks;
use crate::scoring::{Pace, Scorer, Window};
use crate::{Error, Progress};

/// Which held-out text is scored, and with which contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Documents of the validation split, from its first; none, `"all"` in a file, scores all.
    #[serde(with = "crate::config::number_or_all")]
    pub documents: Option<u64>,
    /// Tokens by which the window slides over a document longer than the context, one evaluation each;
    /// 0 for the context, so that windows do not overlap.
    pub strides: Vec<usize>,
    /// Windows scored at a time.
    pub batch: usize,
    /// Batches that are computed side by side, for a CPU with idle cores.
    pub shards: usize,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self { documents: None, strides: vec![0], batch: 8, shards: 1 }
    }
}

/// Held-out windows, and who scores them.
pub struct ScoredText<'a> {
    /// Longest window, in tokens.
    pub(crate) context: u64,
    /// Tokens by which windows slide.
    pub(crate) stride: u64,
    /// How many there are.
    pub(crate) documents: u64,
    blocks: Blocks<'a>,
    windows: Vec<Window>,
    scorer: Scorer<'a>,
}

impl EvaluateConfig {
    /// What can be said without a corpus.
    ///
    /// # Errors
    /// The first key that makes no sense.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        for (key, value) in [("batch", self.batch), ("shards", self.shards)] {
            if value == 0 {
                return Err(Error::value(&format!("evaluate.{key}"), &0, "at least 1"));
            }
        }
        if self.strides.is_empty() {
            return Err(Error::value("evaluate.strides", &"empty", "at least one"));
        }
        Ok(())
    }

    /// The text at each stride, for a model of this shape.
    ///
    /// # Errors
    /// A corpus without held-out documents, a stride beyond the context, or as [`validate`](Self::validate).
    pub(crate) fn texts<'a>(
        &self,
        corpus: &'a Corpus,
        shape: &Gpt2Config,
        now: &'a (dyn Fn() -> f64 + Sync),
        progress: &'a dyn Progress,
    ) -> Result<Vec<ScoredText<'a>>, Error> {
        self.validate()?;
        let context = shape.n_positions;
        let file = corpus.split(Split::Val);
        let documents = file.documents().len().min(self.documents.unwrap_or(u64::MAX));
        if documents == 0 {
            let reason = "the corpus has no validation split to evaluate on".to_owned();
            return Err(Error::Config(reason));
        }
        let pace = Pace { batch: self.batch, shards: self.shards };
        let scorer = Scorer { pace, now, progress };
        let text = |&stride: &usize| {
            let stride = if stride == 0 { context } else { stride };
            if stride > context {
                let expected = format!("at most the model's context `n_positions` {context}");
                return Err(Error::value("evaluate.strides", &stride, &expected));
            }
            let blocks = Blocks::new(file, (0..documents).collect(), context, stride);
            let of = |index| blocks.of_document(index).map(move |block| (index, block));
            let windows = (0..documents).flat_map(of).collect();
            let (context, stride) = (context as u64, stride as u64);
            Ok(ScoredText { context, stride, documents, blocks, windows, scorer })
        };
        self.strides.iter().map(text).collect()
    }
}

impl ScoredText<'_> {
    /// Scores of all windows, in order.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub(crate) fn score<L: LinearLayer, N: NormLayer>(
        &self,
        task: &str,
        model: &Gpt2<L, N>,
    ) -> Result<TokenScores, Error> {
        self.scorer.score(task, model, &self.blocks, &self.windows)
    }
}
