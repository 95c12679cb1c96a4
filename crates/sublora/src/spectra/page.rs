//! The report as a page that explains itself.

use report::{
    Axis, Cell, Column, HeatMap, Kind, Mark, Page, Point, Reference, Section, Series, Size, Table,
    XyChart, significant,
};
use spectral::{Interval, Mode, PowerLaw};

use super::layer::ORIGINAL;
use super::record::Variant;
use super::study::Matrix;
use super::summary::correction_name;
use super::{NamedSummary, SpectralError, SpectralReport, tables};

/// What a person sees of a row.
const SHOWN: [&str; 14] = [
    "variant",
    "fit_status",
    "alpha",
    "alpha_lo",
    "alpha_hi",
    "gof_p",
    "hill",
    "farms",
    "xmin",
    "num_pl_spikes",
    "stable_rank",
    "matrix_rank",
    "snr_db",
    "collapsed_because",
];

/// What a person sees of a change.
const CHANGES: [&str; 12] = [
    "tensor",
    "variant",
    "delta_alpha",
    "delta_alpha_fixed_xmin",
    "delta_farms",
    "delta_lo",
    "delta_hi",
    "noise_mean",
    "noise_sd",
    "p_adj",
    "snr_db",
    "collapsed_because",
];

impl SpectralReport {
    pub(super) fn page(&self, rows: &Table, coverage: &Table) -> Result<Page, SpectralError> {
        let summary = &self.summary;
        let mut page = Page::new(format!("Spectra of {}", self.checkpoint)).summary(format!(
            "{} of {} tensors were analysed as {} matrices; {} were left out, each with its reason in \
             the last section.",
            summary.analysed, summary.tensors, summary.matrices, summary.skipped
        ));
        for variant in &summary.variants {
            page = page.summary(self.sentence(variant));
        }
        if let Some(original) = summary.variants.first() {
            let alpha =
                original.summary.after.map_or("–".to_owned(), |it| significant(it.median, 3));
            page = page
                .key_figure("matrices", summary.matrices.to_string())
                .key_figure("median alpha", alpha)
                .key_figure("without a fit", original.summary.failed.to_string());
        }
        for variant in summary.variants.iter().skip(1) {
            let count = variant.summary.collapsed.to_string();
            page = page.key_figure(format!("collapsed at {}", variant.variant), count);
        }
        let quantized = summary.variants.len() > 1;
        page = page.section(self.summary_section()?).section(self.depth_section());
        if quantized {
            page = page
                .section(self.scatter_section())
                .section(self.heat_map_section())
                .section(self.noise_section(rows)?);
        }
        page = page.section(self.layers_section(rows)?);
        Ok(page.section(
            Section::new("Every tensor of the checkpoint")
                .table(coverage, "Analysed or not, and why"),
        ))
    }

    /// One variant in words.
    fn sentence(&self, named: &NamedSummary) -> String {
        let it = &named.summary;
        let range = self.study.summary.range;
        let (from, to) = (range.lower, range.upper);
        if named.variant == ORIGINAL {
            return format!(
                "As it is, {} of the {} matrices with a power law have an exponent alpha in [{from}, \
                 {to}]; {} have no fit.",
                it.in_range_after, it.compared, it.failed
            );
        }
        let change = match (it.mean_change, it.mean_change_interval) {
            (Some(mean), Some(Interval { lower, upper })) => format!(
                "alpha changes by {} on average ({} to {})",
                significant(mean, 3),
                significant(lower, 3),
                significant(upper, 3)
            ),
            _ => "no change of alpha could be averaged".to_owned(),
        };
        format!(
            "{}: {} of {} matrices are collapsed. Of {} with a fit before and after, {} stay in \
             [{from}, {to}], {} of these without having collapsed; {change}; {} of {} tested differ \
             from white noise of the same size.",
            named.variant,
            it.collapsed,
            it.layers,
            it.compared,
            it.stayed_in_range,
            it.stayed_in_range_sound,
            it.significant,
            it.tested
        )
    }

