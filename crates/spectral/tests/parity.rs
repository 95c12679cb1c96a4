//! Parity with WeightWatcher 0.7.7 on the matrices of `fixtures/weights.safetensors`.
//!
//! Regenerate with `uv run scripts/generate_spectral_fixtures.py` (weightwatcher 0.7.7, numpy 2.4.6,
//! scipy 1.17.1); `fixtures/expected.json` has its columns, -1 its sentinel.
//!
//! Tolerances: counts and words exact. Reals 1e-9, relative; logarithms and what is alpha times one
//! 1e-9 absolute where relative fails. `sigma_mp` 1e-4 absolute, since the reference ends its simplex
//! early, and what follows from it 3e-4 relative; an infeasible law has the first sigma of its grid to
//! 1e-9. `detX_val` 1e-6 relative, or 1e-15 of the largest eigenvalue: it may be next to zero.
//! Exempt: `sv_min` below 1e-12 of `sv_max`, which is noise.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde_json::Value;
use spectral::{Analysis, Columns, Mode, Route, Weights};
use toml::Value as Cell;

const WEIGHTS: &[u8] = include_bytes!("fixtures/weights.safetensors");
const EXPECTED: &str = include_str!("fixtures/expected.json");

type Row = BTreeMap<String, Value>;

fn expected() -> BTreeMap<String, Row> {
    serde_json::from_str(EXPECTED).expect("written by the script")
}

/// Every tensor's name, values and shape.
fn tensors() -> Vec<(String, Vec<f32>, Vec<usize>)> {
    let tensors = SafeTensors::deserialize(WEIGHTS).expect("written by the script");
    let values = |data: &[u8]| {
        data.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect()
    };
    tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, values(view.data()), view.shape().to_vec()))
        .collect()
}

fn weights<'a>(values: &'a [f32], shape: &[usize]) -> Weights<'a> {
    match *shape {
        [rows, cols] => Weights::matrix(values, [rows, cols]).unwrap(),
        [a, b, c, d] => Weights::kernel(values, [a, b, c, d]).unwrap(),
        _ => panic!("a tensor of {} dimensions", shape.len()),
    }
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(word) => word.parse().unwrap(),
        None => value.as_f64().unwrap(),
    }
}

/// Whether `cell` is what WeightWatcher says in `column`.
fn agrees(column: &str, cell: Option<&Cell>, value: &Value, row: &Row) -> bool {
    match cell {
        None => value.is_null() || *value == "",
        Some(Cell::String(word)) => value == word,
        Some(Cell::Boolean(flag)) => value == flag,
        Some(Cell::Integer(count)) => number(value).to_bits() == (*count as f64).to_bits(),
        Some(Cell::Float(real)) => {
            let reference = number(value);
            let feasible = (number(&row["mp_softrank"]) - 0.0025).abs() > 1e-12;
            let (relative, absolute) = match column {
                "sigma_mp" if feasible => (0.0, 1e-4),
                "mp_softrank" | "bulk_max" | "bulk_min" if feasible => (3e-4, 0.0),
                "detX_val" | "detX_val_unrescaled" => (1e-6, 1e-15 * number(&row["lambda_max"])),
                "sv_min" => (1e-9, 1e-12 * number(&row["sv_max"])),
                _ if column.starts_with("log_") || column == "alpha_weighted" => (1e-9, 1e-9),
                _ => (1e-9, 0.0),
            };
            real.to_bits() == reference.to_bits()
                || real.is_nan() && reference.is_nan()
                || (real - reference).abs() <= relative * reference.abs() + absolute
        }
        Some(_) => false,
    }
}

/// What of a reference row is a column of ours: all but a word for the kind of layer, and what another
/// setting changes.
fn compared(row: &Row) -> impl Iterator<Item = (&String, &Value)> {
    row.iter().filter(|(name, _)| !["layer_type", "clip_xmax"].contains(&name.as_str()))
}

/// Every column that differs. TOML has words for what is not finite and nothing for what is empty.
fn differences(columns: &Columns, row: &Row) -> Vec<String> {
    let cells = toml::Table::try_from(columns).unwrap();
    let wrong = compared(row).filter(|(name, value)| !agrees(name, cells.get(*name), value, row));
    wrong.map(|(name, value)| format!("{name}: {:?} is not {value}", cells.get(name))).collect()
}

#[test]
fn all_columns_are_those_of_the_reference() {
    let expected = expected();
    let analysis = Analysis { mp_fit: true, ..Analysis::new(Mode::Compat) };
    let mut count = 0;
    for (name, values, shape) in tensors() {
        let (_, columns) = analysis.run(&weights(&values, &shape)).unwrap();
        let row = &expected[&name];
        assert_eq!(differences(&columns, row), [""; 0], "{name}");
        count += compared(row).count();
    }
    assert_eq!(count, 13 * 39);
}

#[test]
fn singular_values_say_the_same() {
    let expected = expected();
    let analysis = Analysis { mp_fit: true, route: Route::Svd, ..Analysis::new(Mode::Compat) };
    for (name, values, shape) in tensors() {
        let (_, columns) = analysis.run(&weights(&values, &shape)).unwrap();
        assert_eq!(differences(&columns, &expected[&name]), [""; 0], "{name}");
    }
}

#[test]
fn clipping_takes_the_same_fingers() {
    let expected = expected();
    let analysis = Analysis { clip_xmax: true, ..Analysis::new(Mode::Compat) };
    for (name, values, shape) in tensors() {
        let (_, columns) = analysis.run(&weights(&values, &shape)).unwrap();
        let clipped: Row = serde_json::from_value(expected[&name]["clip_xmax"].clone()).unwrap();
        let row = expected[&name].clone().into_iter().chain(clipped.clone()).collect();
        let different = differences(&columns, &row);
        let different: Vec<_> = different
            .into_iter()
            .filter(|it| clipped.contains_key(it.split(':').next().unwrap()))
            .collect();
        assert_eq!(different, [""; 0], "{name}");
    }
}

#[test]
fn degenerate_matrices_have_no_strict_number() {
    let analysis = Analysis { mp_fit: true, ..Analysis::new(Mode::Strict) };
    let status: BTreeMap<String, Columns> = tensors()
        .into_iter()
        .map(|(name, values, shape)| (name, analysis.run(&weights(&values, &shape)).unwrap().1))
        .collect();
    for (name, expected) in [
        ("zeros_40x30", "all_zero"),
        ("ties_identity_50", "tied"),
        ("small_30x9", "too_few"),
        ("lowrank_exact_rank20_120x80", "degenerate"),
        ("nearly_zero_60x40", "ok"),
    ] {
        let columns = &status[name];
        assert_eq!(columns.fit_status, Some(expected.into()), "{name}");
        assert_eq!(columns.alpha.is_some(), expected == "ok", "{name}");
        assert_eq!(columns.alpha_weighted.is_some(), expected == "ok", "{name}");
        assert_eq!(columns.warning, None, "{name}");
    }
    assert_eq!(status["lowrank_exact_rank20_120x80"].mp_status.as_deref(), Some("infeasible"));
    assert_eq!(status["lowrank_exact_rank20_120x80"].sigma_mp, None);
    assert_eq!(status["zeros_40x30"].mp_status.as_deref(), Some("failed"));
    for columns in status.values() {
        let cells = toml::Table::try_from(columns).unwrap();
        assert!(cells.values().filter_map(Cell::as_float).all(f64::is_finite), "{columns:?}");
    }
}
