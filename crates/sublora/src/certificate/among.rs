//! What a certificate would say if its model had been chosen from fewer runs, or from more.

use std::num::NonZeroU64;
use std::path::Path;

use bounds::Bits;
use corpus::Corpus;

use super::certify::metrics;
use super::evidence::Terms;
use super::scene::Scene;
use super::scores::ScoreFile;
use super::verify::{drawn_again, hashed, top_k};
use super::{Certificate, Claim};
use crate::Error;
use crate::artifact::{Artifact, CodeLength};

/// The code length and the claims of the certificate at `path`, from its stored scores, had its model
/// been chosen from `configurations` runs. For comparison: a claim holds for the number that was tried.
///
/// # Errors
/// A corpus or files that are not the certificate's.
pub(crate) fn claims_among(
    path: &Path,
    corpus: &Corpus,
    configurations: NonZeroU64,
) -> Result<(CodeLength, Vec<Claim>), Error> {
    let certificate = Certificate::read(path)?;
    if corpus.sha256() != certificate.corpus.sha256 {
        return Err(Error::Mismatch("the corpus is not the certificate's".to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let artifact = Artifact::read(&folder.join(&certificate.artifact.file.path))?;
    let bits = CodeLength::of(&artifact, configurations.get())?;
    let scene = Scene::new(corpus, certificate.corpus.prior, &certificate.predictor)?;
    let scores = folder.join(&certificate.scores.path);
    let bytes = hashed(&scores, &certificate.scores.sha256, "score file")?;
    let scored = ScoreFile::from_bytes(&bytes, &scores)?;
    let drawn = drawn_again(&certificate, &scene, &scored)?;
    let terms = Terms {
        vocab: corpus.manifest().tokenizer.vocab_size,
        code_length: Bits::whole(bits.total()),
        models: configurations,
        failure: certificate.confidence.failure_probability / certificate.confidence.claims as f64,
    };
    let claims = scene.claims(&scored, &drawn, &metrics(&top_k(&certificate))?, terms)?;
    Ok((bits, claims))
}
