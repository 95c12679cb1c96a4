//! Text from a model, a token at a time.

use burn::nn::LayerNorm;
use burn::tensor::{Int, Tensor, TensorData};
use corpus::Corpus;
use counter_rng::Key;
use gpt2_model::{Gpt2, LinearLayer, host};

use crate::Error;

/// Draws `count` tokens from `model` after a separator of `corpus` and `prompt`.
///
/// # Errors
/// If the device fails.
pub(crate) fn after_separator<L: LinearLayer>(
    model: &Gpt2<L, LayerNorm>,
    corpus: &Corpus,
    prompt: &[u32],
    count: usize,
    temperature: f64,
    seed: u64,
) -> Result<Vec<u32>, Error> {
    let mut tokens = vec![corpus.manifest().tokenizer.eot];
    tokens.extend(prompt);
    generate(model, &tokens, count, temperature, Key::from_seed(seed).derive("generate"))
}

/// The tokens after `prompt`, from the softmax of the logits over `temperature`; 0 takes the
/// likeliest. The context is the last tokens that fit the model.
///
/// # Errors
/// If the device fails.
fn generate<L: LinearLayer>(
    model: &Gpt2<L, LayerNorm>,
    prompt: &[u32],
    count: usize,
    temperature: f64,
    key: Key,
) -> Result<Vec<u32>, Error> {
    let (_, context) = model.limits();
    let device = model.wte.weight.device();
    let mut tokens = prompt.to_vec();
    let mut words = key.words(0);
    for _ in 0..count {
        let window = &tokens[tokens.len().saturating_sub(context)..];
        let ids: Vec<i64> = window.iter().map(|&token| i64::from(token)).collect();
        let x = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, window.len()]), &device);
        let hidden = model.hidden(x).narrow(1, window.len() - 1, 1).squeeze_dim::<2>(0);
        let products = model.head_factors(hidden).into_iter().map(|factor| match factor.weight {
            Some(weight) => factor.input.matmul(weight),
            None => factor.input,
        });
        let Some(logits) = products.reduce(|sum, term| sum + term) else { break };
        let logits: Vec<f64> = host(logits)?.iter::<f64>().collect();
        tokens.push(draw(&logits, temperature, words.uniform()));
    }
    Ok(tokens.split_off(prompt.len()))
}

/// The index whose share of the softmax holds `uniform`, in [0, 1).
#[expect(clippy::cast_possible_truncation, reason = "a vocabulary is below 2^24")]
fn draw(logits: &[f64], temperature: f64, uniform: f64) -> u32 {
    let (best, max) =
        logits.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, &logit)| {
            if logit > best.1 { (i, logit) } else { best }
        });
    if temperature == 0.0 {
        return best as u32;
    }
    let weights = logits.iter().map(|logit| ((logit - max) / temperature).exp());
    let mut rest = uniform * weights.clone().sum::<f64>();
    for (i, weight) in weights.enumerate() {
        rest -= weight;
        if rest < 0.0 {
            return i as u32;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0, 3_f64.ln(), f64::NEG_INFINITY]; // 1/4, 3/4, 0
        let drawn = [0.0, 0.2499, 0.2501, 0.9999].map(|uniform| draw(&logits, 1.0, uniform));
        assert_eq!(drawn, [0, 0, 1, 1]);
        assert_eq!(draw(&logits, 0.0, 0.1), 1);
    }
}
