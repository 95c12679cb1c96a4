//! What a sweep runs, as it stands in a TOML file.
//!
//! ```toml
//! seeds = [42, 123, 999]
//! intrinsic_dim = [1000, 2000]
//!
//! [[mode]]
//! name = "dense"
//! projector = { kind = "dense" } # every key but the name goes into `[sublora]`
//!
//! [run.model] # and everything else of a run's configuration
//! size = "tiny"
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::{RunConfig, first_difference, read};
use crate::{Error, Run};

/// Every mode at every budget, once a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepConfig {
    /// A seed drives everything that is random in a run: the documents of a prior split and the base
    /// pretrained on them, or the random base; adapters, projector, and the order of the batches.
    pub seeds: Vec<u64>,
    /// The budgets: numbers $d$ of trained coordinates.
    pub intrinsic_dim: Vec<usize>,
    /// What is compared.
    #[serde(rename = "mode")]
    pub modes: Vec<SweepMode>,
    /// The configuration that all runs share, as in [`RunConfig`]. `certify.configurations` in it counts
    /// what was tried before the sweep; it is multiplied by the number of runs.
    pub run: Table,
}

/// One mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepMode {
    /// Lower-case letters, digits and hyphens: it is part of a folder's name.
    pub name: String,
    /// What the mode sets in the table `[sublora]`.
    #[serde(flatten)]
    pub settings: Table,
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRun {
    /// `MODE-dBUDGET-sSEED`, its folder below `runs`.
    pub name: String,
    /// Name of its mode.
    pub mode: String,
    /// Its budget.
    pub intrinsic_dim: usize,
    /// Its seed.
    pub seed: u64,
    /// What it does.
    pub config: RunConfig,
}

impl SweepConfig {
    /// Reads a configuration and what overrides it, each `table.key=value` as in [`RunConfig::parse`],
    /// for example `run.train.steps=100`. Every run of it is checked as far as it can be without a
    /// corpus.
    ///
    /// # Errors
    /// The offending mode and key.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let config: Self = read(text, overrides)?;
        config.runs()?;
        Ok(config)
    }

    /// Every run: budget by budget, mode by mode, seed by seed.
    ///
    /// # Errors
    /// The first thing that no sweep can have, or that no run of it can.
    pub fn runs(&self) -> Result<Vec<SweepRun>, Error> {
        self.validate()?;
        let mut runs = Vec::new();
        for &intrinsic_dim in &self.intrinsic_dim {
            for mode in &self.modes {
                for &seed in &self.seeds {
                    runs.push(SweepRun {
                        name: format!("{}-d{intrinsic_dim}-s{seed}", mode.name),
                        mode: mode.name.clone(),
                        intrinsic_dim,
                        seed,
                        config: self.run_config(mode, intrinsic_dim, seed)?,
                    });
                }
            }
        }
        Ok(runs)
    }

    /// The seeds with the configuration of the base that their runs share; none where no base is
    /// pretrained.
    ///
    /// # Errors
    /// As [`runs`](Self::runs).
    pub(super) fn bases(&self) -> Result<Vec<(u64, RunConfig)>, Error> {
        let (Some(mode), Some(&dim)) = (self.modes.first(), self.intrinsic_dim.first()) else {
            return Ok(Vec::new());
        };
        let base = |&seed: &u64| -> Result<_, Error> {
            let config = Run::base_config(&self.run_config(mode, dim, seed)?);
            Ok(config.map(|config| (seed, config)))
        };
        self.seeds.iter().filter_map(|seed| base(seed).transpose()).collect()
    }

    /// How many runs the best is chosen from, those tried before the sweep left out.
    pub fn run_count(&self) -> u64 {
        (self.seeds.len() * self.intrinsic_dim.len() * self.modes.len()) as u64
    }

    /// The first key in which `self` differs from an `earlier` configuration, and both values; none if
    /// they are equal. A mode is a table by its name.
    pub(super) fn first_difference(&self, earlier: &Self) -> Result<Option<String>, Error> {
        let table = |config: &Self| -> Result<Value, Error> {
            let mut modes = Table::new();
            for mode in &config.modes {
                modes.insert(mode.name.clone(), Value::Table(mode.settings.clone()));
            }
            let mut table = Table::try_from(config).map_err(|error| Error::config(&error))?;
            table.insert("mode".to_owned(), Value::Table(modes));
            Ok(Value::Table(table))
        };
        let difference = first_difference(&table(self)?, &table(earlier)?);
        let reordered = || "`mode` was in another order".to_owned();
        Ok(difference.or_else(|| (self != earlier).then(reordered)))
    }

    fn validate(&self) -> Result<(), Error> {
        distinct("seeds", &self.seeds)?;
        distinct("intrinsic_dim", &self.intrinsic_dim)?;
        let names: Vec<&str> = self.modes.iter().map(|mode| mode.name.as_str()).collect();
        distinct("mode", &names)?;
        for mode in &self.modes {
            let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
            if mode.name.is_empty() || !mode.name.chars().all(is_plain) {
                let expected = "lower-case letters, digits and hyphens";
                return Err(Error::value("mode.name", &format!("{:?}", mode.name), expected));
            }
            if mode.settings.contains_key("intrinsic_dim") {
                let reason = format!(
                    "mode `{}` sets `intrinsic_dim`, which the list of the sweep does",
                    mode.name
                );
                return Err(Error::Config(reason));
            }
        }
        let in_sublora =
            |key: &str| self.run.get("sublora").is_some_and(|it| it.get(key).is_some());
        for (key, is_there) in [
            ("run.seed", self.run.contains_key("seed")),
            ("run.sublora.intrinsic_dim", in_sublora("intrinsic_dim")),
        ] {
            if is_there {
                let list = if key == "run.seed" { "seeds" } else { "intrinsic_dim" };
                let reason = format!("`{key}` is set, which `{list}` of the sweep does");
                return Err(Error::Config(reason));
            }
        }
        let shared: Result<RunConfig, _> = self.run.clone().try_into();
        let shared = shared.map_err(|error| Error::config(&error)).and_then(|shared| {
            RunConfig { sublora: None, ..shared }.validate() // modes may complete the subspace
        });
        shared.map_err(|error| within("`[run]`", error))
    }

    fn run_config(&self, mode: &SweepMode, dim: usize, seed: u64) -> Result<RunConfig, Error> {
        let named = |error| within(&format!("mode `{}`", mode.name), error);
        let mut table = self.run.clone();
        let sublora = table.entry("sublora").or_insert_with(|| Table::new().into());
        if let Some(sublora) = sublora.as_table_mut() {
            sublora.extend(mode.settings.clone());
        }
        let config = table.try_into().map_err(|error| named(Error::config(&error)));
        let mut config: RunConfig = config?;
        config.seed = seed;
        if let Some(subspace) = &mut config.sublora {
            subspace.intrinsic_dim = dim;
        }
        let configurations = config.certify.configurations.checked_mul(self.run_count());
        config.certify.configurations = configurations.ok_or_else(|| {
            let tried = config.certify.configurations;
            Error::value("run.certify.configurations", &tried, "a number of runs")
        })?;
        config.validate().map_err(named)?;
        Ok(config)
    }
}

