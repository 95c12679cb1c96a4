//! From text to a verified certificate in one go, and what simpler predictors certify on the same
//! text.

use std::num::NonZeroU64;
use std::path::PathBuf;

use bounds::Unit;
use burn::tensor::Device;
use corpus::{
    AnyTokenizer, BadDocuments, BuildConfig, Corpus, IfExists, NearDuplicates, Source, Split,
};
use rayon::prelude::*;

use crate::artifact::{Artifact, CodeLength};
use crate::baselines::{DecodeError, Fit, PairCounts, Tabulated, Uniform};
use crate::certificate::{
    Certificate, Claim, MetricName, Model, Rival, Simple, Verification, rival_claims, verify,
};
use crate::config::RunConfig;
use crate::held_out::{HeldOut, HeldOutText};
use crate::run::Run;
use crate::{Error, Progress};

/// Blocks scored of each held-out document.
const HELD_OUT_DRAWS: u64 = 8;

/// The same file that users start from.
const CONFIG: &str = include_str!("../../../configs/quickstart.toml");

/// The embedded demonstration.
pub struct Quickstart<'a> {
    /// Folder for everything.
    pub out: PathBuf,
    /// The text; not read if `out` holds a corpus already.
    pub sources: Vec<Source>,
    /// What it runs: [`quickstart_config`].
    pub config: RunConfig,
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
    /// `sublora`, `base alone`, `uniform`, `unigram`, `bigram`, or `bigram of the prior part`.
    pub predictor: String,
    /// $K$, paid for by every bound of the row.
    pub code_length: u64,
    /// What it does on held-out documents.
    pub held_out: Option<HeldOut>,
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
    /// The model, then what it is compared with.
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
    /// Builds the corpus, trains, compresses, certifies, verifies, and does the same for what the
    /// model is compared with. Goes on with what an interrupted call left in the folder.
    ///
    /// # Errors
    /// What failed; a verification that refutes is an error here.
    pub fn run(&self) -> Result<Report, Error> {
        let corpus_path = self.out.join("corpus");
        std::fs::create_dir_all(&self.out).map_err(crate::FileError::at("create", &self.out))?;
        let corpus = if corpus_path.exists() {
            Corpus::open(&corpus_path)?
        } else {
            let build = BuildConfig {
                tokenizer: AnyTokenizer::Byte(corpus::Byte::default()),
                val_fraction: 0.02,
                bad_documents: BadDocuments::Skip,
                near_duplicates: Some(NearDuplicates::default()),
                ..BuildConfig::default()
            };
            build.build(&self.sources, &corpus_path, IfExists::Refuse, self.corpus_progress)?
        };
        let run = Run {
            folder: self.out.join("run"),
            config: self.config.clone(),
            corpus: &corpus,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            now: self.now,
            progress: self.progress,
        };
        run.train(run.folder.exists())?;
        let artifact = run.compress(true)?;
        let rivals = rivals(&run, &artifact)?;
        let certificate = run.certify(rivals.len() as u64 * run.claim_count()?)?;
        match verify(&run.certificate_path(), None, None, self.now, self.progress)? {
            Verification::Confirmed { .. } => {}
            Verification::Refuted(reason) => return Err(Error::Mismatch(reason)),
        }
        let models = NonZeroU64::new(certificate.artifact.configurations);
        let models = models.unwrap_or(NonZeroU64::MIN);
        let subject = Model {
            name: "sublora",
            code_length: certificate.artifact.code_length,
            models,
            weights: run.rebuild(&artifact)?,
            scorer: run.scorer(),
        };
        let text = run.held_out_text(&subject.weights, Split::Val, NonZeroU64::new(HELD_OUT_DRAWS));
        let row = |rival: &dyn Rival, claims: &[Claim]| -> Result<Row, Error> {
            let measure = |text: &HeldOutText<'_>| {
                run.measure(text, &rival.score(&text.blocks, &text.windows)?)
            };
            let held_out = text.as_ref().map(measure).transpose()?;
            Ok(Row::new(rival, held_out, claims))
        };
        let mut rows = vec![row(&subject, &certificate.bounds)?];
        for rival in &rivals {
            let claims = rival_claims(rival.as_ref(), &corpus, &certificate)?;
            rows.push(row(rival.as_ref(), &claims)?);
        }
        Ok(Report {
            rows,
            certificate,
            certificate_path: run.certificate_path(),
            artifact_path: run.artifact_path(),
            corpus_path,
        })
    }
}

