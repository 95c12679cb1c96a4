//! Rules of quantisation that may be none: an empty list in a file, so that a default can be turned off.

use adapters::ByWidth;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
pub(super) fn serialize<S: Serializer>(rules: &Option<ByWidth>, to: S) -> Result<S::Ok, S::Error> {
    match rules {
        Some(rules) => rules.serialize(to),
        None => ByWidth::new(Vec::new()).serialize(to),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ByWidth>, D::Error> {
    Ok(Some(ByWidth::deserialize(from)?).filter(|it| !it.rules().is_empty()))
}
