//! What no run can have, found before one begins.

use std::num::NonZeroU8;

use gpt2_model::Gpt2Config;
use subspace_projectors::AnyAllocation;

use super::{BaseConfig, CertifyConfig, CompressConfig, RunConfig, Scored, TrainConfig};
use crate::Error;

impl RunConfig {
    /// # Errors
    /// The first value that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(lora) = &self.lora {
            lora.validate()?;
        }
        if let Some(sublora) = &self.sublora
            && self.lora.is_none()
            && sublora.allocation != AnyAllocation::default()
        {
            let expected = "\"uniform\" without a table `[lora]`: only adapters have sides";
            let mode = sublora.allocation.name();
            return Err(Error::value("sublora.allocation_mode", &mode, expected));
        }
        if let BaseConfig::PriorSplit { fraction, train } = &self.base {
            if !(*fraction > 0.0 && *fraction < 1.0) {
                return Err(Error::value("base.fraction", fraction, "a number between 0 and 1"));
            }
            train.validate("base.train")?;
        }
        self.train.validate("train")?;
        if self.train.shards > 1 && self.lora.as_ref().is_some_and(|it| it.dropout > 0.0) {
            // The device has one stream of random numbers, and shards run in no fixed order.
            let expected = "1 where `lora.dropout` is above 0, or the run cannot be repeated";
            return Err(Error::value("train.shards", &self.train.shards, expected));
        }
        self.compress.validate()?;
        self.certify.validate()
    }

    /// Checks what depends on the model and on the text: `shape` is that of the base, `vocab` the
    /// number of tokens of the corpus.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub(crate) fn validate_for(&self, shape: &Gpt2Config, vocab: u32) -> Result<(), Error> {
        self.validate()?;
        let context = shape.n_positions;
        let at_most = |key: &str, value: usize| {
            let expected = format!("at most the model's context `n_positions` {context}");
            if value > context { Err(Error::value(key, &value, &expected)) } else { Ok(()) }
        };
        if let BaseConfig::PriorSplit { train, .. } = &self.base {
            at_most("base.train.seq", train.seq)?;
        }
        at_most("train.seq", self.train.seq)?;
        at_most("certify.stride", self.certify.stride)?;
        if self.certify.top_k.iter().any(|&k| k >= vocab) {
            let expected = format!("numbers below the {vocab} tokens of the corpus");
            let found = format!("{:?}", self.certify.top_k);
            return Err(Error::value("certify.top_k", &found, &expected));
        }
        Ok(())
    }
}

impl TrainConfig {
    /// Errs unless windows fit the context of `shape`.
    pub(crate) fn validate_for(&self, shape: &Gpt2Config) -> Result<(), Error> {
        let context = shape.n_positions;
        if self.seq > context {
            let expected = format!("at most the model's context `n_positions` {context}");
            return Err(Error::value("train.seq", &self.seq, &expected));
        }
        Ok(())
    }

    pub(crate) fn validate(&self, table: &str) -> Result<(), Error> {
        let key = |key: &str| format!("{table}.{key}");
        let counts = [
            ("steps", self.steps),
            ("batch", self.batch as u64),
            ("seq", self.seq as u64),
            ("accumulation", self.accumulation),
            ("shards", self.shards),
            ("eval_every", self.eval_every),
            ("eval_batches", self.eval_batches),
        ];
        for (name, value) in counts {
            at_least_one(&key(name), value)?;
        }
        if !(self.batch as u64).is_multiple_of(self.shards) {
            let expected = format!("a divisor of `batch` {}", self.batch);
            return Err(Error::value(&key("shards"), &self.shards, &expected));
        }
        above_zero(&key("learning_rate.peak"), self.learning_rate.peak)?;
        above_zero(&key("clip"), self.clip)?;
        above_zero(&key("gate_rate"), self.gate_rate)?;
        let floor = self.learning_rate.floor;
        if !(0.0..=1.0).contains(&floor) {
            let expected = "a fraction of the peak, from 0 to 1";
            return Err(Error::value(&key("learning_rate.floor"), &floor, expected));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::value(&key("weight_decay"), &self.weight_decay, "0 or more"));
        }
        Ok(())
    }
}

impl CompressConfig {
    fn validate(&self) -> Result<(), Error> {
        if NonZeroU8::new(self.levels).is_none() {
            return Err(Error::value("compress.levels", &self.levels, "1 to 255"));
        }
        // A method checks its settings when it is used.
        if let Err(error) = quantizers::quantize(self.codebook.as_dyn(), &[0.0], NonZeroU8::MIN) {
            return Err(Error::Config(format!("`compress.codebook`: {error}")));
        }
        if !(self.qat_gate_rate >= 0.0 && self.qat_gate_rate.is_finite()) {
            return Err(Error::value("compress.qat_gate_rate", &self.qat_gate_rate, "0 or more"));
        }
        above_zero("compress.qat_learning_rate", self.qat_learning_rate)
    }
}

impl CertifyConfig {
    fn validate(&self) -> Result<(), Error> {
        let counts = [
            ("certify.configurations", self.configurations),
            ("certify.batch", self.batch as u64),
            ("certify.shards", self.shards as u64),
        ];
        for (key, value) in counts {
            at_least_one(key, value)?;
        }
        if self.scored == Scored::Block && self.documents.is_none() {
            let expected = "a number where `certify.scored` is \"block\"";
            return Err(Error::value("certify.documents", &"\"all\"", expected));
        }
        let delta = self.failure_probability;
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::value("certify.failure_probability", &delta, "between 0 and 1"));
        }
        for (place, &k) in self.top_k.iter().enumerate() {
            if k == 0 || self.top_k[..place].contains(&k) {
                let expected = "different numbers above 0";
                return Err(Error::value("certify.top_k", &format!("{:?}", self.top_k), expected));
            }
        }
        Ok(())
    }
}

fn at_least_one(key: &str, value: u64) -> Result<(), Error> {
    if value == 0 { Err(Error::value(key, &0, "at least 1")) } else { Ok(()) }
}

fn above_zero(key: &str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::value(key, &value, "a number above 0"))
}
