//! The report as a page that explains itself.

use ortho_linear::{AnyBase, Construction};
use report::{Axis, BarChart, CategorySeries, DotPlot, Page, Section, significant};

use super::{LayerDiagnosis, OrthoReport};

/// What a person sees of a layer.
const SHOWN: [&str; 12] = [
    "layer",
    "d_in",
    "d_out",
    "predicted",
    "error",
    "clipping",
    "steps",
    "mask",
    "shrinkage",
    "isotropic_outputs",
    "text_outputs",
    "remark",
];

/// Of its size.
const SIZES: [&str; 5] = ["layer", "density", "captured", "base_bytes", "outlier_bytes"];

impl OrthoReport {
    pub(super) fn page(&self) -> Result<Page, report::Error> {
        let refused = self.refused().count();
        let inert = self.layers.iter().filter(|it| it.diagnosis.inert.is_some()).count();
        let [base, outliers] = self.bytes();
        let share = |bytes: u64| {
            let stored = self.stored_bytes() as f64;
            format!("{} %", significant(100.0 * bytes as f64 / stored, 3))
        };
        let page = Page::new(format!("Bases of {}", self.checkpoint))
            .summary(format!(
                "{} of {} matrices are refused: without its outliers, at alpha = 0, the base of each loses more than \
                 {} % of the norm of its weights{}.",
                refused,
                self.layers.len(),
                significant(100.0 * self.settings.budget, 3),
                if self.inputs.is_some() { ", or of its outputs on the text" } else { "" }
            ))
            .summary(self.split_in_words())
            .summary(self.cast_in_words())
            .summary(self.inputs_in_words())
            .key_figure("layers", self.layers.len().to_string())
            .key_figure("refused", refused.to_string())
            .key_figure("alpha inert", inert.to_string())
            .key_figure("bases, of the stored bytes", share(base))
            .key_figure("outliers, of the stored bytes", share(outliers));
        Ok(page
            .section(self.verdict_section()?)
            .section(self.channels_section())
            .section(self.rules_section()?)
            .section(self.sizes_section()?)
            .section(
                Section::new("What was left out")
                    .table(&self.left_out_table()?, "Every other tensor"),
            ))
    }

    /// The split that was made, in a sentence.
    pub fn split_in_words(&self) -> String {
        let split = &self.settings.split;
        let base = match split.construction {
            Construction::Residual => format!("`residual` of a base `{}`", split.base.name()),
            Construction::Extract => "`extract`".to_owned(),
            Construction::Clamp => "`clamp`".to_owned(),
            Construction::Delta => "`delta`".to_owned(),
        };
        let selection = match &split.selection {
            None if split.construction == Construction::Residual
                && matches!(split.base, AnyBase::Bulk(_)) =>
            {
                "those outside its quantiles".to_owned()
            }
            None => "those of the largest magnitude, half a percent".to_owned(),
            Some(selection) => format!("those of `{}`", selection.name()),
        };
        format!(
            "The split is {base}, of weights stored as {}; the outliers are {selection}.",
            split.storage
        )
    }

    /// What the cast to the storage type loses of the weights in the checkpoint, in a sentence.
    pub fn cast_in_words(&self) -> String {
        let storage = self.settings.split.storage;
        let lossy = self.layers.iter().rev().filter(|it| it.cast > 0.0); // of equal ones, the first
        let worst = lossy.max_by(|a, b| a.cast.total_cmp(&b.cast));
        match worst {
            None => format!("Stored as {storage}, all weights are those of the checkpoint."),
            Some(layer) => format!(
                "Stored as {storage}, weights lose at most {} % of their norm, in `{}`; errors are of what is stored.",
                report::significant(100.0 * layer.cast, 3),
                layer.name
            ),
        }
    }

    /// What outputs are of, in a sentence.
    pub fn inputs_in_words(&self) -> String {
        let tokens = self.settings.tokens;
        match &self.inputs {
            None => format!(
                "Outputs are of {tokens} random inputs a layer, drawn alike in all directions. No text was given: \
                 what the bases do to the inputs of a model is not known."
            ),
            Some(it) => format!(
                "Outputs are of {tokens} random inputs a layer, and of those that it has while the model reads {} \
                 windows of {} tokens of {}.",
                it.windows,
                it.window,
                if it.held_out { "held-out text" } else { "text to train on" }
            ),
        }
    }

