//! Records of ours in JSON files: indented, with a line feed at the end, and a version of their format.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::atomic::{self, FileError};

/// The `what` in `path`, whose `version` has to be `expected`.
///
/// # Errors
/// No file, or one of another form or version.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    expected: impl Into<u64>,
) -> Result<T, Error> {
    /// Of every version.
    #[derive(Deserialize)]
    struct Head {
        version: u64,
    }
    let json = std::fs::read(path).map_err(FileError::at("read", path))?;
    let wrong = |error| Error::format(path, what, error);
    let Head { version } = serde_json::from_slice(&json).map_err(wrong)?;
    let expected = expected.into();
    if version != expected {
        let reason = format!("its version is {version}, this program reads {expected}");
        return Err(Error::format(path, what, reason));
    }
    serde_json::from_slice(&json).map_err(wrong)
}

/// Writes `record` to `path`.
///
/// # Errors
/// If the operating system refuses.
pub(crate) fn write(path: &Path, record: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(record).map_err(|error| Error::config(&error))?;
    Ok(atomic::write(path, (json + "\n").as_bytes())?)
}
