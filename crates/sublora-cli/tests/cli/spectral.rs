//! `sublora spectral`: beside WeightWatcher, and interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::done;

/// Where the matrices of the library's parity test are, and what WeightWatcher 0.7.7 says of them.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../spectral/tests/fixtures");

type Row = BTreeMap<String, String>;

/// The rows of `spectral.csv`, none of whose first columns has a comma in it, by tensor and variant.
fn rows(folder: &Path) -> BTreeMap<(String, String), Row> {
    let csv = fs::read_to_string(folder.join("spectral.csv")).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells: Row = header
            .iter()
            .zip(line.split(','))
            .map(|(name, cell)| (name.to_string(), cell.to_owned()))
            .collect();
        ((cells["tensor"].clone(), cells["variant"].clone()), cells)
    };
    lines.map(row).collect()
}

/// Whether `cell` is what WeightWatcher says in `column`: reals to 1e-9, relative. As in the parity test of
/// the library, what follows from the end of a simplex has 1e-4, and what is next to zero has an absolute
/// tolerance.
fn agrees(column: &str, cell: &str, expected: &Value, row: &BTreeMap<String, Value>) -> bool {
    let Some(reference) = expected.as_f64() else {
        let word = match expected {
            Value::Null => String::new(),
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        return cell == word;
    };
    let Ok(found) = cell.parse::<f64>() else { return false };
    let share_of = |name: &str, share: f64| share * row[name].as_f64().unwrap();
    let (relative, absolute) = match column {
        "sigma_mp" => (0.0, 1e-4),
        "mp_softrank" | "bulk_max" | "bulk_min" => (3e-4, 0.0),
        "detX_val" | "detX_val_unrescaled" => (1e-6, share_of("lambda_max", 1e-15)),
        "sv_min" => (1e-9, share_of("sv_max", 1e-12)),
        _ => (1e-9, 0.0),
    };
    (found - reference).abs() <= relative * reference.abs() + absolute
}

#[test]
fn compat_columns_are_those_of_weightwatcher() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let settings = "--mode compat --mp-fit --quantize 2 --bootstrap 0 --noise 0 --no-farms";
    done(at, &format!("spectral {FIXTURES}/weights.safetensors {settings} --out spectra"));
    let rows = rows(&at.join("spectra"));
    let text = fs::read_to_string(format!("{FIXTURES}/expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    let (mut different, mut compared) = (Vec::new(), 0);
    for (name, reference) in &expected {
        // What the script has quantised is a variant here as well.
        let quantised = name.strip_suffix("__q2").map(|tensor| (tensor, "2bit-tensor"));
        for (tensor, variant) in [(name.as_str(), "original")].into_iter().chain(quantised) {
            let row = &rows[&(tensor.to_owned(), variant.to_owned())];
            for (column, value) in reference.iter().filter(|(column, _)| *column != "clip_xmax") {
                let cell = &row[column];
                if !agrees(column, cell, value, reference) {
                    different.push(format!("{tensor} {variant} {column}: {cell} is not {value}"));
                }
                compared += 1;
            }
        }
    }
    assert_eq!(different, [""; 0]);
    assert_eq!(compared, 14 * 40, "13 tensors and a variant, 40 columns");
}