    fn summary_section(&self) -> Result<Section, SpectralError> {
        let text = ["variant"];
        let integers = [
            "matrices",
            "fitted",
            "without fit",
            "collapsed",
            "compared",
            "in range before",
            "in range after",
            "stayed in range",
            "stayed, not collapsed",
            "tested",
            "significant",
        ];
        let floats =
            ["mean alpha", "median alpha", "mean change", "from", "to", "Spearman", "Pearson"];
        let column = |kind| move |name: &&str| Column { name: (*name).to_owned(), kind };
        let columns = text.iter().map(column(Kind::Text));
        let columns = columns.chain(integers.iter().map(column(Kind::Integer)));
        let columns = columns.chain(floats.iter().map(column(Kind::Float)));
        let mut table = Table::new(columns.collect())?;
        for NamedSummary { variant, summary: it } in &self.summary.variants {
            let count = |count: usize| Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX));
            let float = |value: Option<f64>| value.map_or(Cell::Empty, Cell::Float);
            let interval = it.mean_change_interval;
            let integers = [
                it.layers,
                it.ok,
                it.failed,
                it.collapsed,
                it.compared,
                it.in_range_before,
                it.in_range_after,
                it.stayed_in_range,
                it.stayed_in_range_sound,
                it.tested,
                it.significant,
            ];
            let floats = [
                it.after.map(|it| it.mean),
                it.after.map(|it| it.median),
                it.mean_change,
                interval.map(|it| it.lower),
                interval.map(|it| it.upper),
                it.spearman,
                it.pearson,
            ];
            let cells = [Cell::Text(variant.clone())].into_iter();
            table.push(cells.chain(integers.map(count)).chain(floats.map(float)).collect())?;
        }
        let limits = &self.study.comparison.limits;
        let mut section = Section::new("Summary").prose(format!(
            "Alpha is the exponent of a power law fitted to the largest eigenvalues of each matrix, \
             W^T W. Means, medians, changes and correlations are over the matrices that have a fit \
             before and after; a matrix without a fit is counted, never averaged. Alpha alone cannot \
             tell a healthy matrix from a destroyed one: read it beside the count of collapsed ones, which \
             lost rank, are mostly zeros, have dead rows or columns, {} levels or fewer, or a signal to \
             noise below {} dB. Intervals, changes and statuses are of the strict fit in either mode.",
            limits.levels, limits.snr_db
        ));
        section = section.table(&table, "Every variant");
        if self.study.mode == Mode::Compat {
            let means = self.summary.plain_means.iter();
            let means = means.filter_map(|(name, mean)| Some((name.clone(), (*mean)?)));
            let means = tables::named(["column", "mean"], means)?;
            section = section.table(
                &means,
                "WeightWatcher's summary: plain means over the originals, failed fits included",
            );
        }
        Ok(section)
    }

    /// Alpha along the depth, a chart for each role of a matrix.
    fn depth_section<'a>(&'a self) -> Section {
        let section = Section::new("Alpha by depth").prose(
            "Matrices whose names differ in the number of their layer alone. The bars are bootstrap \
             intervals with the threshold chosen anew in every replicate; they treat eigenvalues as \
             independent draws. A matrix without a fit has no point.",
        );
        let spread = 0.6 / self.summary.variants.len().max(5) as f64;
        self.roles().into_iter().fold(section, |section, (role, members)| {
            let points = |place: usize, name: &'a str| {
                members.iter().enumerate().filter_map(move |(index, matrix)| {
                    let variant = matrix.record.variant(name)?;
                    let (lo, hi) = (variant.estimates.alpha_lo, variant.estimates.alpha_hi);
                    Some(Point {
                        // Side by side, so that intervals do not lie on one another.
                        x: depth(&matrix.name).unwrap_or(index as f64) + spread * place as f64,
                        y: variant.alpha().ok()?,
                        y_interval: lo.zip(hi),
                        name: matrix.name.clone(),
                        ..Point::default()
                    })
                })
            };
            let names = self.summary.variants.iter().map(|it| it.variant.as_str()).enumerate();
            let range = self.study.summary.range;
            let chart = XyChart {
                title: role,
                x: Axis::linear("layer"),
                y: Axis::linear("alpha"),
                series: names
                    .map(|(place, name)| {
                        Series::new(name, Mark::LineAndPoints, points(place, name))
                    })
                    .collect(),
                references: vec![Reference::Between {
                    from: range.lower,
                    to: range.upper,
                    label: format!("{} to {}", range.lower, range.upper),
                }],
                size: if members.len() > 16 { Size::WIDE } else { Size::HALF },
            };
            section.chart(chart.to_svg(), "")
        })
    }

    /// Matrices whose names differ in numbers alone, in the order in which the roles appear.
    fn roles(&self) -> Vec<(String, Vec<&Matrix>)> {
        let mut roles: Vec<(String, Vec<&Matrix>)> = Vec::new();
        for matrix in &self.matrices {
            let mut parts: Vec<&str> = matrix.name.split('.').collect();
            if let Some(layer) = parts.iter_mut().find(|part| is_number(part)) {
                *layer = "*";
            }
            let role = parts.join(".");
            match roles.iter_mut().find(|it| it.0 == role) {
                Some((_, members)) => members.push(matrix),
                None => roles.push((role, vec![matrix])),
            }
        }
        // Those that stand alone share a chart.
        let (mut many, single): (Vec<_>, Vec<_>) =
            roles.into_iter().partition(|(_, members)| members.len() > 1);
        let single: Vec<&Matrix> = single.into_iter().flat_map(|(_, members)| members).collect();
        if !single.is_empty() {
            many.push(("matrices that stand alone".to_owned(), single));
        }
        many
    }

    /// Every matrix with its variant of one name.
    fn pairs<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Matrix, &'a Variant, &'a Variant)> {
        self.matrices.iter().filter_map(move |matrix| {
            Some((matrix, matrix.record.variants.first()?, matrix.record.variant(name)?))
        })
    }

    fn scatter_section(&self) -> Section {
        let section = Section::new("Before and after").prose(
            "Each point is a matrix that has a fit on both sides. On the line nothing changed.",
        );
        self.summary.variants.iter().skip(1).fold(section, |section, named| {
            let points = |collapsed: bool| {
                self.pairs(&named.variant).filter_map(move |(matrix, before, after)| {
                    let is_collapsed = !after.reasons.is_empty();
                    let (x, y) = (before.alpha().ok()?, after.alpha().ok()?);
                    let name = matrix.name.clone();
                    (is_collapsed == collapsed).then_some(Point { x, y, name, ..Point::default() })
                })
            };
            let chart = XyChart {
                title: named.variant.clone(),
                x: Axis::linear("alpha of the original"),
                y: Axis::linear("alpha after quantisation"),
                series: vec![
                    Series::new("not collapsed", Mark::Points, points(false)),
                    Series::new("collapsed", Mark::Points, points(true)),
                ],
                references: vec![Reference::Diagonal { label: "no change".to_owned() }],
                ..XyChart::default()
            };
            section.chart(chart.to_svg(), "")
        })
    }

    fn heat_map_section(&self) -> Section {
        let variants = || self.summary.variants.iter().skip(1).map(|it| &it.variant);
        let of = |matrix: &Matrix| {
            let change = |name: &String| matrix.record.variant(name)?.change.as_ref()?.delta_alpha;
            variants().map(change).collect()
        };
        let map = HeatMap {
            value_label: "change of alpha".to_owned(),
            column_label: "variant".to_owned(),
            rows: self.matrices.iter().map(|it| it.name.clone()).collect(),
            columns: variants().cloned().collect(),
            values: self.matrices.iter().map(of).collect(),
            ..HeatMap::default()
        };
        Section::new("Change of alpha by matrix and width")
            .prose("A hatched cell has no fit before or after.")
            .chart(map.to_svg(), "")
    }

    fn noise_section(&self, rows: &Table) -> Result<Section, SpectralError> {
        let mut changes = tables::chosen(rows, &CHANGES)?;
        changes = without_originals(&changes)?;
        Ok(Section::new("Is it more than noise?")
            .prose(format!(
                "Each matrix was also given Gaussian noise of the norm of its quantisation error, {} \
                 times. noise_mean and noise_sd are the exponents of these; p_adj is the \
                 two-sided p-value of the exponent after quantisation beside them (Student), adjusted \
                 over the matrices of a variant ({}): small where quantisation did something that \
                 noise does not. delta_alpha_fixed_xmin keeps the threshold of the original: where it \
                 differs much from delta_alpha, the threshold jumped and not the spectrum. \
                 delta_lo to delta_hi is an interval of delta_farms, not of delta_alpha, over the windows of the \
                 matrix.",
                self.study.comparison.noise_replicates,
                correction_name(self.study.correction)
            ))
            .table(&changes, "Every change"))
    }

    /// A folded part for every matrix: its spectrum and a table.
    fn layers_section(&self, rows: &Table) -> Result<Section, SpectralError> {
        let mut section = Section::new("Every matrix").prose(
            "The share of eigenvalues at or above each, on logarithmic axes: a power law is a straight \
             line. The dashed line upwards is the threshold xmin of the original, from which on it was \
             fitted.",
        );
        let shown = tables::chosen(rows, &SHOWN)?;
        let mut cells = shown.rows().iter().cloned();
        for matrix in &self.matrices {
            let mut table = Table::new(shown.columns().to_vec())?;
            let of_matrix = cells.by_ref().take(matrix.record.variants.len());
            of_matrix.into_iter().try_for_each(|it| table.push(it))?;
            let part =
                Section::new(matrix.name.clone()).chart(spectrum(matrix), "").table(&table, "");
            section = section.details(part);
        }
        Ok(section)
    }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit())
}

