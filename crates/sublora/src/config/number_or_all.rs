//! TOML has no null: a sample size that is none is written `"all"`.

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrWord {
    Number(i64),
    Word(String),
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
pub(crate) fn serialize<S: Serializer>(size: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    match size {
        Some(size) => to.serialize_u64(*size),
        None => to.serialize_str("all"),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let expected = &"a number above 0, or \"all\"";
    match NumberOrWord::deserialize(from)
        .map_err(|_| D::Error::custom(format!("a sample size is no number, expected {expected}")))?
    {
        NumberOrWord::Word(word) if word == "all" => Ok(None),
        NumberOrWord::Word(word) => Err(D::Error::invalid_value(Unexpected::Str(&word), expected)),
        NumberOrWord::Number(size) => match u64::try_from(size) {
            Ok(size) if size > 0 => Ok(Some(size)),
            _ => Err(D::Error::invalid_value(Unexpected::Signed(size), expected)),
        },
    }
}