impl Row {
    fn new(rival: &dyn Rival, held_out: Option<HeldOut>, claims: &[Claim]) -> Self {
        let least = |unit, metric, k| {
            let claims = claims.iter().filter(|it| (it.unit, it.metric, it.k) == (unit, metric, k));
            claims.map(|it| it.bound).min_by(f64::total_cmp)
        };
        Self {
            predictor: rival.name().to_owned(),
            code_length: rival.code_length(),
            held_out,
            token: least(Unit::Token, MetricName::BitsPerToken, None),
            document: least(Unit::Document, MetricName::BitsPerToken, None),
            top_1_error: least(Unit::Token, MetricName::TopKError, Some(1)),
        }
    }
}

/// The base alone, uniform, unigram and bigram with their codes paid, and a bigram that owes nothing
/// to the certified text, as the base does.
fn rivals<'a>(run: &Run<'a>, artifact: &Artifact) -> Result<Vec<Box<dyn Rival + 'a>>, Error> {
    let file = run.corpus.split(Split::Train);
    let vocab = file.vocab_size();
    let counts = |documents: &[u64]| {
        let scored = documents.par_iter().filter_map(|&document| file.scored(document));
        PairCounts::of(vocab, scored).map_err(|error| Error::Mismatch(error.to_string()))
    };
    let unfit = |error: DecodeError| Error::Mismatch(error.to_string());
    let bigram = |counts| Tabulated::bigram(counts, Fit::freedman).map_err(unfit);

    let mut rivals: Vec<Box<dyn Rival + 'a>> = Vec::new();
    let prior = run.prior().map(|it| it.documents(file.documents())).transpose()?;
    if prior.is_some() {
        let weights = run.rebuild(&artifact.without_coordinates()?)?;
        // Its settings were chosen as those of the whole run were.
        let configurations = run.config.certify.configurations;
        rivals.push(Box::new(Model {
            name: "base alone",
            code_length: CodeLength::of(artifact, configurations)?.configuration,
            models: NonZeroU64::new(configurations).unwrap_or(NonZeroU64::MIN),
            weights,
            scorer: run.scorer(),
        }));
    }
    let certified = counts(&run.certified_documents()?)?;
    let unigram = Tabulated::unigram(&certified, Fit::freedman).map_err(unfit)?;
    rivals.push(Box::new(Simple::fitted(Uniform::new(vocab), vocab)));
    rivals.push(Box::new(Simple::fitted(unigram, vocab)));
    rivals.push(Box::new(Simple::fitted(bigram(&certified)?, vocab)));
    if let Some(parts) = prior {
        let predictor = Box::new(bigram(&counts(&parts.prior)?)?);
        let name = "bigram of the prior part".to_owned();
        rivals.push(Box::new(Simple { name, known: true, predictor, vocab }));
    }
    Ok(rivals)
}

