//! Certificates that a stranger wrote, with the right hashes.

use std::num::NonZeroU64;
use std::path::PathBuf;

use bounds::{Bits, Unit};
use burn::tensor::Device;
use corpus::Corpus;

use super::evidence::Terms;
use super::scene::Scene;
use super::scores::ScoreFile;
use super::*;
use crate::{Run, RunConfig, fixture};

/// Document level and no top-k error: ranks and entropies are in the score file, and no claim uses
/// them.
const CONFIG: &str = r#"
model = { size = "tiny", n_layer = 1, n_embd = 16, n_positions = 16 }
lora = { rank = 2 }
sublora = { intrinsic_dim = 16 }
train = { steps = 1, batch = 2, seq = 16, eval_batches = 1 }
certify = { unit = "document", documents = "all", top_k = [] }
"#;

/// The folder, the certificate's path and the certificate.
fn certified() -> (tempfile::TempDir, PathBuf, Certificate) {
    certified_with(&[])
}

fn certified_with(overrides: &[&str]) -> (tempfile::TempDir, PathBuf, Certificate) {
    let dir = tempfile::tempdir().unwrap();
    let corpus = fixture::corpus(&dir.path().join("corpus"), &fixture::prose(10, 20), 0.0);
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    let run = Run {
        folder: dir.path().join("run"),
        config: RunConfig::parse(CONFIG, &overrides).unwrap(),
        corpus: &corpus,
        device: Device::default(),
        device_name: "flex".to_owned(),
        now: &|| 0.0,
        progress: &(),
    };
    run.train(false).unwrap();
    run.compress(false).unwrap();
    let certificate = run.certify(0).unwrap();
    (dir, run.certificate_path(), certificate)
}

/// What a plain and a full verification say; none is confirmed.
fn verdicts(path: &Path) -> [Option<String>; 2] {
    let device = Device::default();
    [None, Some(&device)].map(|device| match verify(path, None, device, &|| 0.0, &()).unwrap() {
        Verification::Confirmed { .. } => None,
        Verification::Refuted(reason) => Some(reason),
    })
}

/// The claims that follow from `scores`.
fn restated(path: &Path, certificate: &Certificate, scores: &ScoreFile) -> Vec<Claim> {
    let corpus = Corpus::open(path.parent().unwrap().join(&certificate.corpus.path)).unwrap();
    let Certificate { corpus: record, predictor, artifact, confidence, .. } = certificate;
    let scene = Scene::new(&corpus, record.prior, predictor).unwrap();
    let frozen = scene.frozen(&artifact.file.sha256, &record.sha256);
    let sample = certificate.documents.as_ref().unwrap();
    let drawn = scene.draw(Unit::Document, sample.draw(), &frozen).unwrap();
    let terms = Terms {
        vocab: record.tokenizer.vocab_size,
        code_length: Bits::whole(artifact.code_length),
        models: NonZeroU64::MIN,
        failure: confidence.failure_probability / confidence.claims as f64,
    };
    scene.claims(scores, &[Some(drawn), None], &[bounds::Metric::BitsPerToken], terms).unwrap()
}

type Change = fn(&mut gpt2_model::TokenScores);

#[test]
fn a_full_verification_looks_at_every_score() {
    let (_dir, path, certificate) = certified();
    assert_eq!(verdicts(&path), [None, None]);
    let scores_path = path.with_file_name("scores.safetensors");
    let honest = std::fs::read(&scores_path).unwrap();
    let changes: [(Change, &str); 4] = [
        (|it| it.rank.iter_mut().for_each(|rank| *rank ^= 1), "have another rank than in"),
        (|it| it.entropy[7] += 0.1, "a token's entropy differs by 0."),
        (|it| it.entropy[7] = f32::MAX, "a token's entropy differs by"),
        (|it| it.ln_p.iter_mut().for_each(|ln_p| *ln_p = (*ln_p + 1e-3).min(0.0)), "bound on"),
    ];
    for (change, reason) in changes {
        let mut scores = ScoreFile::from_bytes(&honest, &scores_path).unwrap();
        change(scores.documents.as_mut().unwrap());
        let bytes = scores.to_bytes(&scores_path).unwrap();
        std::fs::write(&scores_path, &bytes).unwrap();
        let mut forged = certificate.clone();
        forged.scores.sha256 = Sha256Hash::of(&[&bytes]);
        forged.bounds = restated(&path, &forged, &scores);
        forged.with_hash().write(&path).unwrap();
        let [plain, full] = verdicts(&path);
        assert_eq!(plain, None, "{reason}");
        assert!(full.as_ref().is_some_and(|it| it.contains(reason)), "{full:?}");
    }
}

