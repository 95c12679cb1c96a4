//! GPT-2 with bases and outliers as a folder: `config.json` and one safetensors file.
//!
//! # Definition
//! Of a layer that is split, the codes, scales or numbers of its base and the values, indices and pointers
//! of its outliers, as many bytes as [`Split::bytes`] says; all other weights as `f32` under their usual
//! names. The metadata say how the splits were made, and have two hashes of each: of $B$, and of $B + O$,
//! which is the stored matrix but for `residual`; and one of all tensors. docs/formats.md has every tensor.
//!
//! The format is here and in no crate of files, since nobody else knows the codes of a base.

mod error;
mod parts;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gpt2_model::{
    CheckpointError, Gpt2Config, PlainGpt2, assign, parameters, read, read_config, whole_folder,
    write_config,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use error::OrthoFileError;
use parts::{Part, Source};

use crate::base::coding::Layout;
use crate::model::no_such_layer;
use crate::{Alpha, Construction, OrthoError, OrthoGpt2, Split, SplitConfig, Storage, Streams};

/// The file with the tensors, in the folder. Not the name of a plain checkpoint, which it is not.
pub const FILE_NAME: &str = "ortho.safetensors";

/// Key of [`About`] in the metadata.
const ABOUT: &str = "sublora.ortho";
const VERSION: u32 = 1;

/// A model with everything that its folder has.
#[derive(Debug, Clone)]
pub struct OrthoCheckpoint {
    /// The layers at alpha 1, all frozen.
    pub model: OrthoGpt2,
    /// Its shape.
    pub config: Gpt2Config,
    /// By layer.
    pub splits: BTreeMap<String, Split>,
    /// How they were made.
    pub made_by: SplitConfig,
}

/// What stands beside the tensors, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u32,
    made_by: SplitConfig,
    layers: BTreeMap<String, LayerRecord>,
    /// Of names and bytes of all tensors, in the order of their names.
    tensors_sha256: String,
}

/// Of every version.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What stands beside the tensors of a layer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerRecord {
    /// `[d_in, d_out]`.
    shape: [usize; 2],
    construction: Construction,
    storage: Storage,
    base: Layout,
    /// Of the values of $B$, `f32` in row-major order.
    base_sha256: String,
    /// Of those of $B + O$.
    sum_sha256: String,
}

impl LayerRecord {
    fn of(split: &Split) -> Self {
        Self {
            shape: split.shape(),
            construction: split.construction(),
            storage: split.storage(),
            base: split.base().layout,
            base_sha256: sha256(split.base().matrix().values()),
            sum_sha256: sha256(&split.materialise(Alpha::STORED)),
        }
    }
}

fn sha256(values: &[f32]) -> String {
    let mut hasher = Sha256::new();
    for values in values.chunks(1 << 12) {
        hasher.update(values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>());
    }
    digits(hasher)
}

/// Of whole tensors: also what a sum rounds away, and what is no layer's.
fn tensors_sha256<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in tensors {
        hasher.update(name);
        hasher.update([0]);
        hasher.update(bytes);
    }
    digits(hasher)
}

/// 64 hexadecimal digits.
fn digits(hasher: Sha256) -> String {
    let digits = hasher.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|it| char::from_digit(it.into(), 16)).collect()
}

/// Writes `folder`, whole or not at all: `config.json`, and [`FILE_NAME`] with `splits` in the place of the
/// weights of their layers, as in [`Streams::with_splits`].
///
/// # Errors
/// [`OrthoError::NoSuchLayer`] or [`OrthoError::LayerShape`] in [`OrthoFileError::Layer`], a folder that
/// exists, or what the file system says.
pub fn save(
    model: &PlainGpt2,
    config: &Gpt2Config,
    splits: &BTreeMap<String, Split>,
    made_by: &SplitConfig,
    folder: &Path,
) -> Result<(), OrthoFileError> {
    let in_layer = |name: &str, source| OrthoFileError::Layer { name: name.to_owned(), source };
    check_layers(model, splits)?;
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, split) in splits {
        for part in parts::encode(split).map_err(|error| in_layer(name, error))? {
            let Part { name: part, dtype, shape, bytes } = part;
            tensors.insert(format!("{name}.{part}"), (dtype, shape, bytes));
        }
    }
    let is_split =
        |name: &str| name.strip_suffix(".weight").is_some_and(|it| splits.contains_key(it));
    for (name, data) in read(model, |name| !is_split(name))? {
        tensors.insert(name, (Dtype::F32, data.shape().to_vec(), data.as_bytes().to_vec()));
    }
    let layers =
        splits.iter().map(|(name, split)| (name.clone(), LayerRecord::of(split))).collect();
    let bytes = tensors.iter().map(|(name, (_, _, bytes))| (name.as_str(), bytes.as_slice()));
    let tensors_sha256 = tensors_sha256(bytes);
    let about = About { version: VERSION, made_by: made_by.clone(), layers, tensors_sha256 };
    whole_folder(folder, |made| {
        write_config(config, made)?;
        let path = made.join(FILE_NAME);
        let invalid = |source| OrthoFileError::Safetensors { path: path.clone(), source };
        let about = serde_json::to_string(&about).map_err(|source| OrthoFileError::Metadata {
            path: path.clone(),
            key: ABOUT,
            source,
        })?;
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(invalid)?))
        });
        let views = views.collect::<Result<Vec<_>, OrthoFileError>>()?;
        let about = HashMap::from([(ABOUT.to_owned(), about)]);
        let file = safetensors::serialize(views, Some(about)).map_err(invalid)?;
        fs::write(&path, file).map_err(|source| OrthoFileError::Io { path, source })
    })
}

