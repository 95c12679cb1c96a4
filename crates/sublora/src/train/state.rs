//! A checkpoint of a training run: one safetensors file, whole or not there.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::atomic::FileError;
use crate::{Error, atomic};

const WHAT: &str = "training checkpoint";
const VERSION: u32 = 2;
/// Key of [`About`] in the metadata.
const ABOUT: &str = "sublora.checkpoint";

/// Everything a run needs to go on.
#[derive(Clone)]
pub(super) struct State {
    /// What the values are of, as TOML.
    pub(super) spec: String,
    /// Steps taken.
    pub(super) step: u64,
    pub(super) outcome: Outcome,
    pub(super) values: Vec<(String, Vec<f32>)>,
    /// Empty where only the values are kept.
    pub(super) optimizer: Vec<u8>,
}

/// What stands beside the tensors, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u32,
    spec: String,
    step: u64,
    /// None before the first evaluation.
    best_loss: Option<f64>,
    best_step: u64,
    /// Names of the values.
    order: Vec<String>,
}

impl State {
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let invalid = |error| Error::format(path, WHAT, error);
        let bytes: Vec<(String, Vec<u8>, usize)> = self
            .values
            .iter()
            .map(|(name, values)| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (format!("value.{name}"), bytes, values.len())
            })
            .collect();
        let mut views = Vec::new();
        for (name, bytes, len) in &bytes {
            let view = TensorView::new(Dtype::F32, vec![*len], bytes).map_err(invalid)?;
            views.push((name.as_str(), view));
        }
        let optimizer = TensorView::new(Dtype::U8, vec![self.optimizer.len()], &self.optimizer);
        views.push(("optimizer", optimizer.map_err(invalid)?));
        let about = About {
            version: VERSION,
            spec: self.spec.clone(),
            step: self.step,
            best_loss: Some(self.outcome.best_loss).filter(|loss| loss.is_finite()),
            best_step: self.outcome.best_step,
            order: self.values.iter().map(|(name, _)| name.clone()).collect(),
        };
        let about = serde_json::to_string(&about).map_err(|it| Error::format(path, WHAT, it))?;
        // One entry: several would be in any order.
        let metadata = HashMap::from([(ABOUT.to_owned(), about)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(invalid)?;
        Ok(atomic::write(path, &file)?)
    }

    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file = std::fs::read(path).map_err(FileError::at("read", path))?;
        let invalid = |error| Error::format(path, WHAT, error);
        let (_, header) = SafeTensors::read_metadata(&file).map_err(invalid)?;
        let tensors = SafeTensors::deserialize(&file).map_err(invalid)?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ABOUT));
        let about = about.ok_or_else(|| Error::format(path, WHAT, format!("no `{ABOUT}`")))?;
        let about: About =
            serde_json::from_str(about).map_err(|error| Error::format(path, WHAT, error))?;
        if about.version != VERSION {
            let reason = format!("it has version {}, expected {VERSION}", about.version);
            return Err(Error::format(path, WHAT, reason));
        }
        let mut values = Vec::new();
        for name in about.order {
            let tensor = tensors.tensor(&format!("value.{name}")).map_err(invalid)?;
            let floats = tensor.data().as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it));
            values.push((name, floats.collect()));
        }
        let best_loss = about.best_loss.unwrap_or(f64::INFINITY);
        Ok(Self {
            spec: about.spec,
            step: about.step,
            outcome: Outcome { best_loss, best_step: about.best_step },
            values,
            optimizer: tensors.tensor("optimizer").map_err(invalid)?.data().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            spec: "seed = 137\n".to_owned(),
            step: 41,
            outcome: Outcome { best_loss: 1.0 / 3.0, best_step: 40 },
            values: vec![
                ("z".to_owned(), vec![1.5, f32::MIN_POSITIVE, -0.0]),
                ("a.lora_A".to_owned(), vec![]),
            ],
            optimizer: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.safetensors");
        let never = Outcome { best_loss: f64::INFINITY, best_step: 0 };
        for state in [state(), State { outcome: never, optimizer: vec![], ..state() }] {
            state.write(&path).unwrap();
            let read = State::read(&path).unwrap();
            assert_eq!(
                (read.spec, read.step, read.outcome),
                (state.spec, state.step, state.outcome)
            );
            assert_eq!((read.values, read.optimizer), (state.values, state.optimizer));
        }
    }

    #[test]
    fn a_truncated_or_foreign_file_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last.safetensors");
        state().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = State::read(&path).err().unwrap().to_string();
            assert!(error.contains("last.safetensors` is no valid training checkpoint"), "{error}");
        }
        let version = br#""version\":2"#;
        let place = bytes.windows(version.len()).position(|it| it == version).unwrap();
        let mut later = bytes.clone();
        later[place + version.len() - 1] = b'3';
        std::fs::write(&path, later).unwrap();
        let error = State::read(&path).err().unwrap().to_string();
        assert!(error.ends_with("it has version 3, expected 2"), "{error}");
        let foreign = safetensors::serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        std::fs::write(&path, foreign).unwrap();
        assert!(State::read(&path).err().unwrap().to_string().ends_with("no `sublora.checkpoint`"));
        let missing = State::read(&dir.path().join("missing")).err().unwrap().to_string();
        assert!(missing.starts_with("cannot read `"), "{missing}");
    }
}
