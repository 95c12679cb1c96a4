//! What a run found, as it stands in `evaluation.json`.

use std::collections::BTreeMap;
use std::path::Path;

use corpus::Sha256Hash;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use crate::{Error, json_record};

/// The file in the folder of a run.
pub(super) const FILE: &str = "evaluation.json";
const WHAT: &str = "evaluation";

/// A run that is over. Equal runs write equal records: there is no time in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QatRecord {
    /// Of the format, 1.
    pub version: u32,
    /// `kind` of the method.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// The text.
    pub corpus: Sha256Hash,
    /// Names, shapes and values of the base.
    pub base: Option<Sha256Hash>,
    /// What training was and cost; none if nothing was trained.
    pub training: Option<TrainingRecord>,
    /// One a width and stride, rising, 32 bits last.
    pub widths: Vec<WidthRecord>,
}

/// What training was and cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens of a step.
    pub tokens_per_step: u64,
    /// Passes over the tokens of a step that learned something, by width, over the whole run.
    pub passes: BTreeMap<u8, u64>,
    /// Parameters that are trained.
    pub parameters: u64,
    /// BitOPs of the whole run: forward passes, gradients, and those passes that only teach.
    pub bit_ops: f64,
}

/// A model at one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidthRecord {
    /// Of the weights.
    pub bits: BitWidth,
    /// Of the inputs.
    pub input_bits: BitWidth,
    /// Longest window, in tokens.
    pub context: u64,
    /// Tokens by which windows slide.
    pub stride: u64,
    /// Held-out documents.
    pub documents: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Mean loss, in nats per token.
    pub nats_per_token: f64,
    /// Its exponential.
    pub perplexity: f64,
    /// Bits in which a weight of the quantised matrices is held, scales included.
    pub bits_per_weight: f64,
    /// BitOPs of a forward pass, per token of a full context.
    pub bit_ops_per_token: f64,
    /// Parameters beside the base that this width uses: adapters, norms, learned scales.
    pub own_parameters: u64,
    /// How long scoring took, where it was just done.
    #[serde(skip)]
    pub seconds: Option<f64>,
}

impl QatRecord {
    /// Of the present format.
    pub(super) const VERSION: u32 = 1;

    /// The record in the folder of a run that is over.
    ///
    /// # Errors
    /// [`Error::Unfinished`] before the end of the run, or a file that is none.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(Error::Unfinished { folder: folder.to_owned(), what: "`evaluation.json`" });
        }
        json_record::read(&path, WHAT, Self::VERSION)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_record::write(&folder.join(FILE), self)
    }
}
