//! An unlearning study as it stands in a TOML file.

use std::collections::{BTreeMap, HashSet};

use ortho_linear::{Alpha, AnyBase, AnySelection, Matrix, Signals, Storage};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::{BaseConfig, ModelConfig, TrainConfig, read};

/// What is taught, split, unlearned and quantised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnlearningConfig {
    /// Of the runs: base, facts, masks.
    pub seeds: Vec<u64>,
    /// Shape of the model.
    pub model: ModelConfig,
    /// $M_0$.
    pub base: BaseConfig,
    /// Facts in the forget set.
    pub facts: usize,
    /// Held-out tokens that losses on text are measured on, at least: of every other document of the validation
    /// split. Those between choose the steps of the trainings.
    pub retain_tokens: u64,
    /// From $M_0$ to $M_1$.
    pub memorize: Teaching,
    /// The type that weights are stored in, and differences taken of.
    pub storage: Storage,
    /// Masks that may forget, without their `ratio`. They are quantised, too. What `fisher` is given is the
    /// ratio of the information of the facts to that of text.
    pub selections: Vec<toml::Table>,
    /// Masks of the same size to compare them with.
    pub controls: Vec<toml::Table>,
    /// Shares of the weights of a layer that are outliers.
    pub ratios: Vec<f64>,
    /// What is measured at. 0 is always.
    pub alphas: Vec<f32>,
    /// Whether `alphas` may lie outside 0 to 1.
    pub extrapolate: bool,
    /// Teaching the outliers alone, on a mask that is drawn before.
    pub streams: StreamConfig,
    /// Trainings from $M_1$ that unlearn, by name.
    pub unlearning: BTreeMap<String, Teaching>,
    /// Base kinds that models are quantised with.
    pub bases: Vec<AnyBase>,
}

/// Facts that are taught to the outlier stream: the base stays $M_0$.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// Where the outliers are: a selection that needs nothing but $W_0$, without its `ratio`.
    pub selection: toml::Table,
    /// Shares of the weights of a layer; none for no such training.
    pub ratios: Vec<f64>,
    /// The loop, if it is not that of `memorize`: few weights want larger steps.
    pub train: Option<TrainConfig>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { selection: kind("random"), ratios: vec![0.005, 0.05], train: None }
    }
}

/// Facts that a study may teach.
const MOST_FACTS: usize = 4_096;

fn kind(name: &str) -> toml::Table {
    toml::Table::from_iter([("kind".to_owned(), name.into())])
}

/// `table` as a selection of this ratio.
fn selection(
    table: &toml::Table,
    ratio: f64,
    [key, ratios]: [&str; 2],
) -> Result<AnySelection, Error> {
    if !(0.0..=1.0).contains(&ratio) {
        return Err(Error::value(ratios, &ratio, "0 to 1"));
    }
    let mut table = table.clone();
    if table.insert("ratio".to_owned(), ratio.into()).is_some() {
        return Err(Error::Config(format!(
            "`{key}` have a `ratio`, expected it in `{ratios}` alone"
        )));
    }
    let reason = |error: toml::de::Error| Error::Config(format!("`{key}`: {}", error.message()));
    table.try_into().map_err(reason)
}

/// A mask to be made of every layer.
pub(super) struct Candidate {
    pub(super) selection: AnySelection,
    pub(super) ratio: f64,
    pub(super) is_control: bool,
}

/// A training on facts and text: $\ell = a\,L_F + b\,L_R$.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Teaching {
    /// $a$, below 0 for an ascent.
    pub forget: f64,
    /// $b$.
    pub retain: f64,
    /// The loop. A row of a batch has a window of text and a fact.
    pub train: TrainConfig,
}

impl Default for Teaching {
    fn default() -> Self {
        Self { forget: 1.0, retain: 1.0, train: TrainConfig::default() }
    }
}

