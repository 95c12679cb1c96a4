//! From the text of a file and what overrides it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RunConfig;
use crate::Error;

impl RunConfig {
    /// Reads a configuration and what overrides it, each `table.key=value` with a TOML value (a bare
    /// word is a string).
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let config: Self = read(text, overrides)?;
        config.validate()?;
        Ok(config)
    }
}

/// A configuration and what overrides it, each `table.key=value`, not validated.
///
/// # Errors
/// The offending key, with the keys or values that are known.
pub(crate) fn read<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, Error> {
    let table = text.parse().map_err(|error| Error::config(&error))?;
    let table = set_all(table, overrides)?;
    table.try_into().map_err(|error| Error::config(&error))
}

/// `settings` with every `table.key=value` of `overrides` set.
///
/// # Errors
/// The offending key, with the keys or values that are known.
pub(crate) fn overridden<T: Serialize + DeserializeOwned>(
    settings: T,
    overrides: &[String],
) -> Result<T, Error> {
    let table = toml::Table::try_from(settings).map_err(|error| Error::config(&error))?;
    let table = set_all(table, overrides)?;
    table.try_into().map_err(|error| Error::config(&error))
}

/// `table` with every `table.key=value` of `overrides` set.
///
/// # Errors
/// An override that is none.
fn set_all(mut table: toml::Table, overrides: &[String]) -> Result<toml::Table, Error> {
    for assignment in overrides {
        let (path, value) = assignment
            .split_once('=')
            .ok_or_else(|| Error::Config(format!("`{assignment}` is no `key=value`")))?;
        let value = format!("value = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(value.to_owned()));
        set(&mut table, path, value)?;
    }
    Ok(table)
}

impl RunConfig {
    /// The first key in which `self` differs from the configuration of an earlier call, and both values.
    pub(crate) fn first_difference(&self, earlier: &Self) -> Result<String, Error> {
        let table = |config| toml::Value::try_from(config).map_err(|error| Error::config(&error));
        Ok(first_difference(&table(self)?, &table(earlier)?).unwrap_or_default())
    }
}

/// The first key in which `now` differs from `then`, and both values; none if they are equal.
pub(crate) fn first_difference(now: &toml::Value, then: &toml::Value) -> Option<String> {
    difference("", Some(now), Some(then))
}

/// Of the values of `key` now and then.
fn difference(key: &str, now: Option<&toml::Value>, then: Option<&toml::Value>) -> Option<String> {
    if now == then {
        return None;
    }
    if let (Some(toml::Value::Table(now)), Some(toml::Value::Table(then))) = (now, then) {
        let keys: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
        let inside =
            |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        return keys
            .into_iter()
            .find_map(|name| difference(&inside(name), now.get(name), then.get(name)));
    }
    let shown = |value: Option<&toml::Value>| {
        value.map_or_else(|| "absent".to_owned(), ToString::to_string)
    };
    Some(format!("`{key}` was {}, and is {} now", shown(then), shown(now)))
}

fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), Error> {
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = keys.pop().filter(|key| !key.is_empty());
    let last = last.ok_or_else(|| Error::Config(format!("`{path}` names no key")))?;
    let mut here = table;
    for key in keys {
        let next = here.entry(key).or_insert_with(|| toml::Table::new().into());
        here = next
            .as_table_mut()
            .ok_or_else(|| Error::Config(format!("`{key}` in `{path}` is no table")))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}