/// The embedded configuration, with a base pretrained on a part of the text or a random one.
///
/// # Errors
/// None: `configs/quickstart.toml` is tested.
pub fn quickstart_config(pretrained: bool) -> Result<RunConfig, Error> {
    // Adapters alone have to do what a pretrained base brings.
    let random = [
        r#"base={ kind = "random" }"#,
        "sublora.intrinsic_dim=2000",
        r#"compress={ levels = 21, codebook = { kind = "entropy-constrained", lambda = 0.02 } }"#,
        "train.steps=500",
        "train.learning_rate.peak=2e-2",
        "train.learning_rate.warm_up=25",
    ];
    let overrides = if pretrained { &[] } else { &random[..] };
    RunConfig::parse(CONFIG, &overrides.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use corpus::NamedText;

    use super::*;
    use crate::config::BaseConfig;
    use crate::fixture;

    #[test]
    fn the_embedded_configuration_has_both_forms() {
        let pretrained = quickstart_config(true).unwrap();
        assert!(matches!(pretrained.base, BaseConfig::PriorSplit { .. }));
        let random = quickstart_config(false).unwrap();
        assert_eq!((&random.base, random.train.steps), (&BaseConfig::Random {}, 500));
        assert!(pretrained.sublora.is_some() && pretrained.lora.is_some());
    }

    /// The embedded configuration, small enough for a second.
    fn small(pretrained: bool) -> RunConfig {
        let mut config = quickstart_config(pretrained).unwrap();
        let train = crate::config::TrainConfig { steps: 2, batch: 2, seq: 16, ..config.train };
        if let BaseConfig::PriorSplit { fraction, .. } = config.base {
            let steps = crate::config::TrainConfig { steps: 20, ..train.clone() };
            config.base = BaseConfig::PriorSplit { fraction, train: Box::new(steps) };
        }
        config.train = train;
        config.model.size = "tiny".to_owned();
        config.model.n_positions = 16;
        (config.certify.documents, config.certify.positions) = (Some(30), Some(20));
        config
    }

    fn report(out: PathBuf, config: RunConfig) -> Report {
        let texts = fixture::prose(150, 30).into_iter().enumerate();
        let texts = texts.map(|(i, text)| NamedText { name: i.to_string(), text });
        let quickstart = Quickstart {
            out,
            sources: vec![Source::Texts(texts.collect())],
            config,
            device: Device::default(),
            device_name: "test".to_owned(),
            now: &|| 0.0,
            progress: &(),
            corpus_progress: &(),
        };
        quickstart.run().unwrap()
    }

    #[test]
    fn every_predictor_is_measured_certified_and_paid() {
        let dir = tempfile::tempdir().unwrap();
        for pretrained in [true, false] {
            let out = dir.path().join(pretrained.to_string());
            let found = report(out.clone(), small(pretrained));
            let rows: Vec<&str> = found.rows.iter().map(|row| row.predictor.as_str()).collect();
            let simple = ["uniform", "unigram", "bigram"];
            let expected = if pretrained {
                [&["sublora", "base alone"], &simple[..], &["bigram of the prior part"]].concat()
            } else {
                [&["sublora"], &simple[..]].concat()
            };
            assert_eq!(rows, expected);
            // Two metrics: four bounds of documents each, three and two of tokens, all predictors.
            assert_eq!(found.certificate.confidence.claims, 13 * rows.len() as u64);
            assert_eq!(found.certificate.bounds.len(), 13);
            for row in &found.rows {
                let known = ["base alone", "uniform", "bigram of the prior part"];
                assert_eq!(
                    row.code_length <= 6,
                    known.contains(&row.predictor.as_str()),
                    "{row:?}"
                );
                let held_out = row.held_out.unwrap();
                assert!(held_out.bits_per_token <= 8.1, "{row:?}");
                assert!(row.token.unwrap() > held_out.bits_per_token / 2.0, "{row:?}");
                assert!(row.document.is_some() && row.top_1_error.is_some());
            }
            let uniform = found.rows.iter().find(|row| row.predictor == "uniform").unwrap();
            // log2(257), of every token alike.
            assert!((uniform.held_out.unwrap().bits_per_token - 8.005_625).abs() < 1e-5);
            assert_eq!(report(out, small(pretrained)), found, "nothing is left to do");
        }
    }
}