/// The three masks of the comparison and the three trainings that are usual.
impl Default for UnlearningConfig {
    fn default() -> Self {
        let base =
            TrainConfig { eval_every: TrainConfig::default().steps, ..TrainConfig::default() };
        let training = |forget, retain| Teaching { forget, retain, ..Teaching::default() };
        let unlearning = [
            ("gradient-ascent", training(-1.0, 0.0)),
            ("gradient-difference", training(-1.0, 1.0)),
            ("fine-tuning", training(0.0, 1.0)),
        ];
        Self {
            seeds: vec![1, 2, 3],
            model: ModelConfig::default(),
            base: BaseConfig::PriorSplit { fraction: 0.5, train: Box::new(base) },
            facts: 64,
            retain_tokens: 4_096,
            memorize: Teaching::default(),
            storage: Storage::F16,
            selections: vec![kind("memory-delta")],
            controls: ["random", "magnitude"].map(kind).to_vec(),
            ratios: vec![0.001, 0.005, 0.01, 0.05, 0.1],
            alphas: vec![0.0, 0.25, 0.5, 0.75, 1.0],
            extrapolate: false,
            streams: StreamConfig::default(),
            unlearning: unlearning.map(|(name, it)| (name.to_owned(), it)).into(),
            bases: vec![
                AnyBase::default(),
                ortho_linear::Int8::default().into(),
                ortho_linear::Int4::default().into(),
            ],
        }
    }
}

