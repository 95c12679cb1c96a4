//! The table `[sublora]`.
//!
//! The settings of an allocation stand beside `intrinsic_dim`, each under its own name after
//! `allocation_`; its `kind` is `allocation_mode`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subspace_projectors::{AnyAllocation, AnyProjector};

const PREFIX: &str = "allocation_";
const MODE: &str = "allocation_mode";

/// The random subspace.
///
/// ```toml
/// intrinsic_dim = 1000
/// projector = { kind = "rectkronqr" }
/// allocation_mode = "fixed"
/// allocation_ratio = 0.8
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct SubspaceConfig {
    /// Number $d$ of trained coordinates.
    pub intrinsic_dim: usize,
    /// From coordinates to trained weights.
    pub projector: AnyProjector,
    /// Who receives which coordinates.
    pub allocation: AnyAllocation,
}

impl Default for SubspaceConfig {
    fn default() -> Self {
        Self {
            intrinsic_dim: 10_000,
            projector: AnyProjector::default(),
            allocation: AnyAllocation::default(),
        }
    }
}

/// As it is written.
#[derive(Clone, Serialize, Deserialize)]
struct Keys {
    #[serde(default)]
    intrinsic_dim: Option<usize>,
    #[serde(default)]
    projector: Option<AnyProjector>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl TryFrom<Keys> for SubspaceConfig {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Self { intrinsic_dim, projector, allocation } = Self::default();
        let mode = match keys.rest.get(MODE) {
            None => allocation.name().to_owned(),
            Some(Value::String(mode)) => mode.clone(),
            Some(other) => return Err(format!("`{MODE}` is {other}, expected a name")),
        };
        let mut settings = Map::new();
        for (key, value) in keys.rest {
            match key.strip_prefix(PREFIX) {
                Some("mode") => {}
                Some(_) if value.is_null() => return Err(format!("`{key}` is no finite number")),
                Some(setting) => {
                    if let Some(owners) = owners_of(setting, &mode) {
                        return Err(format!("`{key}` is no setting of `{mode}`, but of {owners}"));
                    }
                    settings.insert(setting.to_owned(), value);
                }
                None => {
                    let known = "`intrinsic_dim`, `projector`, `allocation_mode` and the settings of that mode, \
                                 `allocation_...`";
                    return Err(format!("unknown field `{key}`, expected {known}"));
                }
            }
        }
        settings.insert("kind".to_owned(), Value::String(mode.clone()));
        let allocation = serde_json::from_value(Value::Object(settings)).map_err(|error| {
            if AnyAllocation::NAMES.contains(&mode.as_str()) {
                format!("`{MODE}` is \"{mode}\", without `{PREFIX}` before its settings: {error}")
            } else {
                format!("`{MODE}`: {error}")
            }
        })?;
        Ok(Self {
            intrinsic_dim: keys.intrinsic_dim.unwrap_or(intrinsic_dim),
            projector: keys.projector.unwrap_or(projector),
            allocation,
        })
    }
}

/// The modes that have a setting of this name, if `mode` has not.
fn owners_of(setting: &str, mode: &str) -> Option<String> {
    let has = |allocation: &AnyAllocation| {
        let written = serde_json::to_value(allocation).ok();
        written.and_then(|it| it.get(setting).cloned()).is_some()
            // What is left out where it is not set.
            || (setting, allocation.name()) == ("ratio", "per-layer")
    };
    let owners: Vec<AnyAllocation> = AnyAllocation::all().into_iter().filter(has).collect();
    let names: Vec<String> = owners.iter().map(|it| format!("`{}`", it.name())).collect();
    let known = AnyAllocation::NAMES.contains(&mode);
    let own = owners.iter().any(|it| it.name() == mode);
    (known && !own && !names.is_empty()).then(|| names.join(" and "))
}

impl From<SubspaceConfig> for Keys {
    fn from(config: SubspaceConfig) -> Self {
        let rest = match serde_json::to_value(&config.allocation) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(), // an allocation is a struct of numbers
        };
        let named = |(key, value): (String, Value)| match key.as_str() {
            "kind" => (MODE.to_owned(), value),
            _ => (format!("{PREFIX}{key}"), value),
        };
        Self {
            intrinsic_dim: Some(config.intrinsic_dim),
            projector: Some(config.projector),
            rest: rest.into_iter().map(named).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use subspace_projectors::{Fixed, Learned, PerLayer, SoftMask};

    use super::*;

    #[test]
    fn every_allocation_is_written_with_its_prefix_and_comes_back() {
        let row = |name: &str, row| (name.parse().unwrap(), row);
        let table = [row("h.0", [1, 2]), row("rest", [3, 4])].into();
        let settings: [(AnyAllocation, &str); 3] = [
            (Fixed { ratio: 0.8 }.into(), "allocation_ratio = 0.8"),
            (
                PerLayer { table, ratio: None }.into(),
                "[allocation_table]\n\"h.0\" = [1, 2]\nrest = [3, 4]",
            ),
            (
                Learned { gate: SoftMask::default().into() }.into(),
                "[allocation_gate]\nkind = \"soft-mask\"\nsharpness = 10.0",
            ),
        ];
        for (allocation, written) in settings {
            let config = SubspaceConfig { allocation, ..SubspaceConfig::default() };
            let text = toml::to_string(&config).unwrap();
            assert!(text.contains(written), "{text}");
            assert_eq!(toml::from_str::<SubspaceConfig>(&text), Ok(config.clone()));
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<SubspaceConfig>(&json).unwrap(), config);
        }
        assert_eq!(toml::from_str::<SubspaceConfig>(""), Ok(SubspaceConfig::default()));
    }

    #[test]
    fn settings_of_another_mode_and_unknown_ones_are_named() {
        for (text, expected) in [
            (
                "allocation_mode = \"even\"",
                "`allocation_mode`: unknown variant `even`, expected one of `uniform`, `fixed`",
            ),
            (
                "allocation_ratio = 0.5",
                "`allocation_ratio` is no setting of `uniform`, but of `fixed` and `per-layer`",
            ),
            (
                "allocation_mode = \"fixed\"\nallocation_share = 1",
                "unknown field `share`, expected `ratio`",
            ),
            (
                "allocation_mode = \"fixed\"\nallocation_ratio = nan",
                "`allocation_ratio` is no finite number",
            ),
            ("allocation_mode = 3", "`allocation_mode` is 3, expected a name"),
            (
                "intrinsic_dimension = 3",
                "unknown field `intrinsic_dimension`, expected `intrinsic_dim`",
            ),
            (
                "allocation_mode = \"per-layer\"\nallocation_table = { layer = [1, 2] }",
                "`layer` is no group, expected `h.N` or `rest`",
            ),
        ] {
            let error = toml::from_str::<SubspaceConfig>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
