//! What holds for every chart, whatever it is given.

use std::iter;
use std::sync::LazyLock;

use roxmltree::{Document, Node};

use crate::chart::text_width;
use crate::{
    Axis, BarChart, CategorySeries, ColourScale, DotPlot, Estimate, HeatMap, Look, Mark, Panel,
    Panels, Point, Reference, Scale, Series, Size, Svg, XyChart,
};

const HOSTILE: &str = "</title><script>alert(\"&\")</script>]]> $x$ \u{0}\u{7} ' \u{202e}é漢 {} %";

/// Numbers that are hard to place, alone and together.
fn numbers() -> Vec<(&'static str, Vec<f64>)> {
    vec![
        ("none", vec![]),
        ("one", vec![2.5]),
        ("zero", vec![0.0]),
        ("equal", vec![-3.0; 4]),
        ("nearly equal", vec![1.0, 1.0 + f64::EPSILON, 1.0 - f64::EPSILON]),
        ("without a place", vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ("some without a place", vec![1.0, f64::NAN, 3.0, f64::INFINITY, -1.0, 0.0]),
        ("large", vec![9e139, -9e139, 1e299, f64::MAX, f64::MIN]),
        ("small", vec![2e-140, 1e-299, 5e-324, 3e-12]),
        ("far apart", vec![2e-140, 1.0, 9e139]),
        ("many", (0..400).map(|it| 1.0 + (f64::from(it) / 100.0).sin()).collect()),
        ("offset", vec![1e9, 1e9 + 1.0, 1e9 + 2.0]),
    ]
}

fn axis(scale: Scale, name: &str, values: &[f64]) -> Axis {
    Axis { label: name.to_owned(), scale, ticks: values.iter().copied().take(3).collect() }
}

fn around(value: f64) -> (f64, f64) {
    (value * 0.9, value * 1.1)
}

fn series(values: &[f64], mark: Mark, name: &str, look: Look) -> Series {
    let point = |(index, &value): (usize, &f64)| {
        let (x_interval, y_interval) = (Some(around(value)), Some(around(value)));
        let name = if index % 2 == 0 { name.to_owned() } else { String::new() };
        Point { x: value, y: values[values.len() - 1 - index], x_interval, y_interval, name }
    };
    Series::new(name, mark, values.iter().enumerate().map(point)).look(look)
}

fn references(values: &[f64], name: &str) -> Vec<Reference> {
    let label = || name.to_owned();
    let at = values.first().copied().unwrap_or(1.0);
    vec![
        Reference::Vertical { at, label: label() },
        Reference::Horizontal { at, label: label() },
        Reference::Between { from: at, to: 2.0, label: label() },
        Reference::Diagonal { label: label() },
    ]
}

fn xy(values: &[f64], scale: Scale, mark: Mark, name: &str) -> Svg {
    let looks = [Look::Place, Look::Number(50), Look::Ramp(values.len() as f64), Look::Ink];
    let series = looks.iter().cycle().take(7).map(|it| series(values, mark, name, *it));
    let is_even = values.len().is_multiple_of(2);
    XyChart {
        title: name.to_owned(),
        x: axis(scale, name, &[]),
        y: axis(scale, name, values),
        series: series.collect(),
        references: references(values, name),
        size: if is_even { Size::HALF } else { Size { width: 0, height: 0 } },
    }
    .to_svg()
}

fn panels(values: &[f64], scale: Scale, name: &str) -> Svg {
    let panel = |mark| Panel {
        y: axis(scale, name, &[]),
        series: vec![
            series(values, mark, name, Look::Place),
            Series::frontier(name, values.iter().map(|&it| (it, it))),
        ],
        references: references(values, name),
        height: 0,
    };
    let mut panels = [Mark::Line, Mark::Steps].map(panel).to_vec();
    panels.push(Panel::default()); // one without data
    Panels { title: name.to_owned(), x: axis(scale, name, values), panels, width: 500 }.to_svg()
}

fn by_category(values: &[f64], name: &str) -> (Vec<String>, Vec<CategorySeries>) {
    let values: Vec<f64> = values.iter().copied().take(40).collect();
    let series = |sign: f64| {
        let estimate = |value| Estimate { value: sign * value, interval: Some(around(value)) };
        CategorySeries::new(name, values.iter().map(|&it| Some(estimate(it))).chain([None]))
    };
    let series = [1.0, -0.5, 0.0, 2.0, 1.0, 1.0, 1.0].map(series).to_vec();
    (vec![name.to_owned(); values.len() + 2], series)
}

fn dots(values: &[f64], scale: Scale, name: &str) -> Svg {
    let (categories, series) = by_category(values, name);
    let reference = values.first().map(|&it| (it, name.to_owned()));
    let (title, values) = (name.to_owned(), axis(scale, name, values));
    DotPlot { title, values, categories, series, reference, width: 500 }.to_svg()
}

fn heat_map(values: &[f64], scale: ColourScale, name: &str) -> Svg {
    HeatMap {
        title: name.to_owned(),
        value_label: name.to_owned(),
        row_label: name.to_owned(),
        column_label: name.to_owned(),
        rows: vec![name.to_owned(); values.len().min(70)],
        columns: vec![name.to_owned(); 3],
        values: values.iter().map(|&it| vec![Some(it), None]).collect(), // and no third column
        scale,
        range: values.first().map(|&low| (low, low + 1.0)),
        width: 500,
    }
    .to_svg()
}

fn bars(values: &[f64], stacked: bool, name: &str) -> Svg {
    let (categories, series) = by_category(values, name);
    let (title, value_label) = (name.to_owned(), name.to_owned());
    BarChart { title, value_label, categories, series, stacked, width: 500 }.to_svg()
}

/// What [`draw_market`] draws, once for all tests.
static MARKET: LazyLock<Vec<(String, Svg)>> = LazyLock::new(draw_market);

/// Every kind of chart of every kind of data, under every kind of name.
fn draw_market() -> Vec<(String, Svg)> {
    let mut charts = Vec::new();
    let long = "transformer.h.0.attn.c_attn.weight/".repeat(20);
    for (data, values) in numbers() {
        for name in ["", "alpha", HOSTILE, &long] {
            let mut add = |chart: String, svg| charts.push((format!("{chart}, {data}"), svg));
            for scale in [Scale::Linear, Scale::Log] {
                for mark in [Mark::Line, Mark::Steps, Mark::Points, Mark::LineAndPoints] {
                    add(format!("{scale:?} {mark:?}"), xy(&values, scale, mark, name));
                }
                add(format!("{scale:?} panels"), panels(&values, scale, name));
                add(format!("{scale:?} dots"), dots(&values, scale, name));
            }
            for scale in [ColourScale::Diverging, ColourScale::Sequential] {
                add(format!("{scale:?}"), heat_map(&values, scale, name));
            }
            for stacked in [false, true] {
                add(format!("bars, stacked: {stacked}"), bars(&values, stacked, name));
            }
        }
    }
    charts
}

fn number(node: Node, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// The places that an element states: its corners, its ends, or where its outline starts anew.
fn places(node: Node) -> Vec<(f64, f64)> {
    let at = |x, y| (number(node, x), number(node, y));
    match node.tag_name().name() {
        "text" => vec![at("x", "y")],
        "line" => vec![at("x1", "y1"), at("x2", "y2")],
        "rect" => {
            let ((x, y), (width, height)) = (at("x", "y"), at("width", "height"));
            assert!(width >= 0.0 && height >= 0.0);
            vec![(x, y), (x + width, y + height)]
        }
        "path" => {
            let starts = node.attribute("d").unwrap().split('M').skip(1);
            let pair = |it: &str| {
                let end = it.find(|it: char| it.is_ascii_alphabetic()).unwrap_or(it.len());
                let numbers: Vec<f64> =
                    it[..end].split_whitespace().map(|it| it.parse().unwrap()).collect();
                numbers.chunks(2).map(|it| (it[0], it[1])).collect::<Vec<_>>()
            };
            starts.flat_map(pair).collect()
        }
        _ => vec![],
    }
}

#[test]
fn every_chart_is_xml_within_its_bounds() {
    for (chart, svg) in MARKET.iter() {
        let document = Document::parse(svg.as_str()).unwrap_or_else(|it| panic!("{chart}: {it}"));
        let root = document.root_element();
        let (width, height) = (number(root, "width"), number(root, "height"));
        assert_eq!(root.attribute("viewBox"), Some(format!("0 0 {width} {height}").as_str()));
        assert_eq!(root.attribute("role"), Some("img"));
        assert!(root.attribute("aria-label").is_some());
        for node in document.descendants().filter(Node::is_element) {
            for (x, y) in places(node) {
                let is_within =
                    (-1.0..=width + 1.0).contains(&x) && (-1.0..=height + 1.0).contains(&y);
                assert!(is_within, "{chart}: ({x}, {y}) in {}", &svg.as_str()[node.range()]);
            }
        }
    }
}

fn is_level(node: &Node) -> bool {
    node.has_tag_name("text") && !node.has_attribute("transform")
}

#[test]
fn no_slanted_or_upward_text_leaves_the_chart() {
    let mut count = 0;
    for (chart, svg) in MARKET.iter() {
        let document = Document::parse(svg.as_str()).unwrap();
        let height = number(document.root_element(), "height");
        let is_turned = |node: &Node| node.has_tag_name("text") && !is_level(node);
        for node in document.descendants().filter(is_turned) {
            let text = node.text().unwrap_or_default();
            let length = text_width(text, node.attribute("font-size").unwrap().parse().unwrap());
            let (x, y) = (number(node, "x"), number(node, "y"));
            // Slanted text ends at (x, y), at 40 degrees; upward text has its middle there.
            let (left, top, bottom) = match node.attribute("text-anchor") {
                Some("end") => (x - 0.77 * length, y - 11.0, y + 0.65 * length),
                _ => (x - 11.0, y - length / 2.0, y + length / 2.0),
            };
            let is_within = left > -6.0 && top > -6.0 && bottom < height + 6.0;
            assert!(is_within, "{chart}: `{text}` {left}, {top} to {bottom} of {height}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}"); // some are slanted, and every vertical axis has a label
}

#[test]
fn no_text_lies_on_another_of_its_line() {
    for (chart, svg) in MARKET.iter() {
        let document = Document::parse(svg.as_str()).unwrap();
        let is_centred = |it: &Node| is_level(it) && it.attribute("text-anchor") == Some("middle");
        let mut texts: Vec<_> = document.descendants().filter(is_centred).collect();
        texts.sort_by(|a, b| {
            let place = |it: &Node| (number(*it, "y"), number(*it, "x"));
            place(a).partial_cmp(&place(b)).unwrap()
        });
        for pair in texts.windows(2) {
            let half = |it: &Node| text_width(it.text().unwrap_or_default(), 11) / 2.0;
            let [(x1, y1), (x2, y2)] =
                [0, 1].map(|it| (number(pair[it], "x"), number(pair[it], "y")));
            let gap = x2 - x1 - half(&pair[0]) - half(&pair[1]);
            assert!(
                (y1 - y2).abs() > 8.0 || gap > -1.0,
                "{chart}: {:?}",
                pair.iter().map(Node::text).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn no_text_leaves_the_chart() {
    for (chart, svg) in MARKET.iter() {
        let document = Document::parse(svg.as_str()).unwrap();
        let width = number(document.root_element(), "width");
        for node in document.descendants().filter(is_level) {
            let text = node.text().unwrap_or_default();
            let length = text_width(text, node.attribute("font-size").unwrap().parse().unwrap());
            let x = number(node, "x");
            let (from, to) = match node.attribute("text-anchor") {
                Some("start") => (x, x + length),
                Some("middle") => (x - length / 2.0, x + length / 2.0),
                _ => (x - length, x),
            };
            assert!(from > -6.0 && to < width + 6.0, "{chart}: `{text}` {from} to {to}");
        }
    }
}

#[test]
fn no_chart_brings_anything_that_runs_or_clashes() {
    for (chart, svg) in MARKET.iter() {
        let document = Document::parse(svg.as_str()).unwrap();
        for node in document.descendants().filter(Node::is_element) {
            let name = node.tag_name().name();
            let known = ["svg", "title", "g", "text", "line", "rect", "path"];
            assert!(known.contains(&name), "{chart}: <{name}>");
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(!["id", "style", "href"].contains(&name), "{chart}: {name}");
                assert!(!name.starts_with("on"), "{chart}: {name}");
            }
        }
        assert!(!svg.as_str().contains("<!--"), "{chart}");
        assert!(!svg.as_str().contains("NaN") && !svg.as_str().contains("inf\""), "{chart}");
    }
}

#[test]
fn equal_charts_are_equal_bytes() {
    for ((chart, one), (_, other)) in iter::zip(MARKET.iter(), &draw_market()) {
        assert!(one == other, "{chart}");
    }
}