    fn names(&self) -> Vec<String> {
        self.layers.iter().map(|it| it.name.clone()).collect()
    }

    fn verdict_section(&self) -> Result<Section, report::Error> {
        let percent = |name: &str, value: fn(&LayerDiagnosis) -> Option<f64>| {
            CategorySeries::new(name, self.layers.iter().map(|it| Some(100.0 * value(it)?)))
        };
        let mut series = vec![
            percent("weights, predicted", |it| it.predicted),
            percent("weights", |it| Some(it.diagnosis.error)),
        ];
        if self.inputs.is_some() {
            series.push(percent("outputs on the text", |it| it.diagnosis.activations));
        }
        let chart = DotPlot {
            title: "Error of the bases alone".to_owned(),
            values: Axis::linear("relative error, %"),
            categories: self.names(),
            series,
            reference: Some((100.0 * self.settings.budget, "budget".to_owned())),
            ..DotPlot::default()
        };
        Ok(Section::new("What the bases do alone")
            .prose(
                "Relative errors at alpha = 0. Their parts: weights beyond the codes of their channel (clipping), weights \
                 between two codes (steps), and weights that the outliers alone have (mask); the squares of the parts \
                 add up to the square of the error. Clipping is refused for a range that is too narrow, which more \
                 bits do not mend, and steps for codes that are too few. Shrinkage is the part of the weights that the \
                 base lacks in their own direction: clipping shrinks the largest in every layer, rounding does not. Predictions are \
                 for normal values; where they differ from what is measured, the channels are not normal.",
            )
            .chart(chart.to_svg(), "")
            .table(&self.layer_table()?.only(&SHOWN).without_empty_columns(), "Every layer"))
    }

    fn channels_section(&self) -> Section {
        let series = |name: &str, share: fn(&LayerDiagnosis) -> f64| {
            CategorySeries::new(name, self.layers.iter().map(|it| Some(100.0 * share(it))))
        };
        let chart = BarChart {
            title: "Output channels by the shape of their distribution".to_owned(),
            value_label: "share of the channels, %".to_owned(),
            categories: self.names(),
            series: vec![
                series("near zero", |it| it.channels.near_zero),
                series("Gaussian", |it| it.channels.gaussian),
                series("heavy-tailed", |it| it.channels.heavy_tailed),
                series("light-tailed", |it| it.channels.light_tailed),
            ],
            stacked: true,
            ..BarChart::default()
        };
        Section::new("What the channels are like")
            .prose(
                "A channel is near zero below a thousandth of the median norm. Of the others, those with an excess \
                 kurtosis of more than four standard deviations of that of normal values are heavy-tailed or \
                 light-tailed.",
            )
            .chart(chart.to_svg(), "")
    }

    fn rules_section(&self) -> Result<Section, report::Error> {
        let mut section = Section::new("What rules for scales do").prose(
            "Every rule by which the scale of a channel has been chosen, at 8 and at 4 bits: the error of clipping alone, \
             and with steps, predicted for normal channels and measured. A rule whose error is above the budget \
             is refused for clipping if that is more than half of it. Published are the bases of a design in which \
             outliers hid that they were broken: 4 bits to three sigma, whose steps are too coarse; 8 bits to the 95th \
             percentile, under the name of the smaller of it and three sigma, which clips one weight in twenty; and \
             the lower percentiles that were tried in its place, which clip more. No base kind has these rules.",
        );
        for layer in &self.layers {
            let part = Section::new(layer.name.clone()).table(&layer.rules_of_layer()?, "");
            section = section.details(part);
        }
        Ok(section)
    }

    fn sizes_section(&self) -> Result<Section, report::Error> {
        let section = Section::new("What the streams take").prose(
            "Density is the share of weights in the outlier stream; captured, with a pretrained checkpoint, the share of \
             the squared change of fine-tuning that they hold.",
        );
        Ok(section.table(&self.layer_table()?.only(&SIZES).without_empty_columns(), "Every layer"))
    }
}
