//! The page: its head, the trainings, and what was run.

use std::collections::{BTreeMap, BTreeSet};

use report::{Axis, Look, Mark, Page, Panel, Panels, Section, Series, Svg, Table, significant};
use serde::{Deserialize, Serialize};

use super::QatComparison;
use super::methods::Learned;
use super::runs::ComparedRun;
use crate::Error;

/// What the runs of a label were.
#[derive(Serialize, Deserialize)]
struct Trained {
    label: String,
    kind: String,
    seeds: String,
    steps: Option<u64>,
    #[serde(rename = "tokens per step")]
    tokens_per_step: Option<u64>,
    #[serde(rename = "passes that learned, by width")]
    passes: String,
    #[serde(rename = "trained parameters")]
    parameters: Option<u64>,
    #[serde(rename = "training BitOPs")]
    bit_ops: Option<f64>,
}

/// A setting that not all labels have in common.
#[derive(Serialize, Deserialize)]
struct OwnSetting {
    label: String,
    setting: String,
    value: String,
}

/// One that they have.
#[derive(Serialize, Deserialize)]
struct CommonSetting {
    setting: String,
    value: String,
}

impl QatComparison {
    pub(super) fn page(&self) -> Result<Page, Error> {
        let mut page = Page::new("Quantisation-aware training: methods beside one another");
        for finding in self.findings() {
            page = page.summary(finding);
        }
        if !self.left_out.is_empty() {
            let folders: Vec<String> =
                self.left_out.iter().map(|it| it.display().to_string()).collect();
            page = page.summary(format!("Not over, and left out: {}.", folders.join(", ")));
        }
        let seeds: BTreeSet<u64> = self.runs.iter().map(ComparedRun::seed).collect();
        page = page
            .key_figure("methods", self.methods().len().to_string())
            .key_figure("runs", self.runs.len().to_string())
            .key_figure("seeds", seeds.len().to_string());
        if let Some(base) = self.base_loss() {
            page = page.key_figure("unquantised base, nats per token", significant(base, 4));
        }
        Ok(page
            .section(self.loss_section()?)
            .section(self.difference_section()?)
            .section(self.training_section())
            .section(self.bit_ops_section())
            .section(self.setting_section()?))
    }

    /// Width and loss over the steps of every method whose width changes between them.
    fn training_section(&self) -> Section {
        let section = Section::new("Precision and loss over the training");
        let cycles = |run: &&ComparedRun| {
            let widths: BTreeSet<_> = run.steps.iter().filter_map(|it| it.bits).collect();
            widths.len() > 1
        };
        let methods = self.methods();
        let several = methods.iter().filter(|it| it.learned == Learned::SeveralWidths);
        let runs: Vec<&ComparedRun> =
            several.filter_map(|it| it.runs.first().copied()).filter(cycles).collect();
        if runs.is_empty() {
            return section.prose("No method has a width that changes from step to step.");
        }
        let section = section.prose(
            "One seed of each method whose width changes from step to step. The loss of a step is that of \
             its batch at its width, before the step; the held-out loss is that of the training's own \
             windows, at each width that the run has, whatever the step was at.",
        );
        runs.into_iter().fold(section, |section, run| section.chart(over_time(run), ""))
    }

    fn setting_section(&self) -> Result<Section, Error> {
        let labels: Vec<&[ComparedRun]> = self.runs.chunk_by(|a, b| a.label == b.label).collect();
        let trained: Vec<Trained> = labels.iter().filter_map(|it| trained(it)).collect();
        let mut bases = BTreeMap::<String, BTreeSet<u64>>::new();
        for run in &self.runs {
            let base = run.record.base.map_or("random".to_owned(), |it| it.to_string());
            bases.entry(base).or_default().insert(run.seed());
        }
        let corpus = self.runs.first().map(|it| it.record.corpus.to_string()).unwrap_or_default();
        let texts: Vec<String> = self.texts.iter().map(ToString::to_string).collect();
        let (own, common) = settings(&labels);
        let folded = Section::new("All other settings")
            .table(&Table::from_rows(&own)?, "Those in which labels differ")
            .table(&Table::from_rows(&common)?, "Those of all, of the first seed");
        let mut section = Section::new("Settings and provenance")
            .table(&Table::from_rows(&trained)?, "Trainings, BitOPs of the first seed")
            .prose(format!("Evaluated were {}.", texts.join("; and ")))
            .prose(format!("Hash of the corpus: {corpus}"));
        for (base, seeds) in bases {
            let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
            let of_seeds = if seeds.len() == 1 { "seed" } else { "seeds" };
            let seeds = seeds.join(", ");
            section =
                section.prose(format!("Hash of the base with the {of_seeds} {seeds}: {base}"));
        }
        Ok(section.details(folded))
    }
}

