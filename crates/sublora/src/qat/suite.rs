//! Several methods on several seeds, so that they can be compared.
//!
//! | path | what |
//! |---|---|
//! | `suite.toml` | the configuration |
//! | `bases/seed-N/` | the run that pretrains the base of a seed, for all methods |
//! | `METHOD/seed-N/` | a [`QatRun`] |
//! | `METHOD-B/seed-N/` | of a method that is matched to another: training at B bits alone |

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use corpus::Corpus;
use precision_schedule::{Constant, ScheduleConfig, Widths};
use serde::{Deserialize, Serialize};

use super::config::QatConfig;
use super::method::{AnyQatMethod, Cyclic};
use super::{cost, record::QatRecord};
use crate::Error;
use crate::atomic::{self, FileError};
use crate::config::{BaseConfig, first_difference, read};

const CONFIG: &str = "suite.toml";

/// Methods and seeds, as they stand in a TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QatSuite {
    /// Of the runs.
    pub seeds: Vec<u64>,
    /// What all runs have in common: a [`QatConfig`].
    #[serde(default)]
    pub run: toml::Table,
    /// What each method has instead, by its name.
    pub methods: BTreeMap<String, toml::Table>,
    /// Trainings at one width, each with the BitOPs of a cyclic method: by the name of the family, that of
    /// the method.
    #[serde(default)]
    pub matched: BTreeMap<String, String>,
}

/// One run of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteRun {
    /// Folder of the run, in that of the suite.
    pub folder: PathBuf,
    /// Folder of the run that pretrains its base, in that of the suite.
    pub pretraining: PathBuf,
    /// What it does.
    pub config: QatConfig,
}

