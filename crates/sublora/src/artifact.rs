//! `model.sublora`: one file from which the certified weights are rebuilt.
//!
//! # Format
//! All integers little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SUBLORA` and a zero byte |
//! | 4 | version, 1 |
//! | 4 | length $h$ of the header |
//! | $h$ | the [`Spec`] as JSON: fixed before training, not paid for |
//! | rest but 32 | the payload, a [`CodedVector`]: its bits are the code length $K$ |
//! | 32 | SHA-256 of everything before |
//!
//! The payload delimits itself and names its dimension and levels; it decodes to the coordinates
//! $\alpha$, and $\theta_0 + P\alpha$ is computed on the host in a fixed order: the adapter weights
//! have the same bits on every backend.

use std::path::Path;

use adapters::LoraGpt2;
use burn::tensor::Device;
use corpus::Sha256Hash;
use gpt2_model::{Gpt2Config, PlainGpt2};
use quantizers::CodedVector;
use serde::{Deserialize, Serialize};

use crate::atomic::FileError;
use crate::spec::{BaseIdentity, Spec};
use crate::subspace::Subspace;
use crate::{Error, atomic};

const MAGIC: &[u8; 8] = b"SUBLORA\0";
const VERSION: u32 = 1;
const WHAT: &str = "artifact";
/// Longest header that is read.
const MAX_HEADER: usize = 1 << 20;

/// A compressed model.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// What the decoder is told.
    pub spec: Spec,
    /// What is paid for.
    pub payload: CodedVector,
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
    /// The choice among the configurations tried.
    pub configuration: u64,
}

impl CodeLength {
    /// Of a payload chosen among `configurations` runs, each of which a decoder can tell apart.
    pub fn of(payload: &CodedVector, configurations: u64) -> Self {
        let length = payload.length();
        Self {
            header: length.header as u64,
            codebook: length.codebook as u64,
            counts: length.counts as u64,
            symbols: length.symbols as u64,
            padding: length.padding as u64,
            configuration: u64::from(configurations.max(1).next_power_of_two().trailing_zeros()),
        }
    }

    /// $K$ in bits.
    pub fn total(&self) -> u64 {
        self.header + self.codebook + self.counts + self.symbols + self.padding + self.configuration
    }
}

