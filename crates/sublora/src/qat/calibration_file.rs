//! `calibration.safetensors`: every scale, zero point and offset, bit for bit, with what they belong to.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use adapters::Calibration;
use corpus::Sha256Hash;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::config::CalibrationConfig;

use crate::atomic::FileError;
use crate::spec::BaseIdentity;
use crate::{Error, atomic};

/// In the folder of a run.
pub(super) const NAME: &str = "calibration.safetensors";
const WHAT: &str = "calibration";
/// Key of [`About`] in the metadata.
const ABOUT: &str = "sublora.calibration";
const VERSION: u32 = 1;

/// What stands beside the tensors, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u32,
    origin: Origin,
    settings: BTreeMap<String, String>,
}

/// What scales were calibrated from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// The weights.
    pub(super) base: BaseIdentity,
    /// Of the run: of weights that are drawn, and of the order of the windows.
    pub(super) seed: u64,
    /// The text.
    pub(super) corpus: Sha256Hash,
    /// Windows of a batch, and their tokens.
    pub(super) windows: [usize; 2],
    /// What was passed, and behind what.
    pub(super) calibration: CalibrationConfig,
}

pub(super) fn write(path: &Path, origin: &Origin, calibration: &Calibration) -> Result<(), Error> {
    let invalid = |error| Error::format(path, WHAT, error);
    let bytes = calibration.tensors.iter().map(|(name, values)| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, bytes, values.len())
    });
    let bytes: Vec<_> = bytes.collect();
    let mut views = Vec::new();
    for (name, bytes, len) in &bytes {
        views.push((name, TensorView::new(Dtype::F32, vec![*len], bytes).map_err(invalid)?));
    }
    let settings = calibration.settings.clone();
    let about = About { version: VERSION, origin: origin.clone(), settings };
    let about = serde_json::to_string(&about).map_err(|error| Error::config(&error))?;
    let about = HashMap::from([(ABOUT.to_owned(), about)]);
    let file = safetensors::serialize(views, Some(about)).map_err(invalid)?;
    Ok(atomic::write(path, &file)?)
}

/// # Errors
/// A file that is none, or of another origin.
pub(super) fn read(path: &Path, origin: &Origin) -> Result<Calibration, Error> {
    let invalid = |error| Error::format(path, WHAT, error);
    let file = std::fs::read(path).map_err(FileError::at("read", path))?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(invalid)?;
    let about = header.metadata().as_ref().and_then(|it| it.get(ABOUT));
    let about = about.ok_or_else(|| Error::format(path, WHAT, format!("it has no `{ABOUT}`")))?;
    let about: About =
        serde_json::from_str(about).map_err(|error| Error::format(path, WHAT, error))?;
    if about.version != VERSION {
        let reason = format!("its version is {}, this program reads {VERSION}", about.version);
        return Err(Error::format(path, WHAT, reason));
    }
    if about.origin != *origin {
        let reason = "its scales are of another base, corpus, seed or calibration";
        return Err(Error::format(path, WHAT, reason));
    }
    let mut calibration = Calibration { settings: about.settings, ..Calibration::default() };
    for (name, view) in SafeTensors::deserialize(&file).map_err(invalid)?.tensors() {
        if view.dtype() != Dtype::F32 {
            let reason = format!("`{name}` is {:?}, expected F32", view.dtype());
            return Err(Error::format(path, WHAT, reason));
        }
        let values = view.data().as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect();
        calibration.tensors.insert(name, values);
    }
    Ok(calibration)
}
