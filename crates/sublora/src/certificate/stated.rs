//! What a certificate states of the configuration it was made with.

use bounds::Unit;

use super::scene::Draw;
use super::verify::top_k;
use super::{Certificate, claim_count, metrics, wanted};
use crate::Error;
use crate::config::{CertifyConfig, Scored};

impl Certificate {
    /// The first setting of `config` that this certificate was not made with, and both values; none if it
    /// was made with all of them and without claims of other predictors. `batch` and `shards` are not
    /// compared: no claim depends on them.
    ///
    /// # Errors
    /// A top-k of 0.
    pub(crate) fn difference_from(&self, config: &CertifyConfig) -> Result<Option<String>, Error> {
        let metrics = metrics(&config.top_k)?;
        let claims = claim_count(config.unit, &metrics);
        let (context, confidence) = (self.predictor.context, self.confidence);
        let mut ranks: Vec<u32> = Vec::new(); // as often as a certificate tells
        for &k in &config.top_k {
            if !ranks.contains(&k) {
                ranks.push(k);
            }
        }
        let settings = [
            (
                "certify.configurations",
                self.artifact.configurations.to_string(),
                config.configurations.to_string(),
            ),
            (
                "certify.failure_probability",
                confidence.failure_probability.to_string(),
                config.failure_probability.to_string(),
            ),
            (
                "certify.stride",
                self.predictor.stride.to_string(),
                config.stride_of(context).to_string(),
            ),
            (
                "document-level sample",
                self.sample(Unit::Document),
                self.wanted(Unit::Document, config),
            ),
            ("token-level sample", self.sample(Unit::Token), self.wanted(Unit::Token, config)),
            ("certify.top_k", format!("{:?}", top_k(self)), format!("{ranks:?}")),
            ("number of claims", confidence.claims.to_string(), claims.to_string()),
        ];
        let difference = settings.into_iter().find(|(_, stated, ours)| stated != ours);
        Ok(difference.map(|(key, stated, ours)| format!("`{key}` was {stated}, and is {ours} now")))
    }

    /// The sample of a level, in words.
    fn sample(&self, unit: Unit) -> String {
        let sample = match unit {
            Unit::Document => &self.documents,
            Unit::Token => &self.positions,
        };
        sample.as_ref().map_or_else(|| "none".to_owned(), |it| words(it.draw()))
    }

    /// The same, of the sample that `config` asks for.
    fn wanted(&self, unit: Unit, config: &CertifyConfig) -> String {
        let (size, units) = match unit {
            Unit::Document => (config.documents, self.corpus.documents),
            Unit::Token => (config.positions, self.corpus.tokens),
        };
        if !wanted(config.unit, unit) {
            return "none".to_owned();
        }
        words(Draw { seed: config.seed, size, scored: config.scored }.of(unit, units))
    }
}

/// For example `20 units, whole, of seed 0`.
fn words(Draw { seed, size, scored }: Draw) -> String {
    let size = size.map_or_else(|| "all".to_owned(), |size| size.to_string());
    let scored = match scored {
        Scored::Whole => "whole",
        Scored::Block => "a block each",
    };
    format!("{size} units, {scored}, of seed {seed}")
}
