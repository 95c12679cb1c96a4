//! `model.sublora`: one file from which the certified weights are rebuilt.
//!
//! # Format
//! All integers little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SUBLORA` and a zero byte |
//! | 4 | version, 2 |
//! | 4 | length $h$ of the header |
//! | $h$ | the [`Spec`] as JSON: fixed before training, not paid for |
//! | rest but 32 | the payload, a [`CodedVector`] and the allocation: their bits are the code length $K$ |
//! | 32 | SHA-256 of everything before |
//!
//! The coded vector delimits itself and names its dimension and levels; it decodes to the coordinates
//! $\alpha$. The allocation is what was chosen or learned of who receives them: a ratio, the numbers of a
//! table, gates, each in as many bits as it has possibilities ([`quantizers::write_choices`]); nothing
//! for `uniform`. $\theta_0 + P\alpha$ is computed on the host in a fixed order: the adapter weights have
//! the same bits on every backend.

use std::path::Path;

use adapters::LoraGpt2;
use burn::tensor::Device;
use corpus::Sha256Hash;
use gpt2_model::{Gpt2Config, PlainGpt2};
use quantizers::{CodedVector, read_choices, write_choices};
use serde::{Deserialize, Serialize};
use subspace_projectors::Plan;

use crate::atomic::FileError;
use crate::spec::{BaseIdentity, Spec};
use crate::subspace::Subspace;
use crate::{Error, atomic};

const MAGIC: &[u8; 8] = b"SUBLORA\0";
const VERSION: u32 = 2;
const WHAT: &str = "artifact";
/// Longest header that is read.
const MAX_HEADER: usize = 1 << 20;
/// Coordinates that any payload may hold: five times the largest published subspace.
const FREE_COORDINATES: u64 = 1 << 20;
/// Coordinates that every byte of payload may hold beyond them. Decoding takes time in proportion to
/// the coordinates, and equal ones take next to no bits: without this, a file under 1 kB could keep a
/// reader busy for half a minute.
const COORDINATES_PER_BYTE: u64 = 1 << 10;

/// A compressed model.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// What the decoder is told.
    pub spec: Spec,
    /// What is paid for: the coordinates,
    pub payload: CodedVector,
    /// and what was chosen or learned of their allocation, in the order of
    /// [`Plan::limits`](subspace_projectors::Plan::limits).
    pub allocation: Vec<u64>,
}

/// Where the bits of the code length go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeLength {
    /// Dimension, number of levels, choice of entropy model.
    pub header: u64,
    /// Centroids, 16 bits each.
    pub codebook: u64,
    /// Table of counts, if the explicit model was shorter.
    pub counts: u64,
    /// The coded coordinates.
    pub symbols: u64,
    /// Zeros up to a whole byte.
    pub padding: u64,
    /// Ratio, table or gates of the allocation, in whole bytes.
    pub allocation: u64,
    /// The choice among the configurations tried.
    pub configuration: u64,
}

impl CodeLength {
    /// Of an artifact chosen among `configurations` runs, each of which a decoder can tell apart.
    ///
    /// # Errors
    /// An allocation that does not fit its spec.
    pub fn of(artifact: &Artifact, configurations: u64) -> Result<Self, Error> {
        let length = artifact.payload.length();
        Ok(Self {
            header: length.header as u64,
            codebook: length.codebook as u64,
            counts: length.counts as u64,
            symbols: length.symbols as u64,
            padding: length.padding as u64,
            allocation: 8 * artifact.allocation_bytes()?.len() as u64,
            // The binary logarithm, rounded up.
            configuration: u64::from(u64::BITS - configurations.saturating_sub(1).leading_zeros()),
        })
    }

