//! Names and numbers that a chart has to survive.

use report::{
    Axis, BarChart, CategorySeries, Cell, Column, Error, HeatMap, Kind, Mark, Reference, Section,
    Series, Size, Table, XyChart,
};

use crate::noise;

pub(crate) fn section() -> Result<Section, Error> {
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
    let point = XyChart {
        title: "One point".to_owned(),
        series: vec![Series::new("a point", Mark::LineAndPoints, [(3.0, 5.0)])],
        ..Default::default()
    };
    let huge = XyChart {
        title: "One huge value".to_owned(),
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        series: vec![Series::new(
            "",
            mark,
            (0..9).map(|it| (f64::from(it), if it == 4 { 1e120 } else { 1.0 })),
        )],
        ..Default::default()
    };
    let decades = XyChart {
        title: "A hundred and sixty decades".to_owned(),
        x: Axis::log("x"),
        y: Axis::log("y"),
        series: vec![Series::new("", mark, [(1e-130, 1e-130), (1.0, 1e3), (1e30, 1e30)])],
        ..Default::default()
    };
    let nothing = XyChart {
        references: vec![Reference::Diagonal { label: "no change".to_owned() }],
        ..Default::default()
    };
    let path = |it: usize| {
        format!("model.decoder.layers.{it}.encoder_attn.out_proj.lora_A.default.weight")
    };
    let paths = BarChart {
        title: path(0),
        value_label: "norm".to_owned(),
        categories: (9..12).map(path).chain(["misc".to_owned()]).collect(),
        series: (0..3)
            .map(|it| CategorySeries::new(path(it), (0..4).map(|at| Some(1.0 + noise(at + it)))))
            .collect(),
        width: Size::HALF.width,
        ..Default::default()
    };
    Ok(Section::new("Hard cases")
        .chart(hostile.to_svg(), "")
        .chart(paths.to_svg(), "Names that differ in one part.")
        .chart(decades.to_svg(), "")
        .chart(nothing.to_svg(), "A chart without data.")
        .chart(point.to_svg(), "")
        .chart(huge.to_svg(), "")
        .chart(many_columns.to_svg(), "")
        .chart(signs.to_svg(), "")
        .chart(stacked.to_svg(), "")
        .chart(HeatMap { width: 500, ..Default::default() }.to_svg(), "")
        .chart(BarChart { width: 500, ..Default::default() }.to_svg(), "")
        .table(&wide_table()?, "Wider than the page."))
}

/// Forty columns, of names, texts and numbers.
fn wide_table() -> Result<Table, Error> {
    let column = |it: usize| Column {
        name: format!("a_column_of_number_{it}"),
        kind: if it < 2 { Kind::Text } else { Kind::Float },
    };
    let mut table = Table::new((0..40).map(column).collect())?;
    for row in 0..12 {
        let cells = (0..40).map(|it| match it {
            0 => Cell::Text(format!("base_model.model.transformer.h.{row}.attn.c_attn.lora_A.default.weight")),
            1 => Cell::Text("left alone, since a vector of as many values as the model has dimensions has no spectrum".to_owned()),
            _ => Cell::Float(noise(row * it) * 10_f64.powf((it % 9) as f64 - 4.0)),
        });
        table.push(cells.collect())?;
    }
    Ok(table)
}