impl UnlearningConfig {
    /// Reads a configuration and what overrides it, each `table.key=value`.
    ///
    /// # Errors
    /// The offending key.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, Error> {
        let config: Self = read(text, overrides)?;
        config.validate()?;
        Ok(config)
    }

    /// Alpha at each place of the sweep: 0 first, then what is configured.
    ///
    /// # Errors
    /// One outside 0 to 1, unless extrapolations are asked for.
    pub(super) fn alphas(&self) -> Result<Vec<Alpha>, Error> {
        let new = if self.extrapolate { Alpha::extrapolated } else { Alpha::new };
        let mut alphas = vec![Alpha::BASE];
        for &alpha in &self.alphas {
            let alpha = new(alpha).map_err(|error| Error::Config(format!("`alphas`: {error}")))?;
            if !alphas.contains(&alpha) {
                alphas.push(alpha);
            }
        }
        alphas.sort_by(|a, b| a.get().total_cmp(&b.get()));
        Ok(alphas)
    }

    /// Every mask, selection by selection, controls last. One of all weights is the same whatever selects it:
    /// the first selection has it.
    ///
    /// # Errors
    /// An unknown kind or key, or a selection without a ratio.
    pub(super) fn masks(&self) -> Result<Vec<Candidate>, Error> {
        let mut masks = Vec::new();
        for (place, table) in self.selections.iter().chain(&self.controls).enumerate() {
            for &ratio in self.ratios.iter().filter(|&&it| place == 0 || it < 1.0) {
                let is_control = place >= self.selections.len();
                let key = if is_control { "controls" } else { "selections" };
                let selection = selection(table, ratio, [key, "ratios"])?;
                masks.push(Candidate { selection, ratio, is_control });
            }
        }
        Ok(masks)
    }

    /// The masks that are taught alone.
    ///
    /// # Errors
    /// As [`masks`](Self::masks).
    pub(super) fn streams(&self) -> Result<Vec<Candidate>, Error> {
        let StreamConfig { selection: table, ratios, .. } = &self.streams;
        let mask = |&ratio: &f64| {
            let selection = selection(table, ratio, ["streams", "streams.ratios"])?;
            Ok(Candidate { selection, ratio, is_control: false })
        };
        ratios.iter().map(mask).collect()
    }

    /// Errs at what is there twice: results go by its name.
    fn check_unique(&self) -> Result<(), Error> {
        let kind = |it: &toml::Table| it.get("kind").map_or_else(String::new, ToString::to_string);
        let lists: [(&str, Vec<String>); 5] = [
            ("seeds", self.seeds.iter().map(ToString::to_string).collect()),
            ("ratios", self.ratios.iter().map(ToString::to_string).collect()),
            ("streams.ratios", self.streams.ratios.iter().map(ToString::to_string).collect()),
            (
                "selections` and `controls",
                self.selections.iter().chain(&self.controls).map(kind).collect(),
            ),
            ("bases", self.bases.iter().map(|it| it.name().to_owned()).collect()),
        ];
        for (key, names) in lists {
            let mut seen = HashSet::new();
            if let Some(name) = names.iter().find(|it| !seen.insert(*it)) {
                return Err(Error::Config(format!("`{key}` have {name} twice, expected it once")));
            }
        }
        Ok(())
    }

    /// Tries every mask on two small matrices.
    ///
    /// # Errors
    /// A selection that asks for what a study does not measure.
    pub(super) fn rehearse_masks(&self) -> Result<(), Error> {
        let reason = |key: &str| {
            let key = key.to_owned();
            move |error: ortho_linear::OrthoError| Error::Config(format!("`{key}`: {error}"))
        };
        let (before, after) = ([0.5, -1.0, 0.25, 2.0], [0.5, 1.0, -0.25, 1.0]);
        let matrix = |values| Matrix::new(values, [2, 2]);
        for Candidate { selection, is_control, .. } in self.masks()? {
            let reason = reason(if is_control { "controls" } else { "selections" });
            let signals = Signals::of(matrix(&after).map_err(&reason)?);
            let signals = matrix(&before).and_then(|it| signals.with_pretrained(it));
            let signals = signals.and_then(|it| it.with_fisher(&[1.0; 4])).map_err(&reason)?;
            selection.as_dyn().select(&signals).map_err(&reason)?;
        }
        for Candidate { selection, .. } in self.streams()? {
            let reason = reason("streams");
            let signals = Signals::of(matrix(&before).map_err(&reason)?);
            selection.as_dyn().select(&signals).map_err(&reason)?;
        }
        Ok(())
    }

    /// Errs at the first value that no study can have.
    fn validate(&self) -> Result<(), Error> {
        let lists = [
            ("seeds", self.seeds.len()),
            ("selections", self.selections.len()),
            ("ratios", self.ratios.len()),
            ("bases", self.bases.len()),
        ];
        if let Some((key, _)) = lists.iter().find(|it| it.1 == 0) {
            return Err(Error::Config(format!("`{key}` is empty, expected at least one")));
        }
        if !(1..=MOST_FACTS).contains(&self.facts) {
            return Err(Error::value("facts", &self.facts, &format!("1 to {MOST_FACTS}")));
        }
        if self.retain_tokens == 0 {
            return Err(Error::value("retain_tokens", &0, "at least 1"));
        }
        if self.storage == Storage::F32 {
            let expected = "f16 or bf16: differences of f32 need not be numbers";
            return Err(Error::value("storage", &self.storage, expected));
        }
        self.check_unique()?;
        self.alphas()?;
        self.masks()?;
        self.streams()?;
        for (name, teaching) in self.trainings() {
            let table = format!("{name}.train");
            teaching.train.validate(&table)?;
            for (key, weight) in [("forget", teaching.forget), ("retain", teaching.retain)] {
                if !weight.is_finite() {
                    return Err(Error::value(&format!("{name}.{key}"), &weight, "a number"));
                }
            }
            if (teaching.forget, teaching.retain) == (0.0, 0.0) {
                return Err(Error::value(
                    &name,
                    &"a training without loss",
                    "`forget` or `retain`",
                ));
            }
        }
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        let taken = ["base", "memorize", "pretrained", "memorized", ""];
        let is_plain = |name: &&String| {
            let is_mask = AnySelection::NAMES.contains(&name.as_str());
            let is_taken = is_mask || taken.contains(&name.as_str()) || name.starts_with("stream-");
            !is_taken && name.chars().all(plain)
        };
        match self.unlearning.keys().find(|it| !is_plain(it)) {
            None => Ok(()),
            Some(name) => {
                let expected = "letters, digits, `-` and `_`, and no other folder of a run or mask";
                Err(Error::value("unlearning", name, expected))
            }
        }
    }

    /// The training of the outliers alone.
    pub(super) fn taught_to_streams(&self) -> Teaching {
        let train = self.streams.train.as_ref().unwrap_or(&self.memorize.train);
        Teaching { train: train.clone(), ..self.memorize }
    }

    /// Every training but that of the base, by the name of its table.
    pub(super) fn trainings(&self) -> impl Iterator<Item = (String, Teaching)> {
        let first = [("memorize", self.memorize.clone()), ("streams", self.taught_to_streams())];
        let first = first.into_iter().map(|(name, it)| (name.to_owned(), it));
        let named = |(name, it): (&String, &Teaching)| (format!("unlearning.{name}"), it.clone());
        first.chain(self.unlearning.iter().map(named))
    }
}
