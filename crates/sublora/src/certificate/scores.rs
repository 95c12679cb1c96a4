//! The sidecar: what was scored, one safetensors file.
//!
//! Per level (`document` or `token`) three tensors, `ln_p`, `rank` and `entropy`, one entry a token in
//! the order of the sample. Which tokens they are follows from the certificate and the corpus.

use std::collections::HashMap;
use std::path::Path;

use gpt2_model::TokenScores;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::Error;

const WHAT: &str = "score file";
/// Key of the version in the metadata.
const VERSION_KEY: &str = "sublora.scores";
const VERSION: &str = "1";

/// The scores of both levels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ScoreFile {
    pub(super) documents: Option<TokenScores>,
    pub(super) positions: Option<TokenScores>,
}

impl ScoreFile {
    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let invalid = |error| Error::format(path, WHAT, error);
        let mut tensors = Vec::new();
        for (level, scores) in [("document", &self.documents), ("token", &self.positions)] {
            let Some(scores) = scores else { continue };
            let floats = |values: &[f32]| values.iter().flat_map(|it| it.to_le_bytes()).collect();
            let rank = scores.rank.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
            tensors.push((format!("{level}.ln_p"), Dtype::F32, floats(&scores.ln_p)));
            tensors.push((format!("{level}.rank"), Dtype::U32, rank));
            tensors.push((format!("{level}.entropy"), Dtype::F32, floats(&scores.entropy)));
        }
        let mut views = Vec::new();
        for (name, dtype, bytes) in &tensors {
            let view = TensorView::new(*dtype, vec![bytes.len() / 4], bytes).map_err(invalid)?;
            views.push((name.as_str(), view));
        }
        let metadata = HashMap::from([(VERSION_KEY.to_owned(), VERSION.to_owned())]);
        safetensors::serialize(views, Some(metadata)).map_err(invalid)
    }

    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|error| Error::format(path, WHAT, error))?;
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| Error::format(path, WHAT, error))?;
        let version = header.metadata().as_ref().and_then(|metadata| metadata.get(VERSION_KEY));
        if version.is_none_or(|version| version != VERSION) {
            let reason = format!("its `{VERSION_KEY}` is {version:?}, expected {VERSION}");
            return Err(Error::format(path, WHAT, reason));
        }
        let words = |name: String, dtype: Dtype| {
            let tensor = tensors.tensor(&name).map_err(|error| Error::format(path, WHAT, error))?;
            if tensor.dtype() != dtype {
                return Err(Error::format(path, WHAT, format!("`{name}` is no {dtype:?}")));
            }
            Ok(tensor.data().as_chunks::<4>().0.to_vec())
        };
        let level = |level: &str| -> Result<Option<TokenScores>, Error> {
            if !tensors.names().iter().any(|name| name.starts_with(level)) {
                return Ok(None);
            }
            let floats = |name: &str| -> Result<Vec<f32>, Error> {
                let words = words(format!("{level}.{name}"), Dtype::F32)?;
                Ok(words.into_iter().map(f32::from_le_bytes).collect())
            };
            let rank = words(format!("{level}.rank"), Dtype::U32)?;
            let rank = rank.into_iter().map(u32::from_le_bytes).collect();
            Ok(Some(TokenScores { ln_p: floats("ln_p")?, rank, entropy: floats("entropy")? }))
        };
        Ok(Self { documents: level("document")?, positions: level("token")? })
    }
}
