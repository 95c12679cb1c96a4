//! A checkpoint of a training run: one safetensors file, whole or not there.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::Outcome;
use crate::atomic::FileError;
use crate::{Error, atomic};

const WHAT: &str = "training checkpoint";

/// Everything a run needs to go on.
#[derive(Clone)]
pub(super) struct State {
    /// Steps taken.
    pub(super) step: u64,
    pub(super) outcome: Outcome,
    pub(super) values: Vec<(String, Vec<f32>)>,
    /// Empty where only the values are kept.
    pub(super) optimizer: Vec<u8>,
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
        let metadata = HashMap::from([
            (
                "order".to_owned(),
                bytes.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join("\n"),
            ),
            ("step".to_owned(), self.step.to_string()),
            ("best_loss".to_owned(), self.outcome.best_loss.to_string()),
            ("best_step".to_owned(), self.outcome.best_step.to_string()),
        ]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(invalid)?;
        Ok(atomic::write(path, &file)?)
    }

    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file = std::fs::read(path).map_err(FileError::at("read", path))?;
        let invalid = |error| Error::format(path, WHAT, error);
        let (_, header) = SafeTensors::read_metadata(&file).map_err(invalid)?;
        let tensors = SafeTensors::deserialize(&file).map_err(invalid)?;
        let empty = HashMap::new();
        let metadata = header.metadata().as_ref().unwrap_or(&empty);
        let field = |name: &str| {
            metadata.get(name).ok_or_else(|| Error::format(path, WHAT, format!("no `{name}`")))
        };
        let number = |name: &str| {
            field(name)?
                .parse()
                .map_err(|error| Error::format(path, WHAT, format!("{name}: {error}")))
        };
        let mut values = Vec::new();
        for name in field("order")?.lines() {
            let tensor = tensors.tensor(name).map_err(invalid)?;
            let floats = tensor.data().as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it));
            values.push((name.trim_start_matches("value.").to_owned(), floats.collect()));
        }
        let best_loss = field("best_loss")?
            .parse()
            .map_err(|error| Error::format(path, WHAT, format!("best_loss: {error}")))?;
        Ok(Self {
            step: number("step")?,
            outcome: Outcome { best_loss, best_step: number("best_step")? },
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
            assert_eq!((read.step, read.outcome), (state.step, state.outcome));
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
        let foreign = safetensors::serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        std::fs::write(&path, foreign).unwrap();
        assert!(State::read(&path).err().unwrap().to_string().ends_with("no `order`"));
        let missing = State::read(&dir.path().join("missing")).err().unwrap().to_string();
        assert!(missing.starts_with("cannot read `"), "{missing}");
    }
}
