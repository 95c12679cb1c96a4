//! What a split model is on held-out text, by how much of its outliers is added.

use std::collections::BTreeMap;

use corpus::Corpus;
use ortho_linear::Alpha;
use serde::Serialize;

use super::OrthoModel;
use crate::evaluate::{EvaluateConfig, ScoredText};
use crate::scoring::mean_nats;
use crate::{Error, Progress};

/// At which gains of the outliers, and on what.
pub struct OrthoEvaluation<'a> {
    /// Of all layers but those of `layers`, one evaluation each.
    pub alphas: Vec<Alpha>,
    /// Layers that have their own alpha in every evaluation, by their names in a checkpoint.
    pub layers: BTreeMap<String, Alpha>,
    /// Which of its held-out documents, in which windows.
    pub evaluate: EvaluateConfig,
    /// The text.
    pub corpus: &'a Corpus,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// A model at one alpha.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlphaRecord {
    /// Of the layers that have none of their own.
    pub alpha: f32,
    /// Of those that do.
    pub layers: BTreeMap<String, f32>,
    /// Longest window, in tokens.
    pub context: u64,
    /// Tokens by which windows slide.
    pub stride: u64,
    /// Held-out documents.
    pub documents: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Mean loss, in nats per token.
    pub nats_per_token: f64,
    /// Its exponential.
    pub perplexity: f64,
    /// How long scoring took.
    pub seconds: f64,
}

impl OrthoEvaluation<'_> {
    /// Scores the text at each stride and alpha, base and outliers as two streams. The model is left at the
    /// last alpha.
    ///
    /// # Errors
    /// A layer that the model does not have, a text that it cannot read, or if the device fails.
    pub fn run(&self, model: &OrthoModel) -> Result<Vec<AlphaRecord>, Error> {
        model.check(self.corpus)?;
        let texts = self.evaluate.texts(self.corpus, &model.shape, self.now, self.progress)?;
        let mut records = Vec::new();
        for text in &texts {
            for &alpha in &self.alphas {
                model.set_alpha(alpha, &self.layers)?;
                let began = (self.now)();
                let scores = text.score(&format!("alpha {}", alpha.get()), &model.model)?;
                let seconds = (self.now)() - began;
                let nats_per_token = mean_nats(&scores);
                let ScoredText { context, stride, documents, .. } = *text;
                records.push(AlphaRecord {
                    alpha: alpha.get(),
                    layers: self.layers.iter().map(|it| (it.0.clone(), it.1.get())).collect(),
                    context,
                    stride,
                    documents,
                    tokens: scores.ln_p.len() as u64,
                    nats_per_token,
                    perplexity: nats_per_token.exp(),
                    seconds,
                });
            }
        }
        Ok(records)
    }
}
