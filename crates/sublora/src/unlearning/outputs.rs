//! The files of a report: tables, and a page with charts.

use std::path::Path;

use report::{Axis, Look, Mark, Page, Reference, Section, Series, Size, Table, TableView, XyChart};
use serde::{Deserialize, Serialize};

use super::record::{Measures, SeedRecord};
use super::summary::{FORGOTTEN, Forgetting, UnlearningReport};
use crate::Error;
use crate::atomic::{self, FileError};

/// What a person sees of a split.
#[derive(Serialize, Deserialize)]
struct SplitLine {
    mask: String,
    #[serde(rename = "weights, %")]
    ratio: f64,
    #[serde(rename = "change, %")]
    captured: Option<f64>,
    alpha: Option<f64>,
    #[serde(rename = "facts, perplexity")]
    forget: f64,
    #[serde(rename = "forgotten, %")]
    forgotten: f64,
    forgotten_sd: Option<f64>,
    #[serde(rename = "recall, %")]
    recall: f64,
    #[serde(rename = "paraphrases, perplexity")]
    paraphrase: f64,
    #[serde(rename = "text, perplexity")]
    retain: f64,
    #[serde(rename = "text, change %")]
    change: f64,
    change_sd: Option<f64>,
}

/// What a person sees of a quantised model.
#[derive(Serialize, Deserialize)]
struct QuantizedLine {
    model: String,
    base: String,
    #[serde(rename = "recall, %")]
    recall: f64,
    recall_sd: Option<f64>,
    #[serde(rename = "forgotten, %")]
    forgotten: f64,
    #[serde(rename = "facts, perplexity")]
    forget: f64,
    #[serde(rename = "text, perplexity")]
    retain: f64,
    #[serde(rename = "weights moved, %")]
    moved: Option<f64>,
}

/// What a chart shows of a row.
type Value = fn(&Forgetting) -> f64;
/// Its logarithm, of what was measured.
type Nats = fn(Measures) -> f64;
/// One of the two models between which everything lies.
type End = fn(&SeedRecord) -> Measures;

fn percent(share: f64) -> f64 {
    share * 100.0
}

