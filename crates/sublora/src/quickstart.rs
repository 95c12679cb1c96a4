//! From text to a verified certificate in one go, and what simpler predictors certify on the same
//! text.

use std::path::PathBuf;

use bounds::Unit;
use burn::tensor::Device;
use corpus::{AnyTokenizer, BadDocuments, BuildConfig, Corpus, IfExists, Source, Split};
use rayon::prelude::*;

use crate::baselines::{PairCounts, Predictor, Tabulated, Uniform};
use crate::certificate::{Certificate, Claim, MetricName, Verification, baseline_claims, verify};
use crate::config::RunConfig;
use crate::run::Run;
use crate::{Error, Progress};

/// The same file that users start from.
const CONFIG: &str = include_str!("../../../configs/quickstart.toml");

/// The embedded demonstration.
pub struct Quickstart<'a> {
    /// Folder for everything; must not exist.
    pub out: PathBuf,
    /// The text.
    pub sources: Vec<Source>,
    /// A base pretrained on a part of the text that is not certified, or a random one.
    pub pretrained: bool,
    /// Where it computes, without autodiff.
    pub device: Device,
    /// Its name, for the record.
    pub device_name: String,
    /// The clock, in seconds.
    pub now: &'a (dyn Fn() -> f64 + Sync),
    /// Who listens.
    pub progress: &'a (dyn Progress + 'a),
    /// Who listens to the corpus being built.
    pub corpus_progress: &'a dyn corpus::Progress,
}

/// One predictor's line in the table.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// `sublora`, `uniform`, `unigram` or `bigram`.
    pub predictor: String,
    /// $K$, paid for by every bound of the row.
    pub code_length: u64,
    /// Least certified bits per token for new next tokens on the training contexts.
    pub token: Option<f64>,
    /// Least certified bits per token for new documents.
    pub document: Option<f64>,
    /// Least certified top-1 error at the token level.
    pub top_1_error: Option<f64>,
}

/// What the demonstration found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Mean held-out loss of the compressed model, in bits per token; no bound.
    pub held_out: Option<f64>,
    /// The model, then the simpler predictors.
    pub rows: Vec<Row>,
    /// The certificate of the first row.
    pub certificate: Certificate,
    /// Where that lies.
    pub certificate_path: PathBuf,
    /// The compressed model.
    pub artifact_path: PathBuf,
    /// The token files.
    pub corpus_path: PathBuf,
}

impl Quickstart<'_> {
    /// Builds the corpus, trains, compresses, certifies, verifies.
    ///
    /// # Errors
    /// What failed; a verification that refutes is an error here.
    pub fn run(&self) -> Result<Report, Error> {
        let corpus_path = self.out.join("corpus");
        std::fs::create_dir_all(&self.out).map_err(crate::FileError::at("create", &self.out))?;
        let build = BuildConfig {
            tokenizer: AnyTokenizer::Byte(corpus::Byte::default()),
            val_fraction: 0.02,
            bad_documents: BadDocuments::Skip,
            ..BuildConfig::default()
        };
        let corpus =
            build.build(&self.sources, &corpus_path, IfExists::Refuse, self.corpus_progress)?;
        let run = Run {
            folder: self.out.join("run"),
            config: quickstart_config(self.pretrained)?,
            corpus: &corpus,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            now: self.now,
            progress: self.progress,
        };
        run.train(false)?;
        let artifact = run.compress(false)?;
        let baselines = baselines(&corpus, &run)?;
        let other_claims = baselines.len() as u64 * run.claim_count()?;
        let certificate = run.certify(other_claims)?;
        match verify(&run.certificate_path(), None, self.now, self.progress)? {
            Verification::Confirmed { .. } => {}
            Verification::Refuted(reason) => return Err(Error::Mismatch(reason)),
        }
        let mut rows = vec![row("sublora", certificate.artifact.code_length, &certificate.bounds)];
        for predictor in &baselines {
            let claims = baseline_claims(predictor.as_ref(), &corpus, &certificate)?;
            rows.push(row(predictor.name(), 8 * predictor.encoded().len() as u64, &claims));
        }
        Ok(Report {
            held_out: run.held_out(&artifact)?,
            rows,
            certificate,
            certificate_path: run.certificate_path(),
            artifact_path: run.artifact_path(),
            corpus_path,
        })
    }
}

fn row(predictor: &str, code_length: u64, claims: &[Claim]) -> Row {
    let least = |unit, metric, k| {
        let claims = claims.iter().filter(|it| (it.unit, it.metric, it.k) == (unit, metric, k));
        claims.map(|it| it.bound).min_by(f64::total_cmp)
    };
    Row {
        predictor: predictor.to_owned(),
        code_length,
        token: least(Unit::Token, MetricName::BitsPerToken, None),
        document: least(Unit::Document, MetricName::BitsPerToken, None),
        top_1_error: least(Unit::Token, MetricName::TopKError, Some(1)),
    }
}

/// Uniform, unigram and bigram, fitted to the certified documents and coded.
fn baselines(corpus: &Corpus, run: &Run<'_>) -> Result<Vec<Box<dyn Predictor>>, Error> {
    let file = corpus.split(Split::Train);
    let documents = run.certified_documents()?;
    let vocab = file.vocab_size();
    let scored = documents.par_iter().filter_map(|&document| file.scored(document));
    let unfit = |error: &dyn std::fmt::Display| Error::Mismatch(error.to_string());
    let counts = PairCounts::of(vocab, scored).map_err(|error| unfit(&error))?;
    let unigram = Tabulated::unigram(&counts, crate::baselines::Fit::freedman);
    let bigram = Tabulated::bigram(&counts, crate::baselines::Fit::freedman);
    Ok(vec![
        Box::new(Uniform::new(vocab)),
        Box::new(unigram.map_err(|error| unfit(&error))?),
        Box::new(bigram.map_err(|error| unfit(&error))?),
    ])
}

/// The embedded configuration, with a base pretrained on a part of the text or a random one.
///
/// # Errors
/// None: `configs/quickstart.toml` is tested.
pub fn quickstart_config(pretrained: bool) -> Result<RunConfig, Error> {
    // Adapters alone have to do what a pretrained base brings.
    let random = [
        r#"base={ kind = "random" }"#,
        "train.steps=500",
        "train.learning_rate.peak=2e-2",
        "train.learning_rate.warm_up=25",
    ];
    let overrides = if pretrained { &[] } else { &random[..] };
    RunConfig::parse(CONFIG, &overrides.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseConfig;

    #[test]
    fn the_embedded_configuration_has_both_forms() {
        let pretrained = quickstart_config(true).unwrap();
        assert!(matches!(pretrained.base, BaseConfig::PriorSplit { .. }));
        let random = quickstart_config(false).unwrap();
        assert_eq!((&random.base, random.train.steps), (&BaseConfig::Random, 500));
        assert!(pretrained.sublora.is_some() && pretrained.lora.is_some());
    }
}
