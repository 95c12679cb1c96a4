//! Which weights the facts depend on, and text does not.
//!
//! # Definition
//! $F_{ij}$ is the mean over samples of the squared gradient of the loss of each. Of the taught model,
//! $$ \frac{F^{\text{facts}}_{ij}}{F^{\text{text}}_{ij} + \overline{F^{\text{text}}}} $$
//! with the mean over the layer in the denominator, so that a weight which no text uses is not all that counts.
//!
//! # Reference
//! The ratio: J. Foster et al., *Selective Synaptic Dampening*, AAAI 2024, arXiv:2308.07707.

use burn::optim::GradientsParams;
use gpt2_model::{PlainGpt2, cross_entropy};
use subspace_projectors::Layout;

use super::exam::Padded;
use super::facts::Sentence;
use crate::Error;
use crate::subspace::flat_gradient;
use crate::train::Batch;

/// The ratio for every weight of `layout`, flat. `model` is on a device with gradients.
pub(super) fn ratio(
    model: &PlainGpt2,
    layout: &Layout,
    facts: &[Sentence],
    text: &[Batch],
) -> Result<Vec<f32>, Error> {
    let device = model.wte.weight.device();
    let of_fact = |fact: &Sentence| {
        let Padded { tokens, rows, targets } = Padded::whole([fact].into_iter(), &device);
        let hidden = model.hidden(tokens);
        let [batch, seq, d_model] = hidden.dims();
        let hidden = hidden.reshape([batch * seq, d_model]).select(0, rows);
        cross_entropy(&model.head_factors(hidden), &targets)
    };
    let of_text = |batch: &Batch| cross_entropy(&batch.factors(model), &batch.targets);
    let mut ratio = mean_square(model, layout, facts.iter().map(of_fact))?;
    let text = mean_square(model, layout, text.iter().map(of_text))?;
    for tensor in layout.tensors() {
        let text = &text[tensor.range()];
        let mean = text.iter().sum::<f64>() / text.len() as f64;
        for (ratio, text) in ratio[tensor.range()].iter_mut().zip(text) {
            *ratio /= text + mean.max(f64::MIN_POSITIVE);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a score")]
    Ok(ratio.into_iter().map(|it| it as f32).collect())
}

/// Of the gradients of `losses`.
fn mean_square(
    model: &PlainGpt2,
    layout: &Layout,
    losses: impl ExactSizeIterator<Item = gpt2_model::Loss>,
) -> Result<Vec<f64>, Error> {
    let samples = losses.len() as f64;
    let mut sums = vec![0.0; layout.ambient()];
    for loss in losses {
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        for (sum, gradient) in sums.iter_mut().zip(flat_gradient(model, layout, &gradients)?) {
            *sum += f64::from(gradient).powi(2) / samples;
        }
    }
    Ok(sums)
}
