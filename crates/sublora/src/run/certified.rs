//! Whether a run is finished: a certificate of its own settings, and the files that it is about.

use std::path::Path;

use corpus::Sha256Hash;

use super::Run;
use crate::Error;
use crate::artifact::Artifact;
use crate::certificate::Certificate;
use crate::compression::Compression;
use crate::config::BaseConfig;

impl Run<'_> {
    /// The certificate of this run, as it is configured, with artifact and scores beside it as they were
    /// then; none before there is one. Nothing of it is computed anew: that is what
    /// [`verify`](crate::verify) does.
    ///
    /// # Errors
    /// [`Error::OtherCertificate`] if other settings or other files are in the way, all of which the run
    /// can make again; a folder that holds a run with another configuration or on another corpus, or a
    /// certificate that cannot be read.
    pub fn certified(&self) -> Result<Option<Certificate>, Error> {
        let path = self.certificate_path();
        if !self.opened(true)? || !path.exists() {
            return Ok(None);
        }
        let certificate = Certificate::read(&path)?;
        let difference = match certificate.difference_from(&self.config.certify)? {
            None => self.other_file(&certificate)?,
            difference => difference,
        };
        match difference {
            None => Ok(Some(certificate)),
            Some(difference) => {
                Err(Error::OtherCertificate { folder: self.folder.clone(), difference })
            }
        }
    }

    /// What is not as it was when the certificate was made, or is not of this run, in words.
    fn other_file(&self, certificate: &Certificate) -> Result<Option<String>, Error> {
        let artifact = self.artifact_path();
        let scores = self.folder.join(&certificate.scores.path);
        for (path, expected) in
            [(&artifact, &certificate.artifact.file.sha256), (&scores, &certificate.scores.sha256)]
        {
            if let Some(difference) = differs(path, expected) {
                return Ok(Some(difference));
            }
        }
        // Model and certificate may both be copies of another run's.
        let spec = match Artifact::read(&artifact) {
            Ok(artifact) => artifact.spec,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let is_external = matches!(self.config.base, BaseConfig::Checkpoint { .. });
        let same_base = spec.base.is_external() == is_external && spec.base.prior() == self.prior();
        if !same_base || spec != self.spec(self.shape()?, spec.base.clone()) {
            return Ok(Some("`model.sublora` was trained with other settings".to_owned()));
        }
        if certificate.corpus.sha256 != spec.corpus {
            return Ok(Some("it is about another corpus".to_owned()));
        }
        Ok(Compression::read(&self.folder).err().map(|error| error.to_string()))
    }
}

/// What is wrong with a file that has to have this hash.
fn differs(path: &Path, expected: &Sha256Hash) -> Option<String> {
    match std::fs::read(path) {
        Ok(bytes) if Sha256Hash::of(&[&bytes]) == *expected => None,
        Ok(_) => Some(format!("`{}` is another file, its hash is not {expected}", path.display())),
        Err(error) => Some(format!("cannot read `{}`: {error}", path.display())),
    }
}
