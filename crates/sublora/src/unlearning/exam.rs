//! What a model knows: losses on values of facts, and on held-out text.

use burn::tensor::{Device, Int, Tensor, TensorData};
use corpus::{Corpus, Split, TokenFile, WindowSampler};
use counter_rng::Key;
use gpt2_model::{
    Factor, Gpt2, LinearLayer, Loss, NormLayer, PlainGpt2, TokenScores, cross_entropy, score,
};

use super::facts::{Facts, Sentence};
use super::record::Measures;
use crate::Error;
use crate::blocks::Blocks;
use crate::scoring::{Pace, Window, extend, mean_nats, score_windows};
use crate::side_by_side::side_by_side;

/// Sentences that are computed at a time.
const SENTENCES: usize = 32;
/// Batches that are computed side by side.
const SIDE_BY_SIDE: usize = 2;
/// Windows of held-out text that are computed at a time.
const WINDOWS: usize = 8;

/// Sentences side by side, padded at their end: attention is causal, so that no padding reaches a
/// prediction.
pub(super) struct Padded {
    /// `[sentences, longest]`.
    pub(super) tokens: Tensor<2, Int>,
    /// Rows of the flattened hidden states that predict, `[predictions]`.
    rows: Tensor<1, Int>,
    /// What they predict, outside any graph, `[predictions]`.
    pub(super) targets: Tensor<1, Int>,
}

impl Padded {
    /// Every token is predicted.
    pub(super) fn whole<'a>(
        sentences: impl Iterator<Item = &'a Sentence>,
        device: &Device,
    ) -> Self {
        Self::of(sentences.map(|it| (it, 1..it.tokens.len())), device)
    }

    /// The values are predicted.
    fn values<'a>(sentences: impl Iterator<Item = &'a Sentence>, device: &Device) -> Self {
        Self::of(sentences.map(|it| (it, it.value.clone())), device)
    }

    /// The logits of `model` where it predicts, `[predictions, vocab]`, as a sum of products.
    fn factors<L: LinearLayer, N: NormLayer>(&self, model: &Gpt2<L, N>) -> Vec<Factor> {
        let hidden = model.hidden(self.tokens.clone());
        let [batch, seq, d_model] = hidden.dims();
        let hidden = hidden.reshape([batch * seq, d_model]);
        model.head_factors(hidden.select(0, self.rows.clone()))
    }

    /// The mean loss of the predictions of `model`.
    pub(super) fn loss<L: LinearLayer, N: NormLayer>(&self, model: &Gpt2<L, N>) -> Loss {
        cross_entropy(&self.factors(model), &self.targets)
    }

    fn of<'a>(
        sentences: impl Iterator<Item = (&'a Sentence, std::ops::Range<usize>)>,
        device: &Device,
    ) -> Self {
        let sentences: Vec<_> = sentences.collect();
        let longest = sentences.iter().map(|(it, _)| it.tokens.len() - 1).max().unwrap_or(0);
        let (mut tokens, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (sentence, predicted) in &sentences {
            let start = tokens.len();
            let inputs = &sentence.tokens[..sentence.tokens.len() - 1];
            tokens.extend(inputs.iter().map(|&it| i64::from(it)));
            tokens.resize(start + longest, 0);
            rows.extend(
                predicted.clone().map(|it| i64::try_from(start + it - 1).unwrap_or(i64::MAX)),
            );
            targets.extend(predicted.clone().map(|it| i64::from(sentence.tokens[it])));
        }
        let (shape, count) = ([sentences.len(), longest], rows.len());
        Self {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            rows: Tensor::from_data(TensorData::new(rows, [count]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), &device.clone().inner()),
        }
    }
}

/// What is known of the values of facts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// Mean loss of their tokens, in nats.
    pub(super) nats: f64,
    /// Share of values all of whose tokens are the likeliest, each after the true ones.
    pub(super) recall: f64,
}

/// How well `model` knows the values of `sentences`, of which there is at least one.
///
/// # Errors
/// If the device fails, or a model whose logits are no numbers.
pub(super) fn value_nats<L: LinearLayer, N: NormLayer>(
    model: &Gpt2<L, N>,
    sentences: &[Sentence],
) -> Result<Known, Error> {
    let device = model.wte.weight.device();
    let parts: Vec<&[Sentence]> = sentences.chunks(SENTENCES).collect();
    let mut scores = TokenScores::default();
    for parts in parts.chunks(SIDE_BY_SIDE) {
        let models = vec![model.clone(); parts.len()];
        let scored = side_by_side(models, |place, model| -> Result<_, Error> {
            let padded = Padded::values(parts[place].iter(), &device);
            Ok(score(&padded.factors(&model), &padded.targets)?)
        });
        for part in scored {
            extend(&mut scores, part?);
        }
    }
    let mut ranks = scores.rank.iter();
    let mut is_known =
        |it: &&Sentence| ranks.by_ref().take(it.value.len()).filter(|&&rank| rank > 0).count() == 0;
    let known = sentences.iter().filter(|it| is_known(it)).count();
    Ok(Known { nats: mean_nats(&scores), recall: known as f64 / sentences.len() as f64 })
}

