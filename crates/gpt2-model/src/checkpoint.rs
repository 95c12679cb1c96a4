//! Hugging Face checkpoint folders, in and out.
//!
//! A folder holds `config.json` and either `model.safetensors`, the shards that
//! `model.safetensors.index.json` names, or `pytorch_model.bin`. Names may bear the prefix
//! `transformer.`, the tied `lm_head.weight` may be present or not, and the buffers of old exports
//! (`attn.bias`, `attn.masked_bias`) are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use burn::tensor::{DType, Device, TensorData};
use burn_store::{ModuleStore, PytorchStore, SafetensorsStore, bridge};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use thiserror::Error;

use crate::hf_config::{read_config, write_config};
use crate::{ConfigError, DeviceError, Gpt2Config, PlainGpt2, assign, parameters, read};

/// Why a checkpoint was not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system said no.
    #[error("`{path}`: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("`{path}` is no valid configuration: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The configuration describes something else than GPT-2.
    #[error("`{path}` describes no GPT-2 that can be loaded: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field and its value.
        reason: String,
    },
    /// A weight could not be read from its device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The shape is no GPT-2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No file with weights.
    #[error(
        "`{0}` holds no weights, expected `model.safetensors`, `model.safetensors.index.json` or `pytorch_model.bin`"
    )]
    NoWeights(PathBuf),
    /// A file with weights cannot be read.
    #[error("`{path}` cannot be read as weights: {reason}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A weight of the model is in no file.
    #[error("`{path}` lacks the weight `{name}`")]
    Missing {
        /// The folder.
        path: PathBuf,
        /// Name in the checkpoint.
        name: String,
    },
    /// A weight that the model does not have.
    #[error("`{path}` holds `{name}`, which this GPT-2 does not have")]
    Unexpected {
        /// The folder.
        path: PathBuf,
        /// Name in the checkpoint.
        name: String,
    },
    /// A weight of another shape than the configuration says.
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name in the checkpoint.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// By the configuration.
        expected: Vec<usize>,
    },
    /// A weight of integers or of a quantised type.
    #[error("`{name}` has element type {dtype}, expected a float")]
    Dtype {
        /// Name in the checkpoint.
        name: String,
        /// In the file.
        dtype: String,
    },
    /// A weight is NaN or infinite.
    #[error("`{0}` holds a value that is not finite")]
    NotFinite(String),
}

/// Loads the model in `folder` onto `device`, in `f32`.
///
/// # Errors
/// The first thing wrong with the folder; the model is exactly the one the folder describes.
pub fn load(folder: &Path, device: &Device) -> Result<(PlainGpt2, Gpt2Config), CheckpointError> {
    let config = read_config(folder)?;
    let model = PlainGpt2::zeros(&config, device)?;
    let mut stored = Weights::open(folder)?;
    let mut failure = None;
    let model = assign(model, |name, shape| {
        if failure.is_some() {
            return None;
        }
        stored.take(name, shape).map_err(|error| failure = Some(error)).ok()
    });
    match failure {
        Some(error) => return Err(error),
        None => stored.check_nothing_left(config.bias)?,
    }
    Ok((model, config))
}

/// Writes `model` as a folder that `transformers` opens: `config.json` and `model.safetensors`. A
/// model without biases gets zero ones, which computes the same.
///
/// The folder appears whole or not at all; an existing one is refused.
///
/// # Errors
/// What the file system says.
pub fn save(model: &PlainGpt2, config: &Gpt2Config, folder: &Path) -> Result<(), CheckpointError> {
    whole_folder(folder, |made| {
        write_config(config, made)?;
        let path = made.join("model.safetensors");
        let mut weights = read(model, |_| true)?;
        if !config.bias {
            let biases: Vec<_> = parameters(&PlainGpt2::zeros(
                &Gpt2Config { bias: true, ..config.clone() },
                &model.wte.weight.device(),
            )?)
            .into_iter()
            .filter(|weight| is_bias(&weight.name))
            .map(|weight| {
                let zeros = vec![0_f32; weight.shape.iter().product()];
                (weight.name, TensorData::new(zeros, weight.shape))
            })
            .collect();
            weights.extend(biases);
        }
        let views = weights
            .iter()
            .map(|(name, data)| {
                let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
                Ok((name.as_str(), view.map_err(|error| unreadable(&path, &error))?))
            })
            .collect::<Result<Vec<_>, CheckpointError>>()?;
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize_to_file(views, Some(metadata), &path)
            .map_err(|error| unreadable(&path, &error))?;
        let config = made.join("config.json");
        let readable = fs::metadata(&config).map_err(|source| io(&config, source))?.permissions();
        fs::set_permissions(&path, readable).map_err(|source| io(&path, source))
    })
}

