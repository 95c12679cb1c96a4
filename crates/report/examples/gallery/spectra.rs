//! Spectra and what is fitted to them: many matrices, before and after.

use report::{
    Axis, Error, HeatMap, Mark, Point, Reference, Section, Series, Size, Svg, Table, XyChart,
    significant,
};
use serde::{Deserialize, Serialize};

use crate::noise;

fn names() -> Vec<String> {
    let matrices = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
    let blocks =
        (0..12).flat_map(|block| matrices.map(|it| format!("transformer.h.{block}.{it}.weight")));
    blocks.collect()
}

fn alpha(layer: usize, width: usize) -> f64 {
    3.2 + 1.4 * (layer as f64 / 9.0).sin()
        + 0.25 * noise(layer)
        + 0.3 * width as f64 * noise(layer + 99)
}

fn spectrum(layer: usize, count: usize) -> Svg {
    let exponent = alpha(layer, 0) - 1.0;
    let value = |rank: f64| 0.02 * (rank / (count as f64 + 1.0)).powf(-1.0 / exponent);
    let tail = (1..=count).rev().map(|rank| {
        let share = rank as f64 / count as f64;
        (value(rank as f64) * (1.0 - 0.6 * share.powi(3)), share)
    });
    let xmin = value(0.3 * count as f64);
    let fit = [xmin, value(1.0)].map(|it| (it, 0.3 * (it / xmin).powf(-exponent)));
    XyChart {
        title: format!("{}, spectrum", names()[layer % 48]),
        x: Axis::log("eigenvalue"),
        y: Axis::log("share of eigenvalues above"),
        series: vec![
            Series::new("eigenvalues", if count > 100 { Mark::Line } else { Mark::Points }, tail),
            Series::new(
                format!("power law, alpha = {}", significant(exponent + 1.0, 3)),
                Mark::Line,
                fit,
            ),
        ],
        references: vec![Reference::Vertical {
            at: xmin,
            label: format!("xmin = {}", significant(xmin, 3)),
        }],
        ..Default::default()
    }
    .to_svg()
}

fn by_depth() -> Svg {
    let series = ["original", "8 bits", "4 bits"].iter().enumerate().map(|(width, name)| {
        let point = |layer: usize| {
            let y = if (layer, width) == (17, 2) { f64::NAN } else { alpha(layer, width) };
            let half = 0.2 + 0.1 * noise(layer).abs();
            let x = layer as f64 + 0.2 * width as f64;
            let name = format!("{}, {name}", names()[layer]);
            Point { x, y, y_interval: Some((y - half, y + half)), name, ..Default::default() }
        };
        Series::new(*name, Mark::Points, (0..48).map(point))
    });
    XyChart {
        title: "Alpha by depth".to_owned(),
        x: Axis::linear("matrix, in the order of the model"),
        y: Axis::linear("alpha"),
        series: series.collect(),
        references: vec![Reference::Between { from: 2.0, to: 6.0, label: "2 to 6".to_owned() }],
        size: Size::WIDE,
    }
    .to_svg()
}

fn before_and_after() -> Svg {
    let point = |layer: usize| {
        let (x, y) = (alpha(layer, 0), alpha(layer, 2));
        let y_interval = Some((y - 0.2, y + 0.3));
        Point { x, y, y_interval, name: names()[layer].clone(), ..Default::default() }
    };
    XyChart {
        title: "Alpha before and after".to_owned(),
        x: Axis::linear("alpha, original"),
        y: Axis::linear("alpha, 4 bits"),
        series: vec![Series::new("matrices", Mark::Points, (0..48).map(point))],
        references: vec![Reference::Diagonal { label: "no change".to_owned() }],
        ..Default::default()
    }
    .to_svg()
}

fn change() -> Svg {
    let variants = [
        "8 bits, tensor",
        "8 bits, channel",
        "4 bits, tensor",
        "4 bits, channel",
        "2 bits, tensor",
    ];
    let cell = |layer: usize, variant: usize| {
        let collapsed = variant == 4 && layer.is_multiple_of(5);
        (!collapsed).then(|| noise(7 * layer + variant) * (1.0 + variant as f64) / 3.0)
    };
    HeatMap {
        title: "Change of alpha".to_owned(),
        value_label: "change of alpha".to_owned(),
        rows: names(),
        columns: variants.map(str::to_owned).to_vec(),
        values: (0..48).map(|layer| (0..5).map(|variant| cell(layer, variant)).collect()).collect(),
        ..Default::default()
    }
    .to_svg()
}

/// A row of the table.
#[derive(Serialize, Deserialize)]
struct Row {
    tensor: String,
    variant: String,
    fit_status: String,
    rows: u32,
    alpha: Option<f64>,
    #[serde(rename = "D")]
    distance: Option<f64>,
    log_norm: f64,
    stable_rank: f64,
    entropy: f64,
    delta_alpha: Option<f64>,
    delta_lo: Option<f64>,
    delta_hi: Option<f64>,
    p_adj: Option<f64>,
    snr_db: f64,
    relative_error: f64,
    collapsed: bool,
}

fn rows() -> Vec<Row> {
    let row = |(layer, tensor): (usize, String)| {
        let is_fitted = layer % 7 != 3;
        let some = |value: f64| is_fitted.then_some(value);
        let delta = alpha(layer, 2) - alpha(layer, 0);
        Row {
            tensor,
            variant: "4 bits, channel".to_owned(),
            fit_status: if is_fitted { "ok" } else { "too_few" }.to_owned(),
            rows: 768,
            alpha: some(alpha(layer, 2)),
            distance: some(0.02 + 0.01 * noise(layer).abs()),
            log_norm: 2.5 + noise(layer),
            stable_rank: 30.0 + 10.0 * noise(layer + 1),
            entropy: 0.97,
            delta_alpha: some(delta),
            delta_lo: some(delta - 0.2),
            delta_hi: some(delta + 0.2),
            p_adj: some(1e-6_f64.powf(noise(layer + 5).abs())),
            snr_db: if layer == 5 { f64::INFINITY } else { 21.0 + noise(layer) },
            relative_error: 0.08 + 0.01 * noise(layer),
            collapsed: !is_fitted,
        }
    };
    names().into_iter().enumerate().map(row).collect()
}

pub(crate) fn sections() -> Result<[Section; 4], Error> {
    let mut spectra = Section::new("Spectra").prose("Each matrix, folded up until it is opened.");
    for (layer, name) in names().into_iter().enumerate() {
        let part = Section::new(name)
            .chart(spectrum(layer, 768), "All eigenvalues and the fitted tail.")
            .chart(spectrum(layer + 48, 24), "The same for a small matrix.");
        spectra = spectra.details(part);
    }
    let alpha = Section::new("Alpha")
        .chart(by_depth(), "Bars are 95 % intervals.")
        .chart(before_and_after(), "");
    let change = Section::new("Change").chart(change(), "A hatched cell has no value.");
    let table = Table::from_rows(&rows())?;
    let table = Section::new("Table").table(&table, "All matrices.");
    Ok([alpha, change, table, spectra])
}
