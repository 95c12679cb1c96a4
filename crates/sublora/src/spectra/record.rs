//! What is known of one part, and where it is kept so that nothing is computed twice.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use spectral::{ChangeColumns, CollapseReason, Columns, EstimateColumns, FitFailure, PowerLaw};

use crate::{FileError, atomic};

/// Changes with every change of what a record holds or how it is computed.
const VERSION: &str = "sublora spectral 2";

/// A matrix before, and after everything that was done to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The first is the original.
    pub(super) variants: Vec<Variant>,
    /// Variants that could not be made, and why.
    pub(super) missing: Vec<(String, String)>,
}

/// One matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) columns: Columns,
    pub(super) estimates: EstimateColumns,
    /// The strict fit, in either mode.
    pub(super) fit: Result<PowerLaw, FitFailure>,
    /// None for the original.
    pub(super) change: Option<ChangeColumns>,
    pub(super) reasons: Vec<CollapseReason>,
    /// Eigenvalues and the share of eigenvalues at or above each, thinned.
    pub(super) curve: Vec<(f64, f64)>,
}

/// A folder of records.
pub(super) struct Store {
    folder: Option<PathBuf>,
    /// Hash of the settings that a record depends on.
    settings: Vec<u8>,
}

impl Variant {
    /// The exponent of the strict fit.
    pub(super) fn alpha(&self) -> Result<f64, FitFailure> {
        self.fit.map(|fit| fit.alpha)
    }
}

impl Record {
    /// The variant of this name.
    pub(super) fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|it| it.name == name)
    }
}

impl Store {
    /// In `folder`; none to keep nothing.
    pub(super) fn new(folder: Option<PathBuf>, settings: &str) -> Result<Self, FileError> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        }
        let settings = Sha256::digest(format!("{VERSION}\n{settings}")).to_vec();
        Ok(Self { folder, settings })
    }

    /// The place of the record of a part: by its values and all that is done to them.
    pub(super) fn place(&self, what: &str, values: &[f32]) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let mut hash = Sha256::new();
        hash.update(&self.settings);
        hash.update(what);
        let mut bytes = Vec::with_capacity(1 << 16);
        for values in values.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&bytes);
        }
        let name = corpus::Sha256Hash(hash.finalize().into()).to_string();
        Some(folder.join(name))
    }

    /// What is kept there, if it can be read.
    pub(super) fn load(place: &Path) -> Option<Record> {
        postcard::from_bytes(&fs::read(place).ok()?).ok()
    }

    pub(super) fn save(place: &Path, record: &Record) -> Result<(), FileError> {
        match postcard::to_stdvec(record) {
            Ok(bytes) => atomic::write(place, &bytes),
            Err(_) => Ok(()), // nothing is kept
        }
    }
}
