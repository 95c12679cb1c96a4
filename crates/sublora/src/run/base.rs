//! The base of a prior split: pretrained by the run itself, or taken over from another run that
//! pretrained the same one.

use std::io;
use std::path::{Path, PathBuf};

use super::{Run, provenance};
use crate::Error;
use crate::atomic::{self, FileError};
use crate::config::{BaseConfig, CertifyConfig, CompressConfig, RunConfig};

/// Where a base lies until it is whole.
const PARTIAL: &str = ".partial-base";

impl Run<'_> {
    /// Of a configuration with a prior split, the part that its base is a function of: the seed, the
    /// shape and the pretraining. A run of that configuration is there for
    /// [`pretrain_base`](Self::pretrain_base). None for a base that no run pretrains.
    pub fn base_config(config: &RunConfig) -> Option<RunConfig> {
        let BaseConfig::PriorSplit { train, .. } = &config.base else { return None };
        Some(RunConfig {
            seed: config.seed,
            model: config.model.clone(),
            base: config.base.clone(),
            train: (**train).clone(),
            compress: CompressConfig::default(),
            certify: CertifyConfig { top_k: Vec::new(), ..CertifyConfig::default() },
            ..RunConfig::default()
        })
    }

    /// Pretrains the base of a prior split, if that has not been done, and nothing else. With
    /// `resume`, goes on where an earlier call stopped.
    ///
    /// # Errors
    /// A run without a prior split, or as [`train`](Self::train).
    pub fn pretrain_base(&self, resume: bool) -> Result<(), Error> {
        let BaseConfig::PriorSplit { train, .. } = &self.config.base else {
            let reason = "only the base of a prior split is pretrained; `base.kind` is another";
            return Err(Error::Config(reason.to_owned()));
        };
        let resume = self.opened(resume)?;
        let base = self.base_folder();
        if !base.exists() {
            self.rehearse(train)?;
            self.record()?;
            self.pretrain(train, resume)?;
        }
        if !provenance::stands_in(&base) {
            self.provenance().write(&base)?; // a killed run may have come no further
        }
        Ok(())
    }

    /// Takes a copy of the base that `other` has pretrained, in place of pretraining the same one: the
    /// text, the seed, the shape and the pretraining have to be the same. The copy is there whole or
    /// not at all; one that is there already stays.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if `other` has no base yet, [`Error::Mismatch`] if it is not the one this
    /// run would pretrain, or what is wrong with this run.
    pub fn adopt_base(&self, other: &Run<'_>) -> Result<(), Error> {
        let (ours, theirs) = (Self::base_config(&self.config), Self::base_config(&other.config));
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            let reason = "only a base of a prior split can be taken over from another run";
            return Err(Error::Mismatch(reason.to_owned()));
        };
        let from = other.base_folder();
        if ours != theirs {
            let (from, difference) = (from.display(), ours.first_difference(&theirs)?);
            let reason = format!("`{from}` is not the base of this run: {difference}");
            return Err(Error::Mismatch(reason));
        }
        if !other.has_base()? {
            return Err(Error::Unfinished { folder: other.folder.clone(), what: "base" });
        }
        self.provenance().check(&from)?; // of the same corpus
        self.opened(true)?;
        let to = self.base_folder();
        if to.exists() {
            return Ok(());
        }
        let BaseConfig::PriorSplit { train, .. } = &self.config.base else { return Ok(()) };
        self.rehearse(train)?;
        self.record()?;
        Ok(copy_folder(&from, &to)?)
    }

    /// Whether the base that this run pretrains is there.
    ///
    /// # Errors
    /// A folder that holds a run with another configuration or on another corpus.
    pub(crate) fn has_base(&self) -> Result<bool, Error> {
        Ok(self.has_begun() && self.opened(true)? && provenance::stands_in(&self.base_folder()))
    }

    pub(super) fn base_folder(&self) -> PathBuf {
        self.folder.join("base")
    }
}

/// Copies the files of `from`, a folder without folders, so that `to` is there with all of them or not
/// at all.
fn copy_folder(from: &Path, to: &Path) -> Result<(), FileError> {
    let partial = to.with_file_name(PARTIAL);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(FileError::at("remove", &partial))?;
    }
    std::fs::create_dir_all(&partial).map_err(FileError::at("create", &partial))?;
    for entry in std::fs::read_dir(from).map_err(FileError::at("read", from))? {
        let entry = entry.map_err(FileError::at("read", from))?;
        let path = entry.path();
        let mut file = std::fs::File::open(&path).map_err(FileError::at("open", &path))?;
        atomic::write_with(&partial.join(entry.file_name()), |copy| {
            io::copy(&mut file, copy).map(|_| ())
        })?;
    }
    std::fs::rename(&partial, to).map_err(FileError::at("create", to))
}