/// The number of the layer in a dotted name.
fn depth(name: &str) -> Option<f64> {
    name.split('.').find(|part| is_number(part))?.parse().ok()
}

fn without_originals(table: &Table) -> Result<Table, SpectralError> {
    let place = table.columns().iter().position(|it| it.name == "variant");
    let mut rest = Table::new(table.columns().to_vec())?;
    for row in table.rows() {
        let is_original = place.is_some_and(|it| row[it] == Cell::Text(ORIGINAL.to_owned()));
        if !is_original {
            rest.push(row.clone())?;
        }
    }
    Ok(rest)
}

/// The spectra of a matrix and its variants, with the fit of the original.
fn spectrum(matrix: &Matrix) -> report::Svg {
    let mut series = Vec::new();
    let mut references = Vec::new();
    for (place, variant) in matrix.record.variants.iter().enumerate() {
        let mark = if place == 0 { Mark::Points } else { Mark::Line };
        series.push(Series::new(variant.name.clone(), mark, variant.curve.iter().copied()));
    }
    let original = matrix.record.variants.first();
    if let Some((fit, columns)) = original.and_then(|it| Some((it.fit.ok()?, &it.columns))) {
        let PowerLaw { alpha, xmin, xmax, tail, .. } = fit;
        let share = tail as f64 / columns.num_evals.max(1) as f64;
        let end = share * (xmax / xmin).powf(1.0 - alpha);
        let name = format!("power law, alpha = {}", significant(alpha, 3));
        series.push(Series::new(name, Mark::Line, [(xmin, share), (xmax, end)]));
        let label = format!("xmin = {}", significant(xmin, 3));
        references.push(Reference::Vertical { at: xmin, label });
    }
    let chart = XyChart {
        title: matrix.name.clone(),
        x: Axis::log("eigenvalue"),
        y: Axis::log("share of eigenvalues at or above"),
        series,
        references,
        size: Size { width: 720, height: 380 },
    };
    chart.to_svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_is_the_first_number_of_a_name() {
        let depths = ["h.11.mlp.weight", "wte.weight", "a.3.b.7.weight"].map(depth);
        assert_eq!(depths, [Some(11.0), None, Some(3.0)]);
    }
}