/// What a part of the held-out documents is for: text that chose a checkpoint says too much good of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Losses on text that are reported: every other document, beginning with the first.
    Exam,
    /// Which step of a training is the best: the documents between.
    Checkpoints,
}

impl Purpose {
    /// Numbers in `file`.
    pub(super) fn documents(self, file: &TokenFile) -> Vec<u64> {
        let first = u64::from(self == Self::Checkpoints);
        (first..file.documents().len()).step_by(2).collect()
    }
}

/// Windows of `length` tokens of [`Purpose::Checkpoints`].
///
/// # Errors
/// Too little text.
pub(super) fn checkpoint_windows(
    corpus: &Corpus,
    length: usize,
    seed: u64,
) -> Result<WindowSampler<'_>, Error> {
    let file = corpus.split(Split::Val);
    WindowSampler::over(file, &Purpose::Checkpoints.documents(file), length, seed).map_err(
        |error| {
            let which =
                "every other held-out document, on which the best step of a training is chosen";
            Error::Mismatch(format!("{which}: {error}"))
        },
    )
}

fn predictions(windows: &[Window]) -> u64 {
    windows.iter().map(|(_, block)| block.end - block.start).sum()
}

/// Everything that a model is asked.
pub(super) struct Exam<'a> {
    facts: &'a Facts,
    blocks: Blocks<'a>,
    windows: Vec<Window>,
}

impl<'a> Exam<'a> {
    /// On `facts`, and on windows at even distances over the [`Purpose::Exam`] of the validation split, the
    /// fewest that have at least `tokens` predictions together. The first of them is drawn from `seed`, so that
    /// the spread over seeds is one of text, too.
    ///
    /// # Errors
    /// A split with fewer.
    pub(super) fn new(
        facts: &'a Facts,
        corpus: &'a Corpus,
        tokens: u64,
        context: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let file: &TokenFile = corpus.split(Split::Val);
        let blocks = Blocks::new(file, Purpose::Exam.documents(file), context, context);
        if blocks.predictions() < tokens {
            let most = blocks.predictions();
            let expected = format!("at most {most}, the tokens of half of the held-out documents");
            return Err(Error::value("retain_tokens", &tokens, &expected));
        }
        let of = |document| blocks.of_document(document).map(move |block| (document, block));
        let all: Vec<Window> = (0..blocks.documents()).flat_map(of).collect();
        let most = usize::try_from(blocks.predictions() / tokens).unwrap_or(usize::MAX);
        let place = Key::from_seed(seed).derive("exam").words(0).uniform();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below it")]
        let every = |stride: usize| -> Vec<Window> {
            let first = (place * stride as f64) as usize;
            all.iter().skip(first).step_by(stride).cloned().collect()
        };
        let is_enough = |it: &Vec<Window>| predictions(it) >= tokens;
        let windows = (1..=most).rev().map(every).find(is_enough).unwrap_or_default();
        Ok(Self { facts, blocks, windows })
    }

    /// Held-out tokens that are predicted.
    pub(super) fn retain_tokens(&self) -> u64 {
        predictions(&self.windows)
    }

    /// What `model` answers.
    ///
    /// # Errors
    /// If the device fails, or a model whose logits are no numbers.
    pub(super) fn take(&self, model: &PlainGpt2) -> Result<Measures, Error> {
        let forget = value_nats(model, &self.facts.statements)?;
        let paraphrase = value_nats(model, &self.facts.paraphrases)?;
        let mut scores = TokenScores::default();
        let pace = Pace { batch: WINDOWS, shards: SIDE_BY_SIDE };
        score_windows(model, &self.blocks, &self.windows, pace, |_, part| {
            extend(&mut scores, part);
            Ok(())
        })?;
        Ok(Measures {
            forget_nats: forget.nats,
            recall: forget.recall,
            paraphrase_nats: paraphrase.nats,
            paraphrase_recall: paraphrase.recall,
            retain_nats: mean_nats(&scores),
        })
    }
}
