//! The report as a page that explains itself.

use report::{Cell, Column, Kind, Page, Section, Table, significant};
use spectral::{Interval, Mode};

use super::charts::spectrum;
use super::layer::ORIGINAL;
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
const CHANGES: [&str; 15] = [
    "tensor",
    "variant",
    "delta_alpha",
    "delta_alpha_lo",
    "delta_alpha_hi",
    "delta_alpha_fits",
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

/// Of these, what there is with subsets of the rows alone.
const SUBSETS: [&str; 3] = ["delta_alpha_lo", "delta_alpha_hi", "delta_alpha_fits"];

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

    fn noise_section(&self, rows: &Table) -> Result<Section, SpectralError> {
        let subsets = &self.study.comparison.rows;
        let shown: Vec<&str> = CHANGES
            .into_iter()
            .filter(|it| subsets.replicates > 0 || !SUBSETS.contains(it))
            .collect();
        let changes = without_originals(&rows.only(&shown))?;
        let prose = format!(
            "Each matrix was also given Gaussian noise of the norm of its quantisation error, {} \
             times. noise_mean and noise_sd are the exponents of these; p_adj is the \
             two-sided p-value of the exponent after quantisation beside them (Student), adjusted \
             over the matrices of a variant ({}): small where quantisation did something that \
             noise does not. delta_alpha_fixed_xmin keeps the threshold of the original: where it \
             differs much from delta_alpha, the threshold jumped and not the spectrum. \
             delta_lo to delta_hi is an interval of delta_farms, over the windows of the matrix.",
            self.study.comparison.noise_replicates,
            correction_name(self.study.correction)
        );
        let of_subsets = if subsets.replicates > 0 {
            format!(
                " delta_alpha_lo to delta_alpha_hi is one of delta_alpha, from the spread over {} \
                 subsets with {} of the rows, the same before and after, scaled to that of whole \
                 matrices; delta_alpha_fits of the subsets had a fit on both sides. It is wider than \
                 need be where thresholds jump.",
                subsets.replicates, subsets.share
            )
        } else {
            String::new()
        };
        let section = Section::new("Is it more than noise?").prose(prose + &of_subsets);
        Ok(section.table(&changes, "Every change"))
    }

    /// A folded part for every matrix: its spectrum and a table.
    fn layers_section(&self, rows: &Table) -> Result<Section, SpectralError> {
        let mut section = Section::new("Every matrix").prose(
            "The share of eigenvalues at or above each, on logarithmic axes: a power law is a straight \
             line. The dashed line upwards is the threshold xmin of the original, from which on it was \
             fitted.",
        );
        let shown = rows.only(&SHOWN);
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
