//! The charts of the page.

use report::{
    Axis, HeatMap, Mark, Point, Reference, Section, Series, Size, Svg, XyChart, significant,
};
use spectral::PowerLaw;

use super::SpectralReport;
use super::record::Variant;
use super::study::Matrix;

impl SpectralReport {
    /// Alpha along the depth, a chart for each role of a matrix.
    pub(super) fn depth_section<'a>(&'a self) -> Section {
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

    pub(super) fn scatter_section(&self) -> Section {
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

    pub(super) fn heat_map_section(&self) -> Section {
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
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit())
}

/// The number of the layer in a dotted name.
fn depth(name: &str) -> Option<f64> {
    name.split('.').find(|part| is_number(part))?.parse().ok()
}

/// The spectra of a matrix and its variants, with the fit of the original.
pub(super) fn spectrum(matrix: &Matrix) -> Svg {
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
