//! `runs.csv`: a row a run.

use bounds::{Metric, Unit};
use report::{Cell, Column, Kind, Table};

use super::record::RunRecord;
use crate::Error;
use crate::artifact::CodeLength;
use crate::certificate::{MetricName, metrics, wanted};
use crate::config::CertifyConfig;

/// What claims are about: their level, their metric, and the rank of a top-k error.
pub(super) type Subject = (Unit, MetricName, Option<u32>);

/// What the certificates of a sweep make claims about, in their order.
///
/// # Errors
/// A top-k of 0.
pub(super) fn subjects(certify: &CertifyConfig) -> Result<Vec<Subject>, Error> {
    let metrics = metrics(&certify.top_k)?;
    let rank = |metric| match metric {
        Metric::TopKError { k } => Some(k.get()),
        Metric::BitsPerToken => None,
    };
    let units = [Unit::Document, Unit::Token].into_iter().filter(|&it| wanted(certify.unit, it));
    let of = |unit| metrics.iter().map(move |&it| (unit, MetricName::from(it), rank(it)));
    Ok(units.flat_map(of).collect())
}

/// Of every subject there is the claim with the least bound. Cells of what is not finished are empty.
pub(super) fn runs_table(runs: &[RunRecord], subjects: &[Subject]) -> Result<Table, report::Error> {
    let lengths: Vec<CodeLength> = runs.iter().filter_map(|it| it.code_length).collect();
    let lengths = Table::from_rows(&lengths)?;
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let mut columns = vec![
        column("mode", Kind::Text),
        column("intrinsic_dim", Kind::Integer),
        column("seed", Kind::Integer),
        column("status", Kind::Text),
        column("code_length", Kind::Integer),
    ];
    columns
        .extend(lengths.columns().iter().map(|it| column(&format!("bits_{}", it.name), it.kind)));
    columns.push(column("held_out_bits_per_token", Kind::Float));
    columns.push(column("best_step", Kind::Integer));
    columns.push(column("quantization_loss", Kind::Float));
    for subject in subjects {
        let name = spelt(subject);
        columns.extend(["risk", "bound"].map(|it| column(&format!("{name}_{it}"), Kind::Float)));
    }
    columns.push(column("seconds", Kind::Float));
    columns.push(column("failure", Kind::Text));

    let mut table = Table::new(columns)?;
    let blank = vec![Cell::Empty; lengths.columns().len()];
    let mut parts = lengths.rows().iter();
    for run in runs {
        let parts = run.code_length.and_then(|_| parts.next()).unwrap_or(&blank);
        table.push(cells(run, parts, subjects))?;
    }
    Ok(table)
}

fn cells(run: &RunRecord, parts: &[Cell], subjects: &[Subject]) -> Vec<Cell> {
    let integer = |value: u64| i64::try_from(value).map_or(Cell::Empty, Cell::Integer);
    let float = |value: Option<f64>| value.map_or(Cell::Empty, Cell::Float);
    let text = |value: &str| Cell::Text(value.to_owned());
    let mut cells = vec![
        text(&run.mode),
        integer(run.intrinsic_dim as u64),
        integer(run.seed),
        text(run.status.name()),
        run.code_length.map_or(Cell::Empty, |it| integer(it.total())),
    ];
    cells.extend_from_slice(parts);
    cells.push(float(run.held_out.map(|it| it.bits_per_token)));
    cells.push(run.held_out.map_or(Cell::Empty, |it| integer(it.step)));
    cells.push(float(run.compression.as_ref().map(|it| it.quantization_loss)));
    for &(unit, metric, k) in subjects {
        let claim = run.best(unit, metric, k);
        cells.extend([float(claim.map(|it| it.risk)), float(claim.map(|it| it.bound))]);
    }
    cells.push(float(run.seconds));
    // The first line is the error; what to do about it stands in `failed.txt`.
    let failure = run.failure.as_deref().and_then(|it| it.lines().next());
    cells.push(failure.map_or(Cell::Empty, text));
    cells
}

/// `document_bits_per_token`, `token_top_1_error`.
fn spelt((unit, metric, k): &Subject) -> String {
    match k {
        Some(k) => format!("{unit}_top_{k}_error"),
        None => format!("{unit}_{}", metric.name()),
    }
}