/// Whether every split is one of a linear layer, of its shape.
fn check_layers(model: &PlainGpt2, splits: &BTreeMap<String, Split>) -> Result<(), OrthoFileError> {
    let layers: BTreeMap<String, Vec<usize>> = parameters(model)
        .into_iter()
        .filter(|it| {
            it.shape.len() == 2 && !["wte.weight", "wpe.weight"].contains(&it.name.as_str())
        })
        .filter_map(|it| Some((it.name.strip_suffix(".weight")?.to_owned(), it.shape)))
        .collect();
    for (name, split) in splits {
        let in_layer = |source| OrthoFileError::Layer { name: name.clone(), source };
        let Some(shape) = layers.get(name) else {
            let names: Vec<&str> = layers.keys().map(String::as_str).collect();
            return Err(in_layer(no_such_layer(name, &names)));
        };
        if split.shape()[..] != shape[..] {
            let (found, expected) = (split.shape(), [shape[0], shape[1]]);
            let name = name.clone();
            return Err(in_layer(OrthoError::LayerShape { name, found, expected }));
        }
    }
    Ok(())
}

/// Reads what [`save`] wrote, with the same bits. Memory is that of the file and of the model.
///
/// # Errors
/// The first thing wrong with the folder: nothing of it is believed.
pub fn load(folder: &Path, device: &Device) -> Result<OrthoCheckpoint, OrthoFileError> {
    let config = read_config(folder)?;
    let path = folder.join(FILE_NAME);
    let file =
        fs::read(&path).map_err(|source| OrthoFileError::Io { path: path.clone(), source })?;
    let about = read_about(&path, &file)?;
    let tensors = SafeTensors::deserialize(&file)
        .map_err(|source| OrthoFileError::Safetensors { path: path.clone(), source })?;
    let mut tensors: BTreeMap<String, TensorView<'_>> = tensors.tensors().into_iter().collect();
    let whole = tensors_sha256(tensors.iter().map(|(name, it)| (name.as_str(), it.data())));
    let mut splits = BTreeMap::new();
    for (name, record) in &about.layers {
        let split = parts::decode(record, &mut OfLayer { name, tensors: &mut tensors })?;
        let check = |what, found, expected: &str| check(what, name, found, expected);
        check("the base", sha256(split.base().matrix().values()), &record.base_sha256)?;
        let sum = sha256(&split.materialise(Alpha::STORED));
        check("the sum of base and outliers", sum, &record.sum_sha256)?;
        splits.insert(name.clone(), split);
    }

    let model = PlainGpt2::zeros(&config, device).map_err(CheckpointError::from)?;
    check_layers(&model, &splits)?;
    let is_split =
        |name: &str| name.strip_suffix(".weight").is_some_and(|it| splits.contains_key(it));
    let mut others: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for weight in parameters(&model).into_iter().filter(|it| !is_split(&it.name)) {
        let name = weight.name;
        let view = tensors.remove(&name).ok_or_else(|| OrthoFileError::Missing(name.clone()))?;
        if view.dtype() != Dtype::F32 || view.shape() != weight.shape {
            return Err(OrthoFileError::Tensor {
                name,
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
                expected: format!("F32 {:?}", weight.shape),
            });
        }
        let values: Vec<f32> =
            view.data().as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect();
        if values.iter().any(|it| !it.is_finite()) {
            return Err(CheckpointError::NotFinite(name).into());
        }
        others.insert(name, values);
    }
    if let Some((name, _)) = tensors.pop_first() {
        return Err(OrthoFileError::Unexpected(name));
    }
    check("the whole", FILE_NAME, whole, &about.tensors_sha256)?;
    let model = assign(model, |name, _| others.remove(name));
    let model = OrthoGpt2::with_splits(model, &splits).map_err(|source| {
        OrthoFileError::Layer { name: FILE_NAME.to_owned(), source } // checked before
    })?;
    Ok(OrthoCheckpoint { model, config, splits, made_by: about.made_by })
}

/// Whether a hash is the one that was written.
fn check(
    what: &'static str,
    name: &str,
    found: String,
    expected: &str,
) -> Result<(), OrthoFileError> {
    if found == expected {
        return Ok(());
    }
    let (name, expected) = (name.to_owned(), expected.to_owned());
    Err(OrthoFileError::Hash { what, name, found, expected })
}

fn read_about(path: &Path, file: &[u8]) -> Result<About, OrthoFileError> {
    let at = || path.to_owned();
    let (_, header) = SafeTensors::read_metadata(file)
        .map_err(|source| OrthoFileError::Safetensors { path: at(), source })?;
    let about = header.metadata().as_ref().and_then(|it| it.get(ABOUT));
    let about = about.ok_or_else(|| OrthoFileError::NoMetadata { path: at(), key: ABOUT })?;
    let invalid = |source| OrthoFileError::Metadata { path: at(), key: ABOUT, source };
    let Version { version } = serde_json::from_str(about).map_err(invalid)?;
    if version != VERSION {
        return Err(OrthoFileError::Version { path: at(), found: version, expected: VERSION });
    }
    serde_json::from_str(about).map_err(invalid)
}

/// The tensors of one layer; each can be taken once.
struct OfLayer<'a, 'file> {
    name: &'a str,
    tensors: &'a mut BTreeMap<String, TensorView<'file>>,
}

impl<'file> Source<'file> for OfLayer<'_, 'file> {
    fn take(
        &mut self,
        part: &'static str,
    ) -> Result<(Dtype, Vec<usize>, &'file [u8]), OrthoFileError> {
        let name = self.name(part);
        let view = self.tensors.remove(&name).ok_or(OrthoFileError::Missing(name))?;
        Ok((view.dtype(), view.shape().to_vec(), view.data()))
    }

    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }
}

#[cfg(test)]
mod tests;