#[test]
fn a_certificate_is_about_the_text_of_the_training_without_the_prior_part() {
    let (_dir, path, certificate) = certified();
    let refuted = |forged: Certificate, reason: &str| {
        forged.with_hash().write(&path).unwrap();
        let [plain, _] = verdicts(&path);
        assert!(plain.as_ref().is_some_and(|it| it.contains(reason)), "{plain:?}");
    };
    let mut forged = certificate.clone();
    forged.corpus.prior = Some(Partition { fraction: 0.5, seed: 0 });
    refuted(forged, "the prior part is stated as Some");
    let artifact_path = path.with_file_name("model.sublora");
    let mut artifact = crate::Artifact::read(&artifact_path).unwrap();
    artifact.spec.corpus = Sha256Hash::of(&[b"another text"]);
    artifact.write(&artifact_path).unwrap();
    let mut forged = certificate;
    forged.artifact.file.sha256 = Sha256Hash::of(&[&std::fs::read(&artifact_path).unwrap()]);
    refuted(forged, "the text of the training is stated as");
}

#[test]
fn a_forged_number_is_refuted() {
    let (_dir, path, certificate) = certified();
    let changes: [fn(&mut Certificate); 16] = [
        |it| it.artifact.bits.symbols -= 8,
        |it| it.artifact.code_length -= 8,
        |it| it.artifact.configurations = 2,
        |it| it.corpus.documents += 1,
        |it| it.corpus.tokens += 1,
        |it| it.corpus.effective_documents = Some(3),
        |it| it.corpus.tokenizer.vocab_size += 1,
        |it| it.corpus.prior = Some(Partition { fraction: 0.5, seed: 0 }),
        |it| it.predictor.context = 8,
        |it| it.predictor.stride = 0,
        |it| it.confidence.failure_probability = 0.5,
        |it| it.confidence.claims = 0,
        |it| it.documents = None,
        |it| it.documents.as_mut().unwrap().size = Some(5),
        |it| it.bounds[0].bound -= 1e-3,
        |it| it.bounds.truncate(1),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut forged = certificate.clone();
        change(&mut forged);
        forged.with_hash().write(&path).unwrap();
        let [plain, _] = verdicts(&path);
        assert!(plain.is_some(), "change {number}");
    }
    // Nothing depends on how many windows were scored at a time.
    for batch in [0, usize::MAX] {
        let mut forged = certificate.clone();
        forged.predictor.batch = batch;
        forged.with_hash().write(&path).unwrap();
        assert_eq!(verdicts(&path), [None, None]);
    }
}

#[test]
fn a_choice_among_runs_is_paid_for_twice() {
    let (_dir, _, certificate) = certified_with(&["certify.documents=5"]);
    let (_dir, _, chosen) = certified_with(&["certify.documents=5", "certify.configurations=1024"]);
    assert_eq!(chosen.artifact.code_length, certificate.artifact.code_length + 10);
    let strict = |it: &Certificate| it.bounds[0].sampling_term;
    // Hoeffding: the square of the term rises by Delta^2 ln(1024)/(2 * 5); the weight may be another.
    assert!(strict(&chosen) > strict(&certificate) + 0.5, "{chosen:?}");
}

#[test]
fn a_sample_of_one_makes_the_claims_it_can() {
    let (_dir, path, certificate) = certified_with(&["certify.documents=1"]);
    let names: Vec<&str> = certificate.bounds.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["strict", "kl-inverse"]); // the others need a variance
    assert_eq!(verdicts(&path), [None, None]);
}

#[test]
fn the_price_of_a_choice_is_the_difference_to_a_certificate_without_it() {
    let (dir, path, certificate) = certified();
    let corpus = Corpus::open(dir.path().join("corpus")).unwrap();
    let among = |runs| claims_among(&path, &corpus, NonZeroU64::new(runs).unwrap()).unwrap();
    let (bits, claims) = among(1);
    assert_eq!((bits, &claims), (certificate.artifact.bits, &certificate.bounds));
    let (_dir, _, chosen) = certified_with(&["certify.configurations=30"]);
    let (bits, claims) = among(30);
    assert_eq!((bits, &claims), (chosen.artifact.bits, &chosen.bounds));
    assert_eq!(bits.configuration, 5); // 2^5 = 32
    let pairs = || claims.iter().zip(&certificate.bounds);
    assert!(pairs().all(|(more, one)| more.bound >= one.bound));
    assert!(pairs().any(|(more, one)| more.bound > one.bound)); // not at its upper limit
    let other = fixture::corpus(&dir.path().join("other"), &fixture::prose(9, 20), 0.0);
    assert!(claims_among(&path, &other, NonZeroU64::MIN).is_err());
}