    /// $K$ in bits; `u64::MAX` where that is too small, which no payload is.
    pub fn total(&self) -> u64 {
        let Self { header, codebook, counts, symbols, padding, allocation, configuration } = *self;
        [header, codebook, counts, symbols, padding, allocation, configuration]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl Artifact {
    /// The file's bytes.
    ///
    /// # Errors
    /// A header that is longer, or a payload that holds more, than a reader accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = serde_json::to_vec(&self.spec).map_err(|error| Error::config(&error))?;
        let length = u32::try_from(header.len()).ok().filter(|_| header.len() <= MAX_HEADER);
        let length =
            length.ok_or_else(|| Error::value("header", &header.len(), "at most 1 MiB"))?;
        let payload = [self.payload.to_bytes(), self.allocation_bytes()?].concat();
        check_room(self.payload.symbols().len() as u64, payload.len()).map_err(Error::Config)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(header);
        bytes.extend(payload);
        let checksum = Sha256Hash::of(&[&bytes]);
        bytes.extend(checksum.0);
        Ok(bytes)
    }

    /// The model where training began: every coordinate zero.
    ///
    /// # Errors
    /// None that a decoded artifact does not rule out.
    pub(crate) fn without_coordinates(&self) -> Result<Self, Error> {
        let zeros = vec![0.0; self.payload.symbols().len()];
        Ok(Self { payload: CodedVector::nearest(&zeros, &[0.0])?, ..self.clone() })
    }

    fn allocation_bytes(&self) -> Result<Vec<u8>, Error> {
        let limits = self.spec.plan()?.as_ref().map(Plan::limits).unwrap_or_default();
        let numbers = self.allocation.iter().copied().zip(limits.iter().copied());
        if self.allocation.len() != limits.len() || numbers.clone().any(|(it, below)| it >= below) {
            let found = &self.allocation;
            let reason = format!("an allocation of {found:?}, expected numbers below {limits:?}");
            return Err(Error::Mismatch(reason));
        }
        Ok(write_choices(numbers))
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), and what the file system says.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(atomic::write(path, &self.to_bytes()?)?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that this version did not write byte for byte.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
        Self::from_bytes(&bytes).map_err(|reason| Error::format(path, WHAT, reason))
    }

    /// Decodes a file's bytes, in time and memory bounded by their number; the model is not built.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(format!("it ends after {} bytes", bytes.len()));
        };
        if magic != MAGIC {
            return Err("it does not begin with `SUBLORA`".to_owned());
        }
        let (version, rest) = number(rest)?;
        if version != VERSION {
            return Err(format!("its version is {version}, this program reads {VERSION}"));
        }
        let Some((body, checksum)) = bytes.split_last_chunk::<32>().filter(|_| rest.len() >= 36)
        else {
            return Err(format!("it ends after {} bytes", bytes.len()));
        };
        if Sha256Hash::of(&[body]).0 != *checksum {
            return Err("its checksum does not match: it was truncated or altered".to_owned());
        }
        let (length, _) = number(rest)?;
        let length = length as usize;
        let rest = &body[16..];
        if length > MAX_HEADER || length > rest.len() {
            return Err(format!("its header claims {length} of {} bytes", rest.len()));
        }
        let (header, payload) = rest.split_at(length);
        let spec: Spec = serde_json::from_slice(header).map_err(|error| error.to_string())?;
        let trained = trained_weights(&spec)?;
        let Some(subspace) = &spec.sublora else {
            return Err("its model has no subspace, so nothing can be coded".to_owned());
        };
        let dimension = subspace.intrinsic_dim as u64;
        if dimension > trained {
            return Err(format!("it has {dimension} coordinates for {trained} trained weights"));
        }
        check_room(dimension, payload.len())?;
        // The payload is checked against what would be written; this is the rest.
        if serde_json::to_vec(&spec).ok().as_deref() != Some(header) {
            return Err("its header is not written as this program writes it".to_owned());
        }
        let most = u32::try_from(dimension).unwrap_or(u32::MAX);
        let bytes = payload;
        let (payload, used) =
            CodedVector::read_prefix(bytes, most).map_err(|error| error.to_string())?;
        let found = payload.symbols().len() as u64;
        if found != dimension {
            return Err(format!("it codes {found} coordinates, its header says {dimension}"));
        }
        let plan = spec.plan().map_err(|error| error.to_string())?;
        let limits = plan.as_ref().map(Plan::limits).unwrap_or_default();
        let allocation = read_choices(&bytes[used..], &limits)
            .map_err(|error| format!("its allocation: {error}"))?;
        let chosen = plan.map(|plan| plan.choices).unwrap_or_default();
        if let Some((stated, stored)) =
            chosen.iter().zip(&allocation).find(|(stated, stored)| stated.value != **stored)
        {
            let stated = stated.value;
            return Err(format!("its allocation is {stored}, its header says {stated}"));
        }
        Ok(Self { spec, payload, allocation })
    }

    /// Rebuilds the certified model from the base it was trained on, with its configuration; none
    /// for a random base, which is drawn again.
    ///
    /// # Errors
    /// A base that is missing or another, or a subspace that does not fit.
    pub fn rebuild(
        &self,
        base: Option<(PlainGpt2, Gpt2Config)>,
        device: &Device,
    ) -> Result<LoraGpt2, Error> {
        let base = match (&self.spec.base, base) {
            (BaseIdentity::Random, _) => self.spec.random_base(device)?,
            (_, Some((base, config))) if config == self.spec.model => base,
            (_, Some(_)) => {
                let reason = "the base's configuration is not the one this model was trained on";
                return Err(Error::Mismatch(reason.to_owned()));
            }
            (BaseIdentity::PriorSplit { sha256, .. } | BaseIdentity::External { sha256 }, None) => {
                let reason = format!("this model needs its base weights, of SHA-256 {sha256}");
                return Err(Error::Mismatch(reason));
            }
        };
        let (model, layout) = self.spec.assemble(base)?;
        let Some(allocated) = self.spec.allocated(&layout)? else {
            return Err(Error::Mismatch("this model has no subspace".to_owned()));
        };
        let gates = allocated.decode(&self.allocation)?;
        let subspace = Subspace::new(&model, layout, allocated)?;
        Ok(subspace.place(model, &self.payload.dequantize(), &gates))
    }
}

/// The most weights that can move, $D$ or above, in a model that `spec` describes and this program
/// can build.
fn trained_weights(spec: &Spec) -> Result<u64, String> {
    spec.model.validate().map_err(|error| error.to_string())?;
    match &spec.lora {
        None => Ok(spec.model.parameter_count()),
        Some(lora) => {
            lora.validate_for(&spec.model).map_err(|error| error.to_string())?;
            Ok(lora.weight_count(&spec.model))
        }
    }
}

/// Refuses more coordinates than a payload of so many bytes may hold.
fn check_room(coordinates: u64, bytes: usize) -> Result<(), String> {
    let room = (bytes as u64).saturating_mul(COORDINATES_PER_BYTE).saturating_add(FREE_COORDINATES);
    if coordinates > room {
        let limit = format!("expected at most {room}");
        return Err(format!("{coordinates} coordinates in {bytes} bytes of payload, {limit}"));
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let (first, rest) = bytes.split_first_chunk().ok_or("it ends inside a number")?;
    Ok((u32::from_le_bytes(*first), rest))
}

#[cfg(test)]
mod tests;
