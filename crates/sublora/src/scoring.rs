//! Scores the windows of a certificate with a model, many at a time.

use std::ops::Range;

use burn::nn::LayerNorm;
use burn::tensor::{Int, Tensor, TensorData};
use gpt2_model::{Gpt2, LinearLayer, TokenScores, score};

use crate::blocks::Blocks;
use crate::{Error, Progress};

/// Scores `windows`, each a document's index and a block of it, in order; the scores of one follow
/// those of the one before. Every batch has the same shape, so that a window's scores do not depend
/// on its neighbours.
///
/// # Errors
/// If the device fails, or [`Error::Interrupted`].
pub(crate) fn score_windows<L: LinearLayer>(
    model: &Gpt2<L, LayerNorm>,
    blocks: &Blocks<'_>,
    windows: &[(u64, Range<u64>)],
    batch: usize,
    mut finished: impl FnMut(usize, TokenScores) -> Result<(), Error>,
) -> Result<(), Error> {
    let (_, context) = model.limits();
    let device = model.wte.weight.device();
    for (number, group) in windows.chunks(batch).enumerate() {
        let group: Vec<_> =
            group.iter().map(|(index, block)| blocks.window(*index, block)).collect();
        let (mut x, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch {
            let start = x.len();
            if let Some(window) = group.get(row) {
                let inputs = &window.tokens[..window.tokens.len() - 1];
                x.extend(inputs.iter().map(|&token| i64::from(token)));
                rows.extend(
                    window.scored.clone().map(|i| i64::try_from(start + i).unwrap_or(i64::MAX)),
                );
                targets.extend(window.scored.clone().map(|i| i64::from(window.tokens[i + 1])));
            }
            x.resize(start + context, 0); // causal: what follows a window does not reach it
        }
        let x = Tensor::<2, Int>::from_data(TensorData::new(x, [batch, context]), &device);
        let hidden = model.hidden(x);
        let [_, _, d_model] = hidden.dims();
        let count = rows.len();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
        let hidden = hidden.reshape([batch * context, d_model]).select(0, rows);
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &device);
        finished(number, score(&model.head_factors(hidden), &targets)?)?;
    }
    Ok(())
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