impl Artifact {
    /// The file's bytes.
    ///
    /// # Errors
    /// A header that is longer than a reader accepts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = serde_json::to_vec(&self.spec).map_err(|error| Error::config(&error))?;
        let length = u32::try_from(header.len()).ok().filter(|_| header.len() <= MAX_HEADER);
        let length =
            length.ok_or_else(|| Error::value("header", &header.len(), "at most 1 MiB"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(header);
        bytes.extend(self.payload.to_bytes());
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
        Ok(Self { spec: self.spec.clone(), payload: CodedVector::nearest(&zeros, &[0.0])? })
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

    /// Decodes a file's bytes, in time and memory bounded by the shape in the header.
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
        spec.model.validate().map_err(|error| error.to_string())?;
        let Some(subspace) = &spec.sublora else {
            return Err("its model has no subspace, so nothing can be coded".to_owned());
        };
        let dimension = u32::try_from(subspace.intrinsic_dim)
            .map_err(|_| format!("its dimension is {}", subspace.intrinsic_dim))?;
        let payload =
            CodedVector::from_bytes(payload, dimension).map_err(|error| error.to_string())?;
        if payload.symbols().len() != subspace.intrinsic_dim {
            let found = payload.symbols().len();
            return Err(format!("it codes {found} coordinates, its header says {dimension}"));
        }
        let artifact = Self { spec, payload };
        match artifact.to_bytes() {
            Ok(same) if same == bytes => Ok(artifact),
            _ => Err("its header is not written as this program writes it".to_owned()),
        }
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
        let Some(projector) = self.spec.projector(&layout)? else {
            return Err(Error::Mismatch("this model has no subspace".to_owned()));
        };
        let subspace = Subspace::new(&model, layout, projector)?;
        Ok(subspace.place(model, &self.payload.dequantize()))
    }
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let (first, rest) = bytes.split_first_chunk().ok_or("it ends inside a number")?;
    Ok((u32::from_le_bytes(*first), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    fn artifact() -> Artifact {
        let payload = CodedVector::nearest(&[0.5, -0.5, 0.5, 0.0, 2.0], &[-0.5, 0.0, 0.5]).unwrap();
        Artifact { spec: fixture::spec(5), payload }
    }

    /// A file with any content and the right checksum.
    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, &Sha256Hash::of(&[body]).0].concat()
    }

    fn with_header(header: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        sealed(&[MAGIC.as_slice(), &VERSION.to_le_bytes(), &length, header, payload].concat())
    }

    fn refused(bytes: &[u8], because: &str) {
        let reason = Artifact::from_bytes(bytes).unwrap_err();
        assert!(reason.contains(because), "{reason:?} instead of {because:?}");
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.sublora");
        let artifact = artifact();
        artifact.write(&path).unwrap();
        assert_eq!(Artifact::read(&path).unwrap(), artifact);
        assert_eq!(std::fs::read(&path).unwrap(), artifact.to_bytes().unwrap());
    }

    #[test]
    fn the_code_length_is_that_of_the_payload_and_the_choice() {
        let payload = artifact().payload;
        let bits = 8 * payload.to_bytes().len() as u64;
        let totals = [1, 2, 3, 4, 5, u64::MAX / 2];
        let totals = totals.map(|it| CodeLength::of(&payload, it).total() - bits);
        assert_eq!(totals, [0, 1, 2, 2, 3, 63]);
    }

    #[test]
    fn a_truncated_or_longer_file_is_refused() {
        let bytes = artifact().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Artifact::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        refused(&[], "ends after 0 bytes");
        refused(&[&bytes[..], &[0]].concat(), "checksum");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = artifact().to_bytes().unwrap();
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Artifact::from_bytes(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_lying_file_with_a_right_checksum_is_refused() {
        let artifact = artifact();
        let bytes = artifact.to_bytes().unwrap();
        let header = serde_json::to_vec(&artifact.spec).unwrap();
        let payload = artifact.payload.to_bytes();
        assert_eq!(with_header(&header, &payload), bytes);

        let body = &bytes[..bytes.len() - 32];
        let changed = |at: usize, new: &[u8]| {
            let mut body = body.to_vec();
            body[at..at + new.len()].copy_from_slice(new);
            sealed(&body)
        };
        refused(&changed(0, b"PK"), "does not begin with `SUBLORA`");
        refused(&changed(8, &[2]), "its version is 2, this program reads 1");
        refused(&changed(12, &u32::MAX.to_le_bytes()), "its header claims 4294967295 of");
        let rest = u32::try_from(body.len() - 16).unwrap();
        refused(&changed(12, &(rest + 1).to_le_bytes()), "its header claims");
        refused(&changed(12, &0_u32.to_le_bytes()), "EOF");
        let short = u32::try_from(header.len() - 1).unwrap();
        refused(&changed(12, &short.to_le_bytes()), "EOF");

        refused(&with_header(&header, &[&payload[..], &[0]].concat()), "");
        refused(&with_header(&header, &payload[..payload.len() - 1]), "");
        refused(&with_header(&[b" ", &header[..]].concat(), &payload), "not written as");
        let spec = |change: fn(&mut Spec)| {
            let mut spec = artifact.spec.clone();
            change(&mut spec);
            with_header(&serde_json::to_vec(&spec).unwrap(), &payload)
        };
        refused(&spec(|it| it.sublora = None), "no subspace");
        refused(&spec(|it| it.sublora.as_mut().unwrap().intrinsic_dim = 6), "codes 5 coordinates");
        refused(&spec(|it| it.sublora.as_mut().unwrap().intrinsic_dim = 4), "");
        refused(&spec(|it| it.model.n_head = 3), "n_head");
        refused(&with_header(br#"{"model":1}"#, &payload), "invalid type");
    }

    #[test]
    fn the_base_must_be_the_one_it_was_trained_on() {
        let mut artifact = artifact();
        let base = fixture::base(&artifact.spec);
        artifact.spec.base = BaseIdentity::of(&base, None).unwrap();
        let device = Device::default();
        let config = artifact.spec.model.clone();
        let given = |base: &PlainGpt2| Some((base.clone(), config.clone()));
        artifact.rebuild(given(&base), &device).unwrap();
        let config = Gpt2Config { n_head: 4, ..config.clone() };
        let error = artifact.rebuild(Some((base, config)), &device).unwrap_err().to_string();
        assert_eq!(error, "the base's configuration is not the one this model was trained on");
        let error = artifact.rebuild(None, &device).unwrap_err().to_string();
        assert!(error.contains("needs its base weights, of SHA-256 "), "{error}");
        let other = Spec { seed: 138, ..artifact.spec.clone() }.random_base(&device).unwrap();
        let error = artifact.rebuild(given(&other), &device).unwrap_err().to_string();
        assert_eq!(error, "the base weights are not the ones this model was trained on");
    }

    proptest! {
        #[test]
        fn strangers_cannot_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Artifact::from_bytes(&bytes).is_err());
            prop_assert!(Artifact::from_bytes(&sealed(&bytes)).is_err());
            prop_assert!(Artifact::from_bytes(&with_header(&bytes, &[])).is_err());
            let header = serde_json::to_vec(&fixture::spec(5)).unwrap();
            // A payload may be right by chance; then it is what would have been written.
            let file = with_header(&header, &bytes);
            if let Ok(artifact) = Artifact::from_bytes(&file) {
                prop_assert_eq!(artifact.to_bytes().unwrap(), file);
            }
        }
    }
}