impl UnlearningReport {
    /// Writes `report.html`, `sweep.csv`, `streams.csv` and `quantized.csv` to `folder`: all of them or none. Equal studies
    /// are equal bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let files = [
            ("sweep.csv", Table::from_rows(&self.sweep())?.to_csv()?),
            ("streams.csv", Table::from_rows(&self.streams())?.to_csv()?),
            ("quantized.csv", Table::from_rows(&self.quantized())?.to_csv()?),
            ("report.html", self.page()?.to_html().into_bytes()),
        ];
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        Ok(atomic::write_all(folder, &files)?)
    }

    fn page(&self) -> Result<Page, Error> {
        let mut page = Page::new("Base and outliers: forgetting by alpha");
        for finding in self.findings() {
            page = page.summary(finding);
        }
        let tokens = self.mean(|it| it.retain_tokens as f64);
        Ok(page
            .key_figure("seeds", self.records.len().to_string())
            .key_figure("facts", self.config.facts.to_string())
            .key_figure("held-out tokens", format!("{tokens:.0}"))
            .key_figure(
                "recall of the taught model",
                percent_of(self.mean(|it| it.memorized.recall)),
            )
            .key_figure("recall before", percent_of(self.mean(|it| it.pretrained.recall)))
            .section(self.alpha_section())
            .section(self.ratio_section()?)
            .section(self.stream_section()?)
            .section(self.quantized_section()?))
    }

    /// Over the seeds.
    fn mean(&self, value: impl Fn(&SeedRecord) -> f64) -> f64 {
        self.records.iter().map(value).sum::<f64>() / self.records.len() as f64
    }

    /// A chart of facts and one of text for each ratio.
    fn alpha_section(&self) -> Section {
        let rows = self.sweep();
        let mut section = Section::new("Perplexity against alpha").prose(
            "At alpha = 1 every split is the taught model. At alpha = 0 it is without the changes on its \
             mask. Means over the seeds, in log perplexity.",
        );
        for &ratio in &self.config.ratios {
            let kinds: [(&str, Value, Nats); 2] = [
                ("facts", |it| it.forget_perplexity, |it| it.forget_nats),
                ("text", |it| it.retain_perplexity, |it| it.retain_nats),
            ];
            for (what, value, nats) in kinds {
                let series = self.masks().into_iter().enumerate().map(|(place, mask)| {
                    let at = |it: &&Forgetting| it.model == mask && it.ratio == Some(ratio);
                    let points = rows.iter().filter(at);
                    let points = points.map(|it| (f64::from(it.alpha.unwrap_or(0.0)), value(it)));
                    Series::new(&mask, Mark::LineAndPoints, points).look(Look::Number(place))
                });
                let mut chart = XyChart {
                    title: format!("{what}, {} % of the weights", percent(ratio)),
                    x: Axis::linear("alpha"),
                    y: Axis::log(format!("perplexity of {what}")),
                    series: series.collect(),
                    size: Size::HALF,
                    ..XyChart::default()
                };
                let ends: [(&str, End); 2] =
                    [("untaught", |it| it.pretrained), ("taught", |it| it.memorized)];
                for (label, end) in ends {
                    let at = self.mean(|it| nats(end(it))).exp();
                    chart.references.push(Reference::Horizontal { at, label: label.into() });
                }
                section = section.chart(chart.to_svg(), "");
            }
        }
        section
    }

    fn ratio_section(&self) -> Result<Section, Error> {
        let rows = self.sweep();
        let base = |it: &&Forgetting| it.alpha == Some(0.0);
        let series = self.masks().into_iter().enumerate().map(|(place, mask)| {
            let points = rows.iter().filter(base).filter(|it| it.model == mask);
            let points = points.map(|it| (percent(it.ratio.unwrap_or(0.0)), percent(it.forgotten)));
            Series::new(&mask, Mark::LineAndPoints, points).look(Look::Number(place))
        });
        let chart = XyChart {
            title: "Forgotten at alpha = 0".to_owned(),
            x: Axis::log("weights on the mask, %"),
            y: Axis::linear("forgotten, %"),
            series: series.collect(),
            references: vec![Reference::Horizontal {
                at: percent(FORGOTTEN),
                label: "asked for".to_owned(),
            }],
            size: Size::WIDE,
        };
        let at_base = split_table(rows.iter().filter(base))?;
        let all = split_table(rows.iter())?;
        Ok(Section::new("Size of the mask")
            .prose("A mask of all weights is the untaught model: the upper end of what a split can forget.")
            .chart(chart.to_svg(), "")
            .table(at_base, "At alpha = 0: mean ± standard deviation over the seeds")
            .details(Section::new("All alphas").table(all, "")))
    }

    fn stream_section(&self) -> Result<Section, Error> {
        let section = Section::new("Taught to the outliers alone");
        let rows = self.streams();
        if rows.is_empty() {
            return Ok(section.prose("No ratio was configured."));
        }
        let section = section.prose(
            "The base stays the untaught model and a mask is drawn before anything is taught; the facts can \
             only go where alpha removes them. Shares are of the way from the model that was taught with all \
             its weights back to the untaught one.",
        );
        Ok(section.table(split_table(rows.iter())?, "Mean ± standard deviation over the seeds"))
    }

    fn quantized_section(&self) -> Result<Section, Error> {
        let shown = |it: &Forgetting| QuantizedLine {
            model: label(it),
            base: it.base.clone().unwrap_or_default(),
            recall: percent(it.recall),
            recall_sd: it.recall_sd.map(percent),
            forgotten: percent(it.forgotten),
            forget: it.forget_perplexity,
            retain: it.retain_perplexity,
            moved: it.moved.map(percent),
        };
        let rows: Vec<QuantizedLine> = self.quantized().iter().map(shown).collect();
        let view = TableView::new(&Table::from_rows(&rows)?).spread("recall, %", "recall_sd")?;
        Ok(Section::new("Quantised after forgetting")
            .prose(
                "Splits are at alpha = 0. Weights moved are those with another code than in the taught \
                 model quantised the same way, whatever the scales of both: no prediction of what comes back.",
            )
            .table(view, "Mean ± standard deviation over the seeds"))
    }

    /// The selections, in order.
    fn masks(&self) -> Vec<String> {
        let mut masks: Vec<String> = Vec::new();
        for row in self.sweep() {
            if !masks.contains(&row.model) {
                masks.push(row.model);
            }
        }
        masks
    }
}

fn split_table<'a>(rows: impl Iterator<Item = &'a Forgetting>) -> Result<TableView, Error> {
    let shown = |it: &Forgetting| SplitLine {
        mask: it.model.clone(),
        ratio: percent(it.ratio.unwrap_or(0.0)),
        captured: it.captured.map(percent),
        alpha: it.alpha.map(f64::from),
        forget: it.forget_perplexity,
        forgotten: percent(it.forgotten),
        forgotten_sd: it.forgotten_sd.map(percent),
        recall: percent(it.recall),
        paraphrase: it.paraphrase_perplexity,
        retain: it.retain_perplexity,
        change: percent(it.retain_change),
        change_sd: it.retain_change_sd.map(percent),
    };
    let view = TableView::new(&Table::from_rows(&rows.map(shown).collect::<Vec<_>>())?);
    Ok(view.spread("forgotten, %", "forgotten_sd")?.spread("text, change %", "change_sd")?)
}

fn percent_of(share: f64) -> String {
    format!("{:.1} %", percent(share))
}

/// A model, with the size of its mask if it has one.
pub(super) fn label(it: &Forgetting) -> String {
    match it.ratio {
        Some(ratio) => format!("{}, {} %", it.model, percent(ratio)),
        None => it.model.clone(),
    }
}