/// Makes `folder` of what `make` writes to the folder it is given, whole or not at all.
///
/// # Errors
/// [`CheckpointError::Io`] for a folder that exists, or what the file system says; what `make` says.
pub fn whole_folder<E: From<CheckpointError>>(
    folder: &Path,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if folder.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(io(folder, source).into());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|source| io(parent, source))?;
    let staged = tempfile::Builder::new()
        .prefix(".checkpoint-")
        .tempdir_in(parent)
        .map_err(|source| io(parent, source))?;
    // A temporary folder is for its owner alone; one inside it has the permissions of any other.
    let made = staged.path().join("checkpoint");
    fs::create_dir(&made).map_err(|source| io(&made, source))?;
    make(&made)?;
    fs::rename(&made, folder).map_err(|source| io(folder, source).into())
}

/// The tensors of a folder by their name without prefix, read when taken.
struct Weights {
    folder: PathBuf,
    tensors: BTreeMap<String, burn_store::burn_pack::Tensor>,
}

impl Weights {
    fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let mut tensors = BTreeMap::new();
        for path in weight_files(folder)? {
            let found = if path.extension().is_some_and(|extension| extension == "safetensors") {
                SafetensorsStore::from_file(&path)
                    .get_all_tensors()
                    .cloned()
                    .map_err(|error| unreadable(&path, &error))?
            } else {
                PytorchStore::from_file(&path)
                    .get_all_tensors()
                    .cloned()
                    .map_err(|error| unreadable(&path, &error))?
            };
            tensors.extend(found.into_iter().map(|(name, tensor)| {
                let name = name.strip_prefix("transformer.").unwrap_or(&name);
                (name.to_owned(), tensor)
            }));
        }
        Ok(Self { folder: folder.to_owned(), tensors })
    }

    fn take(&mut self, name: &str, expected: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let Some(tensor) = self.tensors.remove(name) else {
            let (path, name) = (self.folder.clone(), name.to_owned());
            return Err(CheckpointError::Missing { path, name });
        };
        let found = tensor.shape.as_slice().to_vec();
        if found != expected {
            let (name, expected) = (name.to_owned(), expected.to_vec());
            return Err(CheckpointError::Shape { name, found, expected });
        }
        if !matches!(tensor.dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            let (name, dtype) = (name.to_owned(), format!("{:?}", tensor.dtype));
            return Err(CheckpointError::Dtype { name, dtype });
        }
        let data = bridge::into_data(tensor).map_err(|error| unreadable(&self.folder, &error))?;
        let values: Vec<f32> = data.iter::<f32>().collect();
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(CheckpointError::NotFinite(name.to_owned()))
        }
    }

    /// What remains may be the tied head, the causal masks of old exports or, in a model without
    /// biases, zero ones; nothing else.
    fn check_nothing_left(&self, bias: bool) -> Result<(), CheckpointError> {
        let passed_over = |name: &str| {
            name == "lm_head.weight"
                || name.ends_with(".attn.bias")
                || name.ends_with(".attn.masked_bias")
                || (!bias && is_bias(name))
        };
        match self.tensors.keys().find(|name| !passed_over(name)) {
            Some(name) => {
                Err(CheckpointError::Unexpected { path: self.folder.clone(), name: name.clone() })
            }
            None => Ok(()),
        }
    }
}

/// The index of a sharded checkpoint.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let single = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    let pytorch = folder.join("pytorch_model.bin");
    if single.is_file() {
        return Ok(vec![single]);
    }
    if index.is_file() {
        let text = fs::read_to_string(&index).map_err(|source| io(&index, source))?;
        let shards: ShardIndex = serde_json::from_str(&text)
            .map_err(|source| CheckpointError::Json { path: index.clone(), source })?;
        let names: BTreeSet<String> = shards.weight_map.into_values().collect();
        return names
            .into_iter()
            .map(|name| match Path::new(&name).components().collect::<Vec<_>>()[..] {
                [Component::Normal(file)] => Ok(folder.join(file)),
                _ => Err(CheckpointError::Unsupported {
                    path: index.clone(),
                    reason: format!("`{name}` is no file name"),
                }),
            })
            .collect();
    }
    if pytorch.is_file() {
        return Ok(vec![pytorch]);
    }
    Err(CheckpointError::NoWeights(folder.to_owned()))
}

fn is_bias(name: &str) -> bool {
    name.rsplit('.').next() == Some("bias")
}

pub(crate) fn io(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Io { path: path.to_owned(), source }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Weights { path: path.to_owned(), reason: error.to_string() }
}
