//! What no run can have, whatever its text.

use super::{BaseConfig, RunConfig, Scored, TrainConfig};
use crate::Error;

impl RunConfig {
    /// # Errors
    /// The first value that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(lora) = &self.lora {
            lora.validate()?;
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
        if !(1..=255).contains(&self.compress.levels) {
            return Err(Error::value("compress.levels", &self.compress.levels, "1 to 255"));
        }
        if self.certify.configurations == 0 {
            return Err(Error::value("certify.configurations", &0, "at least 1"));
        }
        for (key, value) in [("batch", self.certify.batch), ("shards", self.certify.shards)] {
            if value == 0 {
                return Err(Error::value(&format!("certify.{key}"), &0, "at least 1"));
            }
        }
        if self.certify.scored == Scored::Block && self.certify.documents.is_none() {
            let expected = "a number where `certify.scored` is \"block\"";
            return Err(Error::value("certify.documents", &"\"all\"", expected));
        }
        let delta = self.certify.failure_probability;
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::value("certify.failure_probability", &delta, "between 0 and 1"));
        }
        Ok(())
    }
}

impl TrainConfig {
    fn validate(&self, table: &str) -> Result<(), Error> {
        let positive = [
            ("batch", self.batch as u64),
            ("seq", self.seq as u64),
            ("accumulation", self.accumulation),
            ("shards", self.shards),
            ("eval_every", self.eval_every),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::value(&format!("{table}.{key}"), &0, "at least 1"));
        }
        if !(self.batch as u64).is_multiple_of(self.shards) {
            let expected = format!("a divisor of `batch` {}", self.batch);
            return Err(Error::value(&format!("{table}.shards"), &self.shards, &expected));
        }
        self.learning_rate.check()?;
        for (key, value) in [("clip", self.clip), ("weight_decay", self.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::value(&format!("{table}.{key}"), &value, "0 or more"));
            }
        }
        Ok(())
    }
}
