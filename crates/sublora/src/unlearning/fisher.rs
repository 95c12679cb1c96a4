//! Which weights the facts depend on, and text does not.
//!
//! # Definition
//! With the [Fisher information](crate::fisher) of the taught model,
//! $$ \frac{F^{\text{facts}}_{ij}}{F^{\text{text}}_{ij} + \overline{F^{\text{text}}}} $$
//! with the mean over the layer in the denominator, so that a weight which no text uses is not all that counts.
//!
//! # Reference
//! The ratio: J. Foster et al., *Selective Synaptic Dampening*, AAAI 2024, arXiv:2308.07707.

use gpt2_model::{PlainGpt2, cross_entropy};
use subspace_projectors::Layout;

use super::exam::Padded;
use super::facts::Sentence;
use crate::Error;
use crate::fisher::information;
use crate::train::Batch;

/// The ratio for every weight of `layout`, flat. `model` is on a device with gradients.
pub(super) fn ratio(
    model: &PlainGpt2,
    layout: &Layout,
    facts: &[Sentence],
    text: &[Batch],
) -> Result<Vec<f32>, Error> {
    let device = model.wte.weight.device();
    let of_fact = |fact: &Sentence| Ok(Padded::whole([fact].into_iter(), &device).loss(model));
    let of_text = |batch: &Batch| Ok(cross_entropy(&batch.factors(model), &batch.targets));
    let mut ratio = information(model, layout, facts.iter().map(of_fact))?;
    let text = information(model, layout, text.iter().map(of_text))?;
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