/// An error of a configuration, with the part of the file that it is in.
pub(super) fn within(part: &str, error: Error) -> Error {
    match error {
        Error::Config(reason) => Error::Config(format!("{part}: {reason}")),
        other => Error::Config(format!("{part}: {other}")),
    }
}

/// Errs unless `values`, the list `key`, are some and all different.
fn distinct<T: Ord + std::fmt::Display>(key: &str, values: &[T]) -> Result<(), Error> {
    if values.is_empty() {
        return Err(Error::Config(format!("`{key}` is empty, expected at least one")));
    }
    let mut seen = BTreeSet::new();
    match values.iter().find(|value| !seen.insert(*value)) {
        None => Ok(()),
        Some(twice) => Err(Error::Config(format!("`{key}` has `{twice}` twice"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseConfig;

    const CONFIG: &str = r#"
        seeds = [42, 999]
        intrinsic_dim = [8, 16]
        mode = [{ name = "dense", projector = { kind = "dense" } }, { name = "plain" }]
        [run]
        certify.configurations = 3
        lora.rank = 2
        base = { kind = "prior-split", fraction = 0.25 }
    "#;

    fn refused(changes: &[&str], reason: &str) {
        let changes: Vec<String> = changes.iter().map(|&it| it.to_owned()).collect();
        let error = SweepConfig::parse(CONFIG, &changes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn a_run_for_every_budget_mode_and_seed() {
        let config = SweepConfig::parse(CONFIG, &["run.train.steps=7".to_owned()]).unwrap();
        let runs = config.runs().unwrap();
        let names: Vec<&str> = runs.iter().map(|it| it.name.as_str()).collect();
        let expected = [
            "dense-d8-s42",
            "dense-d8-s999",
            "plain-d8-s42",
            "plain-d8-s999",
            "dense-d16-s42",
            "dense-d16-s999",
            "plain-d16-s42",
            "plain-d16-s999",
        ];
        assert_eq!(names, expected);
        let first = &runs[0];
        assert_eq!((first.mode.as_str(), first.intrinsic_dim, first.seed), ("dense", 8, 42));
        let RunConfig { seed, sublora, lora, train, certify, .. } = &first.config;
        let sublora = sublora.as_ref().unwrap();
        assert_eq!((*seed, sublora.intrinsic_dim, sublora.projector.name()), (42, 8, "dense"));
        assert_eq!((lora.as_ref().unwrap().rank, train.steps), (2, 7));
        assert_eq!(certify.configurations, 3 * 8); // the choice among eight runs is paid by each
        let plain = runs[2].config.sublora.as_ref().unwrap().projector.name();
        assert_eq!(plain, "rectkronqr");
    }

    #[test]
    fn runs_of_a_seed_share_a_base() {
        let config = SweepConfig::parse(CONFIG, &[]).unwrap();
        let bases = config.bases().unwrap();
        assert_eq!(bases.iter().map(|(seed, _)| *seed).collect::<Vec<_>>(), [42, 999]);
        for run in config.runs().unwrap() {
            let base = Run::base_config(&run.config).unwrap();
            assert!(bases.contains(&(run.seed, base)), "{}", run.name);
        }
        assert!(matches!(bases[0].1.base, BaseConfig::PriorSplit { .. }));
        let random = SweepConfig::parse(CONFIG, &["run.base={ kind = \"random\" }".to_owned()]);
        assert_eq!(random.unwrap().bases().unwrap(), []);
    }

    #[test]
    fn a_written_sweep_reads_as_it_was_and_a_changed_one_says_where() {
        let config = SweepConfig::parse(CONFIG, &[]).unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(SweepConfig::parse(&text, &[]).unwrap(), config, "{text}");
        let difference = |now: &SweepConfig| now.first_difference(&config).unwrap();
        assert_eq!(difference(&config), None);
        let with = |change: &str| SweepConfig::parse(CONFIG, &[change.to_owned()]).unwrap();
        let said = difference(&with("run.lora.rank=3"));
        assert_eq!(said.unwrap(), "`run.lora.rank` was 2, and is 3 now");
        let mut other = config.clone();
        other.modes[0].settings["projector"]["kind"] = Value::from("fastfood");
        let said = difference(&other).unwrap();
        assert_eq!(said, "`mode.dense.projector.kind` was \"dense\", and is \"fastfood\" now");
        other = config.clone();
        other.modes.swap(0, 1);
        assert_eq!(difference(&other).unwrap(), "`mode` was in another order");
    }

    #[test]
    fn what_no_sweep_can_have_is_refused_with_its_place() {
        refused(&["seeds=[]"], "`seeds` is empty, expected at least one");
        refused(&["seeds=[1, 2, 1]"], "`seeds` has `1` twice");
        refused(&["seeds=[-1]"], "invalid value");
        refused(&["intrinsic_dim=[8, 8]"], "`intrinsic_dim` has `8` twice");
        refused(&["mode=[]"], "`mode` is empty");
        refused(&["mode=[{ name = \"a\" }, { name = \"a\" }]"], "`mode` has `a` twice");
        refused(&["mode=[{ name = \"../a\" }]"], "`mode.name` is \"../a\", expected lower-case");
        refused(&["mode=[{ name = \"\" }]"], "`mode.name` is \"\"");
        refused(&["mode=[{ projector = {} }]"], "missing field `name`");
        refused(&["mode=[{ name = \"a\", intrinsic_dim = 3 }]"], "mode `a` sets `intrinsic_dim`");
        refused(&["run.seed=3"], "`run.seed` is set, which `seeds` of the sweep does");
        refused(&["run.sublora.intrinsic_dim=3"], "which `intrinsic_dim` of the sweep does");
        refused(&["run.sublora=3"], "`[run]`: invalid type: integer `3`");
        refused(&["budgets=[3]"], "unknown field `budgets`, expected one of `seeds`");
        refused(&["run.trian.steps=3"], "`[run]`: unknown field `trian`");
        refused(&["run.train.steps=0"], "`[run]`: `train.steps` is 0, expected at least 1");
        refused(
            &["mode=[{ name = \"a\", projektor = 3 }]"],
            "mode `a`: unknown field `projektor`, expected ",
        );
        refused(
            &["run.certify.configurations=9223372036854775807"],
            "`run.certify.configurations` is 9223372036854775807, expected a number of runs",
        );
    }
}
