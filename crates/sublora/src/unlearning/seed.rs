//! One seed of a study.

use std::path::PathBuf;

use burn::module::Module;
use burn::nn::LayerNorm;
use counter_rng::Key;
use gpt2_model::{Gpt2, LinearLayer, PlainGpt2};
use ortho_linear::{AnySelection, SplitConfig, Streams};
use serde::Serialize;
use subspace_projectors::Layout;

use super::config::{Candidate, Teaching, UnlearningConfig};
use super::exam::Exam;
use super::facts::Facts;
use super::fisher;
use super::layers::{Layer, Quantized, outliers, stored, values, with_values};
use super::mixture::{Goal, Mixture};
use super::pair::Pair;
use super::record::{Head, KeptMeasures, QuantizedRow, SeedRecord, SweepRow};
use super::study::UnlearningStudy;
use crate::atomic::FileError;
use crate::fisher::linear_layers;
use crate::run::Part;
use crate::spec::{BaseIdentity, arrange};
use crate::train::{Batch, Direct, Trainer};
use crate::{Error, Run};

/// What a seed works with.
pub(super) struct Seed<'a> {
    pub(super) study: &'a UnlearningStudy<'a>,
    pub(super) number: u64,
    pub(super) folder: PathBuf,
    /// The one that $M_0$ is the base of.
    pub(super) run: Run<'a>,
    pub(super) facts: Facts,
    pub(super) identity: BaseIdentity,
}

/// A training, and what it begins from.
#[derive(Serialize)]
struct Course<'a> {
    #[serde(skip)]
    name: &'a str,
    #[serde(skip)]
    goal: Goal,
    /// From the base on; the last is to be done.
    trainings: &'a [&'a Teaching],
    /// Where the outliers are that alone are taught.
    mask: Option<&'a AnySelection>,
}

/// What a checkpoint is of.
#[derive(Serialize)]
struct Spec<'a> {
    corpus: corpus::Sha256Hash,
    base: &'a BaseIdentity,
    seed: u64,
    facts: usize,
    #[serde(flatten)]
    course: &'a Course<'a>,
}

/// A model to be quantised.
struct Subject {
    name: String,
    ratio: Option<f64>,
    layers: Vec<Layer>,
}

