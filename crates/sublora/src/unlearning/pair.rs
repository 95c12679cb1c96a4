//! What a seed compares: a model before and after it was taught.

use burn::module::Module;
use gpt2_model::PlainGpt2;
use ortho_linear::{Alpha, AnySelection, Construction, SplitConfig};

use super::exam::Exam;
use super::layers::{Layer, Splits, stored, values, with_values};
use super::record::{KeptMeasures, Measures};
use crate::Error;

/// The base beside what it was taught, both as stored.
pub(super) struct Pair<'a> {
    pub(super) rule: SplitConfig,
    pub(super) exam: Exam<'a>,
    kept: &'a KeptMeasures,
    /// For what is not a linear layer, and never trained.
    model: PlainGpt2,
    pub(super) before: Vec<Layer>,
    pub(super) after: Vec<Layer>,
    pub(super) pretrained: Measures,
    pub(super) memorized: Measures,
    /// Of the layers of `after`, if a selection asks for it.
    fisher: Option<Vec<Vec<f32>>>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(
        rule: SplitConfig,
        exam: Exam<'a>,
        kept: &'a KeptMeasures,
        base: &PlainGpt2,
        memorized: &PlainGpt2,
        fisher: Option<Vec<Vec<f32>>>,
    ) -> Result<Self, Error> {
        let (before, after) = (stored(base, &rule)?, stored(memorized, &rule)?);
        let model = base.valid();
        let ask = |name: &str, layers: &[Layer]| {
            kept.take(name, || exam.take(&with_values(&model, layers, values(layers))))
        };
        let (pretrained, memorized) = (ask("pretrained", &before)?, ask("memorized", &after)?);
        Ok(Self { rule, exam, kept, model, before, after, pretrained, memorized, fisher })
    }

    /// What the model with these weights answers, unless an earlier run kept it under this name.
    pub(super) fn ask(
        &self,
        name: &str,
        values: impl FnOnce() -> Vec<Vec<f32>>,
    ) -> Result<Measures, Error> {
        self.take(name, || with_values(&self.model, &self.after, values()))
    }

    /// What a model answers, unless an earlier run kept it under this name.
    pub(super) fn take(
        &self,
        name: &str,
        model: impl FnOnce() -> PlainGpt2,
    ) -> Result<Measures, Error> {
        self.kept.take(name, || self.exam.take(&model()))
    }

    /// What fine-tuning changed on a mask, by a selection for each layer.
    pub(super) fn split(&self, selection: impl Fn(&str) -> AnySelection) -> Result<Splits, Error> {
        let rule = |layer: &Layer| self.rule_of(selection(&layer.name));
        Splits::new(&self.before, &self.after, self.fisher.as_deref(), rule)
    }

    /// Nothing yet on a mask of the base.
    pub(super) fn empty(&self, selection: impl Fn(&str) -> AnySelection) -> Result<Splits, Error> {
        let rule = |layer: &Layer| self.rule_of(selection(&layer.name));
        Splits::new(&self.before, &self.before, None, rule)
    }

    fn rule_of(&self, selection: AnySelection) -> SplitConfig {
        let (construction, selection) = (Construction::Delta, Some(selection));
        SplitConfig { construction, selection, ..self.rule.clone() }
    }

    pub(super) fn at(
        &self,
        splits: &Splits,
        alpha: Alpha,
        selection: &str,
        ratio: f64,
    ) -> Result<Measures, Error> {
        // The same bits: that is verified when a split is made.
        if alpha == Alpha::STORED {
            return Ok(self.memorized);
        }
        let name = format!("{selection}, {ratio}, alpha {}", alpha.get());
        self.ask(&name, || splits.at(alpha))
    }
}
