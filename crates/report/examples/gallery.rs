//! Writes a page with every chart and a table to the file that is named on the command line:
//! `cargo run -p report --example gallery -- gallery.html`. All data are made up, and the same always.

use std::{env, fs, io};

use report::{
    Axis, BarChart, CategorySeries, ColourScale, HeatMap, Mark, Page, Point, Reference, Section,
    Series, Size, Svg, Table, XyChart, significant,
};
use serde::{Deserialize, Serialize};

fn main() -> io::Result<()> {
    let path = env::args().nth(1).unwrap_or_else(|| "gallery.html".to_owned());
    let page = page().map_err(io::Error::other)?;
    fs::write(path, page.to_html())
}

/// A number between -1 and 1 that looks like chance.
fn noise(index: usize) -> f64 {
    (1e4 * (index as f64 + 1.0).sin()).fract()
}

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

fn frontier() -> Svg {
    let modes = ["uniform", "fixed, ratio 0.2", "fixed, ratio 0.5", "fixed, ratio 0.8", "learned"];
    let series = modes.iter().enumerate().map(|(mode, name)| {
        let point = |budget: usize| {
            let x = 4_000.0 * (1.0 + budget as f64) + 300.0 * mode as f64;
            let y = 6.1 - 0.3 * budget as f64 - 0.05 * mode as f64;
            let (x_interval, y_interval) =
                (Some((x - 200.0, x + 200.0)), Some((y - 0.04, y + 0.05)));
            Point {
                x,
                y,
                x_interval,
                y_interval,
                name: format!("{name}, d = {}", 1000 * (budget + 1)),
            }
        };
        Series::new(*name, Mark::Points, (0..2).map(point))
    });
    XyChart {
        title: "Risk against complexity".to_owned(),
        x: Axis::log("code length, bits"),
        y: Axis::linear("empirical risk, bits per token"),
        series: series.collect(),
        references: vec![Reference::Horizontal { at: 6.3, label: "base model".to_owned() }],
        ..Default::default()
    }
    .to_svg()
}

fn over_time() -> Svg {
    let series = ["layer 0", "layer 6", "layer 11"].iter().enumerate().map(|(layer, name)| {
        let point = |step: u32| {
            let x = f64::from(step);
            let y = 1e-13 * (1.0 + layer as f64) * (1.0 + x / 50.0).powf(-0.7);
            let y_interval = Some((y * 0.7, y * 1.4));
            Point { x, y, y_interval, ..Default::default() }
        };
        Series::new(*name, Mark::Line, (0..5_000).map(point))
    });
    XyChart {
        title: "Gradient norms".to_owned(),
        x: Axis::linear("step"),
        y: Axis::log("norm"),
        series: series.collect(),
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

fn gates() -> Svg {
    HeatMap {
        title: "Gates".to_owned(),
        value_label: "gamma".to_owned(),
        row_label: "layer".to_owned(),
        column_label: "seed".to_owned(),
        rows: (0..12).map(|it| it.to_string()).collect(),
        columns: (0..3).map(|it| it.to_string()).collect(),
        values: (0..12)
            .map(|it| (0..3).map(|seed| Some(noise(3 * it + seed).abs())).collect())
            .collect(),
        scale: ColourScale::Sequential,
        range: Some((0.0, 1.0)),
        width: Size::HALF.width,
    }
    .to_svg()
}

fn decomposition(stacked: bool) -> Svg {
    let parts = ["risk", "quantisation loss", "complexity", "sampling"];
    let sizes = [4.1, 0.12, 1.3, 0.35];
    let series = parts.iter().zip(sizes).enumerate().map(|(part, (name, size))| {
        CategorySeries::new(*name, (0..4).map(|it| Some(size * (1.0 + 0.2 * noise(part + 4 * it)))))
    });
    let categories =
        ["uniform, d = 1000", "learned, d = 1000", "uniform, d = 2000", "learned, d = 2000"];
    BarChart {
        title: "What the bound consists of".to_owned(),
        value_label: "bits per token".to_owned(),
        categories: categories.map(str::to_owned).to_vec(),
        series: series.collect(),
        stacked,
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

/// Names and numbers that a chart has to survive.
fn hard_cases() -> Section {
    let long = |it: &str| it.repeat(9);
    let mark = Mark::LineAndPoints;
    let hostile = XyChart {
        title: long("<script>alert(\"&\")</script> $x^2$ and a title that is too long "),
        x: Axis::log("]]> & <b>bold</b>"),
        y: Axis::log("y"),
        series: vec![
            Series::new(long("a long name of a series "), mark, [(1.0, -1.0), (2.0, 2.0)]),
            Series::new("second", mark, [(1.1, 2.1), (2.2, 3.0)]),
        ],
        ..Default::default()
    };
    let many_columns = HeatMap {
        title: "Many columns with long names".to_owned(),
        value_label: "all the same".to_owned(),
        rows: (0..3).map(|it| format!("{}{it}", long("row/"))).collect(),
        columns: (0..40).map(|it| format!("a long name of a column, number {it}")).collect(),
        values: vec![vec![Some(0.25); 39]; 3],
        ..Default::default()
    };
    let signs = BarChart {
        title: "Both signs".to_owned(),
        value_label: "difference".to_owned(),
        categories: vec![long("a long category "), "short".to_owned()],
        series: vec![
            CategorySeries::new("one", [Some(-3.0), Some(2.0)]),
            CategorySeries::new("other", [Some(1.0), None]),
        ],
        stacked: false,
        width: Size::HALF.width,
    };
    let stacked = BarChart { stacked: true, ..signs.clone() };
    Section::new("Hard cases")
        .chart(hostile.to_svg(), "")
        .chart(XyChart::default().to_svg(), "A chart without data.")
        .chart(many_columns.to_svg(), "")
        .chart(signs.to_svg(), "")
        .chart(stacked.to_svg(), "")
        .chart(HeatMap { width: 500, ..Default::default() }.to_svg(), "")
        .chart(BarChart { width: 500, ..Default::default() }.to_svg(), "")
}

fn page() -> Result<Page, report::Error> {
    let mut spectra = Section::new("Spectra").prose("Each matrix, folded up until it is opened.");
    for (layer, name) in names().into_iter().enumerate() {
        let part = Section::new(name)
            .chart(spectrum(layer, 768), "All eigenvalues and the fitted tail.")
            .chart(spectrum(layer + 48, 24), "The same for a small matrix.");
        spectra = spectra.details(part);
    }
    let alpha = Section::new("Alpha")
        .chart(by_depth(), "Bars are 95 % intervals.")
        .chart(before_and_after(), "")
        .chart(frontier(), "Error bars over three seeds.");
    let change = Section::new("Change")
        .chart(change(), "A hatched cell has no value.")
        .chart(gates(), "")
        .chart(over_time(), "Shaded: from the smallest to the largest of the seeds.");
    let bounds =
        Section::new("Bounds").chart(decomposition(true), "").chart(decomposition(false), "");
    let table = Table::from_rows(&rows())?;
    Ok(Page::new("Gallery of charts")
        .summary("Every chart on data that are made up. Of 48 matrices, 41 could be fitted.")
        .summary("The mean change of alpha is −0.03, which is within the noise floor.")
        .key_figure("matrices with alpha in [2, 6]", "40 of 41")
        .key_figure("mean change of alpha", "−0.03 [−0.11, 0.05]")
        .key_figure("rank correlation with the original", "0.81")
        .key_figure("collapsed", "7")
        .section(alpha)
        .section(change)
        .section(bounds)
        .section(Section::new("Table").table(&table, "All matrices."))
        .section(spectra)
        .section(hard_cases()))
}