/// Loss over held-out loss over width.
fn over_time(run: &ComparedRun) -> Svg {
    let steps = || run.steps.iter();
    let batch = steps().map(|it| (it.step as f64, it.nats));
    let width = steps().map(|it| (it.step as f64, it.bits.map_or(f64::NAN, |it| it.get().into())));
    let widths: BTreeSet<u8> = steps().filter_map(|it| Some(it.bits?.get())).collect();
    let last = run.held_out.len().saturating_sub(1).max(1) as f64;
    let held_out = run.held_out.iter().enumerate().map(|(place, (bits, curve))| {
        let points = curve.iter().map(|&(step, nats)| (step as f64, nats));
        let look = Look::Ramp(place as f64 / last);
        Series::new(format!("held out, {bits} bits"), Mark::Line, points).look(look)
    });
    let (training, precision) = (
        Series::new("training", Mark::Line, batch).look(Look::Ink),
        Series::new("width of the step", Mark::Steps, width).look(Look::Number(1)),
    );
    let chart = Panels {
        title: format!("“{}”, seed {}", run.label, run.seed()),
        x: Axis::linear("step"),
        panels: vec![
            Panel {
                y: Axis::linear("bits").with_ticks(widths.into_iter().map(f64::from)),
                series: vec![precision],
                height: 110,
                ..Panel::default()
            },
            Panel { y: Axis::linear("training, nats"), series: vec![training], ..Panel::default() },
            Panel {
                y: Axis::linear("held out, nats"),
                series: held_out.collect(),
                ..Panel::default()
            },
        ],
        ..Panels::default()
    };
    chart.to_svg()
}

/// Of the runs of a label.
fn trained(runs: &[ComparedRun]) -> Option<Trained> {
    let first = runs.first()?;
    let seeds: Vec<String> = runs.iter().map(|it| it.seed().to_string()).collect();
    let training = first.record.training.as_ref();
    let passes = training.into_iter().flat_map(|it| &it.passes);
    let passes: Vec<String> = passes.map(|(bits, count)| format!("{bits}: {count}")).collect();
    Some(Trained {
        label: first.label.clone(),
        kind: first.record.method.clone(),
        seeds: seeds.join(", "),
        steps: training.map(|it| it.steps),
        tokens_per_step: training.map(|it| it.tokens_per_step),
        passes: passes.join(", "),
        parameters: training.map(|it| it.parameters),
        bit_ops: training.map(|it| it.bit_ops),
    })
}

/// Of the first seed of each label: what not all have in common, and what they have.
fn settings(labels: &[&[ComparedRun]]) -> (Vec<OwnSetting>, Vec<CommonSetting>) {
    let first: Vec<&ComparedRun> = labels.iter().filter_map(|it| it.first()).collect();
    let is_common = |key: &str| {
        let mut values = first.iter().map(|it| it.settings.get(key));
        let one = values.next();
        values.all(|it| Some(it) == one)
    };
    let (mut own, mut common) = (Vec::new(), BTreeMap::new());
    for run in &first {
        for (key, value) in &run.settings {
            if is_common(key) {
                common.insert(key, value);
            } else {
                let (label, setting, value) = (run.label.clone(), key.clone(), value.clone());
                own.push(OwnSetting { label, setting, value });
            }
        }
    }
    let of_all = |(setting, value): (&String, &String)| {
        let (setting, value) = (setting.clone(), value.clone());
        CommonSetting { setting, value }
    };
    (own, common.into_iter().map(of_all).collect())
}
