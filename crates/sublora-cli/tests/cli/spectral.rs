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
    // What was left out is not there.
    let left_out = |row: &Row| row["farms"].is_empty() && row["alpha_lo"].is_empty();
    assert!(rows.values().all(left_out) && rows.values().any(|row| !row["hill"].is_empty()));
    assert_eq!(compared, 14 * 40, "13 tensors and a variant, 40 columns");
}

#[cfg(unix)]
mod interrupted {
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    use counter_rng::Key;

    use super::*;
    use crate::command;

    const MATRICES: usize = 16;

    /// Square matrices of 64 rows.
    fn checkpoint() -> Vec<u8> {
        const BYTES: usize = 4 * 64 * 64;
        let tensor = |index: usize| {
            let (start, end) = (index * BYTES, (index + 1) * BYTES);
            format!(
                r#""{index}.weight":{{"dtype":"F32","shape":[64,64],"data_offsets":[{start},{end}]}}"#
            )
        };
        let tensors: Vec<String> = (0..MATRICES).map(tensor).collect();
        let header = format!("{{{}}}", tensors.join(","));
        let mut values = vec![0.0_f32; MATRICES * 64 * 64];
        Key::from_seed(5).fill_normal(0, &mut values);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        bytes
    }

    /// The names of finished matrices; a file that is written anew is another file.
    fn records(folder: &Path) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(folder.join("cache")).into_iter().flatten().map(Result::unwrap);
        let records = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            Some((name, entry.metadata().ok()?.ino())) // what is being written may be gone
        });
        records.filter(|(name, _)| name.len() == 64).collect()
    }

    fn files(folder: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    }

    #[test]
    fn ctrl_c_exits_with_130_and_the_same_command_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::write(at.join("model.safetensors"), checkpoint()).unwrap();
        let line = "spectral model.safetensors --quantize 4 --bootstrap 4000 --out";
        let mut child = command(at, &format!("{line} parts"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while records(&at.join("parts")).is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "it ended without a record");
            std::thread::yield_now();
        }
        let interrupt = format!("kill -INT {}", child.id());
        assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "error: interrupted; what was finished is kept for the next call\n\n\
             hint: with `--out`, the same command goes on\n"
        );
        assert!(output.stdout.is_empty());
        let finished = records(&at.join("parts"));
        assert!((1..MATRICES).contains(&finished.len()), "{}", finished.len());
        assert!(files(&at.join("parts")).is_empty(), "a report of a part");

        done(at, &format!("{line} parts"));
        let all = records(&at.join("parts"));
        assert_eq!(all.len(), MATRICES);
        assert!(finished.iter().all(|(name, file)| all[name] == *file), "analysed again");
        done(at, &format!("{line} whole"));
        assert_eq!(files(&at.join("parts")), files(&at.join("whole")));
    }
}