impl Seed<'_> {
    fn config(&self) -> &UnlearningConfig {
        &self.study.config
    }

    /// What the measurements are of.
    fn head(&self) -> Result<Head, Error> {
        Ok(Head {
            version: Head::VERSION,
            seed: self.number,
            corpus: self.study.corpus.sha256(),
            settings: self.study.settings()?,
            base: self.identity.sha256(),
        })
    }

    /// Trains what is not trained yet, and measures everything.
    pub(super) fn measured(&self, base: &PlainGpt2) -> Result<SeedRecord, Error> {
        let config = self.config();
        let (corpus, tokens) = (self.study.corpus, config.retain_tokens);
        let exam = Exam::new(&self.facts, corpus, tokens, base.limits().1, self.number)?;
        let memorize = &config.memorize;
        let course =
            Course { name: "memorize", goal: Goal::Least, trainings: &[memorize], mask: None };
        let memorized = self.taught(&course, base.clone(), linear_layers(base)?)?;
        let rule = SplitConfig { storage: config.storage, ..SplitConfig::default() };
        let fisher = self.fisher(&memorized)?;
        let head = self.head()?;
        let kept = KeptMeasures::open(&self.folder, &head)?;
        let pair = Pair::new(rule, exam, &kept, base, &memorized, fisher)?;

        let mut subjects = Vec::new();
        for model in ["pretrained", "memorized"] {
            let layers = if model == "pretrained" { &pair.before } else { &pair.after };
            subjects.push(Subject { name: model.to_owned(), ratio: None, layers: layers.clone() });
        }
        for (name, teaching) in &config.unlearning {
            let goal = Goal::Reach(pair.pretrained.forget_nats);
            let course = Course { name, goal, trainings: &[memorize, teaching], mask: None };
            let model = self.taught(&course, memorized.clone(), linear_layers(base)?)?;
            let layers = stored(&model, &pair.rule)?;
            subjects.push(Subject { name: name.clone(), ratio: None, layers });
        }
        let (sweep, split) = self.sweep(&pair)?;
        subjects.extend(split);
        Ok(SeedRecord {
            head,
            retain_tokens: pair.exam.retain_tokens(),
            pretrained: pair.pretrained,
            memorized: pair.memorized,
            sweep,
            streams: self.streams(&pair, base)?,
            quantized: self.quantized(&pair, &subjects)?,
        })
    }

    /// `model` after a training of the weights of `layout`.
    fn taught<L: LinearLayer>(
        &self,
        course: &Course<'_>,
        model: Gpt2<L, LayerNorm>,
        layout: Layout,
    ) -> Result<Gpt2<L, LayerNorm>, Error> {
        let Some(&teaching) = course.trainings.last() else { return Ok(model) };
        let spec = Spec {
            corpus: self.study.corpus.sha256(),
            base: &self.identity,
            seed: self.number,
            facts: self.config().facts,
            course,
        };
        let model = arrange(model, &layout);
        let trainer = Trainer {
            config: &teaching.train,
            spec: toml::to_string(&spec).map_err(|error| Error::config(&error))?,
            folder: self.folder.join(course.name),
            now: self.study.now,
            progress: self.study.progress,
        };
        let data = self.study.data(&self.run, &teaching.train, self.number)?;
        let objective = Mixture { teaching, facts: &self.facts, goal: course.goal };
        let mut parameters = Direct::new(layout, &teaching.train);
        let resume = Trainer::steps_taken(&trainer.folder)?.is_some();
        if !resume && trainer.folder.exists() {
            // Of a run that was killed before its first checkpoint.
            let wrong = FileError::at("remove", &trainer.folder);
            std::fs::remove_dir_all(&trainer.folder).map_err(wrong)?;
        }
        Ok(trainer.run(course.name, model, &objective, &mut parameters, &data, resume)?.0)
    }

    /// What `fisher` selects by, layer by layer, if it is among the selections.
    fn fisher(&self, memorized: &PlainGpt2) -> Result<Option<Vec<Vec<f32>>>, Error> {
        let config = self.config();
        let is_fisher = |it: &Candidate| matches!(it.selection, AnySelection::Fisher(_));
        if !config.masks()?.iter().any(is_fisher) {
            return Ok(None);
        }
        let layout = linear_layers(memorized)?;
        let model = arrange(memorized.clone(), &layout);
        let data = self.run.data(&config.memorize.train, Part::Certified)?;
        let device = model.wte.weight.device();
        let window = |step| Batch::first_of(&data.train, step, 1, &device);
        let text: Vec<Batch> = (0..self.facts.statements.len() as u64).map(window).collect();
        let ratio = fisher::ratio(&model, &layout, &self.facts.statements, &text)?;
        Ok(Some(layout.tensors().iter().map(|it| ratio[it.range()].to_vec()).collect()))
    }

    /// Every mask and alpha; and what is left at $\alpha = 0$, but of controls.
    fn sweep(&self, pair: &Pair<'_>) -> Result<(Vec<SweepRow>, Vec<Subject>), Error> {
        let (alphas, masks) = (self.config().alphas()?, self.config().masks()?);
        let (mut rows, mut subjects) = (Vec::new(), Vec::new());
        let count = masks.len() * alphas.len();
        self.study.progress.begin("measure splits", "models", count as u64);
        for Candidate { selection, ratio, is_control } in masks {
            let splits = pair.split(|layer| self.drawn(selection.clone(), layer))?;
            for &alpha in &alphas {
                rows.push(SweepRow {
                    selection: selection.name().to_owned(),
                    is_control,
                    ratio,
                    captured: splits.captured,
                    outlier_bytes: splits.outlier_bytes(),
                    alpha: alpha.get(),
                    measures: pair.at(&splits, alpha, selection.name(), ratio)?,
                });
                self.update(rows.len())?;
            }
            if !is_control {
                let layers = splits.base(&pair.after, &pair.rule)?;
                let name = selection.name().to_owned();
                subjects.push(Subject { name, ratio: Some(ratio), layers });
            }
        }
        self.study.progress.end();
        Ok((rows, subjects))
    }

    /// A random mask is another one for each seed and layer.
    fn drawn(&self, selection: AnySelection, layer: &str) -> AnySelection {
        match selection {
            AnySelection::Random(mut random) => {
                let key = Key::from_seed(self.number).derive("mask").derive(layer);
                random.seed = key.index(random.seed).words(0).next().unwrap_or_default();
                random.into()
            }
            other => other,
        }
    }

    /// The facts taught to outliers alone, at every alpha. At 0 it is the base, to the bit.
    fn streams(&self, pair: &Pair<'_>, base: &PlainGpt2) -> Result<Vec<SweepRow>, Error> {
        let (config, mut rows) = (self.config(), Vec::new());
        let teaching = config.taught_to_streams();
        for Candidate { selection, ratio, .. } in config.streams()? {
            let splits = pair.empty(|layer| self.drawn(selection.clone(), layer))?;
            let stored = with_values(base, &pair.before, values(&pair.before));
            let model = splits.model(stored, &pair.before)?.train_outliers();
            let course = Course {
                name: &format!("stream-{ratio}"),
                goal: Goal::Least,
                trainings: &[&teaching],
                mask: Some(&selection),
            };
            let layout = outliers(&model)?;
            let model = self.taught(&course, model, layout)?.valid();
            for alpha in config.alphas()? {
                model.set_alpha(alpha);
                rows.push(SweepRow {
                    selection: selection.name().to_owned(),
                    is_control: false,
                    ratio,
                    captured: 1.0,
                    outlier_bytes: splits.outlier_bytes(),
                    alpha: alpha.get(),
                    measures: pair
                        .take(&format!("outliers, {ratio}, alpha {}", alpha.get()), || {
                            model.materialised()
                        })?,
                });
            }
        }
        Ok(rows)
    }

    /// Every subject, quantised by every base kind.
    fn quantized(&self, pair: &Pair<'_>, subjects: &[Subject]) -> Result<Vec<QuantizedRow>, Error> {
        let bases = &self.config().bases;
        let mut rows = Vec::new();
        let count = bases.len() * subjects.len();
        self.study.progress.begin("quantise and measure", "models", count as u64);
        for kind in bases {
            let memorized = Quantized::new(&pair.after, kind.as_dyn())?;
            for Subject { name, ratio, layers } in subjects {
                let quantized = Quantized::new(layers, kind.as_dyn())?;
                let key = format!("{}, {name}, {ratio:?}", kind.name());
                rows.push(QuantizedRow {
                    model: name.clone(),
                    ratio: *ratio,
                    base: kind.name().to_owned(),
                    moved: quantized.moved(&memorized)?,
                    measures: pair.ask(&key, || quantized.values())?,
                });
                self.update(rows.len())?;
            }
        }
        self.study.progress.end();
        Ok(rows)
    }

    fn update(&self, done: usize) -> Result<(), Error> {
        match self.study.progress.update(done as u64, "") {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }
}