impl QatSuite {
    /// Reads a configuration and what overrides it, each `table.key=value`.
    ///
    /// # Errors
    /// The offending key.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let suite: Self = read(text, overrides)?;
        if suite.seeds.is_empty() || suite.methods.is_empty() {
            let reason = "`seeds` and `methods` have nothing, expected at least one each";
            return Err(Error::Config(reason.to_owned()));
        }
        Ok(suite)
    }

    /// Makes `folder` that of this suite.
    ///
    /// # Errors
    /// One that holds another suite.
    pub fn open(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(CONFIG);
        let ours = toml::Value::try_from(self).map_err(|error| Error::config(&error))?;
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(FileError::at("read", &path))?;
            let table: toml::Table = text.parse().map_err(|error| Error::config(&error))?;
            return match first_difference(&ours, &table.into()) {
                None => Ok(()),
                Some(difference) => {
                    Err(Error::OtherConfig { folder: folder.to_owned(), difference })
                }
            };
        }
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        let text = toml::to_string(self).map_err(|error| Error::config(&error))?;
        Ok(atomic::write(&path, text.as_bytes())?)
    }

    /// Every run, seed by seed. `vocab_size` is that of the corpus.
    ///
    /// # Errors
    /// A method whose configuration makes no sense, by name.
    pub fn runs(&self, vocab_size: usize) -> Result<Vec<SuiteRun>, Error> {
        let is_plain = |name: &str| {
            let known = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
            !name.is_empty() && name != "bases" && name.chars().all(known)
        };
        if let Some(name) = self.methods.keys().chain(self.matched.keys()).find(|it| !is_plain(it))
        {
            let expected = "letters, digits, `-` and `_`, and not `bases`: it names a folder";
            return Err(Error::value("methods", name, expected));
        }
        let mut runs: Vec<SuiteRun> = Vec::new();
        for &seed in &self.seeds {
            let named = |name: String, config| SuiteRun {
                folder: Path::new(&name).join(format!("seed-{seed}")),
                pretraining: Path::new("bases").join(format!("seed-{seed}")),
                config,
            };
            for name in self.methods.keys() {
                runs.push(named(name.clone(), self.method(name, seed)?));
            }
            for (family, method) in &self.matched {
                for config in self.static_runs(method, seed, vocab_size)? {
                    let (bits, config) = config;
                    runs.push(named(format!("{family}-{bits}"), config));
                }
            }
        }
        let mut folders: Vec<&Path> = runs.iter().map(|it| it.folder.as_path()).collect();
        folders.sort_unstable();
        match folders.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(runs),
            Some(pair) => {
                let folder = pair[0].display();
                let reason = format!("two runs of the suite would be `{folder}`: name them apart");
                Err(Error::Config(reason))
            }
        }
    }

    fn method(&self, name: &str, seed: u64) -> Result<QatConfig, Error> {
        let Some(own) = self.methods.get(name) else {
            let known: Vec<&String> = self.methods.keys().collect();
            let reason = format!("`matched` names the method `{name}`, expected one of {known:?}");
            return Err(Error::Config(reason));
        };
        let mut table = merged(self.run.clone(), own);
        let seed = i64::try_from(seed).map_err(|error| Error::config(&error))?;
        table.insert("seed".to_owned(), seed.into());
        let of_method = |error| Error::Config(format!("method `{name}`: {error}"));
        let config: QatConfig =
            table.try_into().map_err(|error| of_method(Error::config(&error)))?;
        config.validate().map_err(of_method)?;
        Ok(config)
    }

    /// For each width of a cyclic method, training at it alone, of as many BitOPs as the method's.
    fn static_runs(
        &self,
        method: &str,
        seed: u64,
        vocab_size: usize,
    ) -> Result<Vec<(u32, QatConfig)>, Error> {
        let config = self.method(method, seed)?;
        let AnyQatMethod::Cyclic(cyclic) = &config.method else {
            let reason = format!("`matched` names `{method}`, expected a cyclic method");
            return Err(Error::Config(reason));
        };
        if let BaseConfig::Checkpoint { .. } = config.base {
            let reason =
                "`matched` needs the shape of the model; take another base than a checkpoint";
            return Err(Error::Config(reason.to_owned()));
        }
        let shape = config.model.shape(vocab_size)?;
        let price = |config: &QatConfig| {
            let plan = config.method.as_dyn().plan(config)?;
            plan.map_or(Ok(0.0), |plan| cost::training(config, &shape, plan.as_ref()))
        };
        let budget = price(&config)?;
        let at = |&bits: &u32| {
            let widths = Widths::new([bits]).map_err(|error| Error::config(&error))?;
            let schedule = Constant { bits }.into();
            let precision = ScheduleConfig { widths, schedule };
            let mut fixed = config.clone();
            fixed.widths.retain(|width| u32::from(width.get()) == bits);
            fixed.method = Cyclic { precision, ..cyclic.clone() }.into();
            fixed.train.steps = 1;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a quotient of costs, which are above 0"
            )]
            let steps = NonZeroU64::new((budget / price(&fixed)?).round() as u64);
            fixed.train.steps = steps.unwrap_or(NonZeroU64::MIN).get();
            fixed.validate()?;
            Ok((bits, fixed))
        };
        let below_full =
            cyclic.precision.widths.as_slice().iter().filter(|&&bits| bits != Widths::FULL);
        below_full.map(at).collect()
    }
}

/// `table` with every value of `over` in its place, tables entry by entry.
fn merged(mut table: toml::Table, over: &toml::Table) -> toml::Table {
    for (key, value) in over {
        let value = match (table.remove(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                merged(below, above).into()
            }
            (_, value) => value.clone(),
        };
        table.insert(key.clone(), value);
    }
    table
}

/// The record of a run of a suite on `corpus`, if it is over.
///
/// # Errors
/// A file that is no record, or one on another corpus.
pub fn finished(folder: &Path, corpus: &Corpus) -> Result<Option<QatRecord>, Error> {
    match QatRecord::read(folder) {
        Ok(record) if record.corpus == corpus.sha256() => Ok(Some(record)),
        Ok(record) => Err(Error::OtherCorpus {
            folder: folder.to_owned(),
            expected: record.corpus,
            found: corpus.sha256(),
        }),
        Err(Error::Unfinished { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
