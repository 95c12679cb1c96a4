//! Scores the windows of a certificate with a model, many at a time.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use gpt2_model::{Gpt2, LinearLayer, NormLayer, TokenScores, score};

use crate::blocks::Blocks;
use crate::side_by_side::side_by_side;
use crate::{Error, Progress};

/// A document's index, and a block of it.
pub(crate) type Window = (u64, Range<u64>);

/// How many windows are computed at a time; no score depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Windows of a batch, at least 1.
    pub(crate) batch: usize,
    /// Batches side by side, at least 1: more than one for a CPU that a small model leaves idle.
    pub(crate) shards: usize,
}

/// Scores `windows` and hands the scores over batch by batch, in order.
///
/// # Errors
/// If the device fails, or what `finished` returns.
pub(crate) fn score_windows<L: LinearLayer, N: NormLayer>(
    model: &Gpt2<L, N>,
    blocks: &Blocks<'_>,
    windows: &[Window],
    Pace { batch, shards }: Pace,
    mut finished: impl FnMut(usize, TokenScores) -> Result<(), Error>,
) -> Result<(), Error> {
    let batches: Vec<_> = windows.chunks(batch).collect();
    let mut number = 0;
    for batches in batches.chunks(shards) {
        let models = vec![model.clone(); batches.len()];
        let scored =
            side_by_side(models, |i, model| score_batch(&model, blocks, batches[i], batch));
        for scores in scored {
            finished(number, scores?)?;
            number += 1;
        }
    }
    Ok(())
}

/// Scores one batch; the scores of a window follow those of the one before. Every batch is filled up
/// to the same shape, so that a window's scores do not depend on its neighbours.
fn score_batch<L: LinearLayer, N: NormLayer>(
    model: &Gpt2<L, N>,
    blocks: &Blocks<'_>,
    windows: &[Window],
    batch: usize,
) -> Result<TokenScores, Error> {
    let (_, context) = model.limits();
    let device = model.wte.weight.device();
    let (mut x, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (index, block) in windows {
        let start = x.len();
        let window = blocks.window(*index, block);
        let inputs = &window.tokens[..window.tokens.len() - 1];
        x.extend(inputs.iter().map(|&token| i64::from(token)));
        x.resize(start + context, 0); // causal: what follows a window does not reach it
        let scored = window.scored;
        rows.extend(scored.clone().map(|i| i64::try_from(start + i).unwrap_or(i64::MAX)));
        targets.extend(scored.map(|i| i64::from(window.tokens[i + 1])));
    }
    x.resize(batch * context, 0);
    let x = Tensor::<2, Int>::from_data(TensorData::new(x, [batch, context]), &device);
    let hidden = model.hidden(x);
    let [_, _, d_model] = hidden.dims();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    let hidden = hidden.reshape([batch * context, d_model]).select(0, rows);
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &device);
    Ok(score(&model.head_factors(hidden), &targets)?)
}

/// Scores windows in one go, under a progress bar.
#[derive(Clone, Copy)]
pub(crate) struct Scorer<'a> {
    pub(crate) pace: Pace,
    pub(crate) now: &'a (dyn Fn() -> f64 + Sync),
    pub(crate) progress: &'a dyn Progress,
}

impl Scorer<'_> {
    /// All scores, in order.
    ///
    /// # Errors
    /// If the device fails, or [`Error::Interrupted`].
    pub(crate) fn score<L: LinearLayer, N: NormLayer>(
        &self,
        task: &str,
        model: &Gpt2<L, N>,
        blocks: &Blocks<'_>,
        windows: &[Window],
    ) -> Result<TokenScores, Error> {
        let total = windows.len();
        self.progress.begin(task, "windows", total as u64);
        let (start, mut all) = ((self.now)(), TokenScores::default());
        score_windows(model, blocks, windows, self.pace, |number, scores| {
            extend(&mut all, scores);
            let done = ((number + 1) * self.pace.batch).min(total) as u64;
            tell(self.progress, done, all.ln_p.len() as u64, (self.now)() - start)
        })?;
        self.progress.end();
        Ok(all)
    }
}

/// Mean loss of a token, in nats.
pub(crate) fn mean_nats(scores: &TokenScores) -> f64 {
    -scores.ln_p.iter().map(|&it| f64::from(it)).sum::<f64>() / scores.ln_p.len() as f64
}

/// Puts `more` behind what is there.
pub(crate) fn extend(all: &mut TokenScores, more: TokenScores) {
    all.ln_p.extend(more.ln_p);
    all.rank.extend(more.rank);
    all.entropy.extend(more.entropy);
}

/// Windows done so far, as a note beside the bar.
pub(crate) fn tell(
    progress: &dyn Progress,
    done: u64,
    tokens: u64,
    seconds: f64,
) -> Result<(), Error> {
    let rate = tokens as f64 / seconds.max(1e-9);
    match progress.update(done, &format!("{rate:.0} tokens/s")) {
        std::ops::ControlFlow::Continue(()) => Ok(()),
        std::ops::ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}
