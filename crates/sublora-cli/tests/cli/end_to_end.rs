//! `configs/tiny.toml` from text to a verified certificate, and everything that must not verify.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sublora::{Certificate, MetricName};
use tempfile::TempDir;

use crate::{done, sublora, text};

/// What configs/tiny.toml says that a reader should find, in bits per byte. Another CPU may round
/// otherwise while training, hence the tolerance.
const TOKEN_BOUND: f64 = 3.25;
const TOLERANCE: f64 = 0.1;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/tiny.toml");

/// Corpus, run and certificate; made once, copied by whoever changes something.
static MADE: LazyLock<TempDir> = LazyLock::new(make);

fn make() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text.jsonl"), text::json_lines(200)).unwrap();
    done(
        at,
        "corpus build --input text.jsonl --tokenizer byte --val-fraction 0.1 --out corpus --near-duplicates",
    );
    done(at, &format!("train --config {CONFIG} --corpus corpus --out run"));
    done(at, "compress run --corpus corpus");
    done(at, "certify run --corpus corpus");
    folder
}

fn on_the_cpu() -> bool {
    std::env::var("SUBLORA_DEVICE").map_or(true, |device| device == "flex")
}

/// The files of a folder and those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in files(MADE.path()) {
        let to = copy.path().join(path.strip_prefix(MADE.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
    copy
}

/// Changes a file, calls `verify` and restores the file.
fn verified_with(
    folder: &Path,
    path: &Path,
    change: impl FnOnce(&mut Vec<u8>),
    line: &str,
) -> String {
    let bytes = fs::read(path).unwrap();
    let mut changed = bytes.clone();
    change(&mut changed);
    fs::write(path, changed).unwrap();
    let shown = sublora(folder, line);
    fs::write(path, bytes).unwrap();
    assert_eq!(shown.code, 1, "{}: {shown:?}", path.display());
    assert!(shown.stdout.starts_with("refuted: ") && shown.stderr.is_empty(), "{shown:?}");
    shown.stdout
}

#[test]
fn from_text_to_a_verified_certificate() {
    let at = MADE.path();
    let certificate = Certificate::read(&at.join("run/certificate.json")).unwrap();
    let token =
        certificate.best(sublora::bounds::Unit::Token, MetricName::BitsPerToken, None).unwrap();
    let document =
        certificate.best(sublora::bounds::Unit::Document, MetricName::BitsPerToken, None).unwrap();
    assert!(!token.vacuous && token.bound < document.bound, "{certificate:?}");
    let config = fs::read_to_string(CONFIG).unwrap();
    assert!((token.bound - TOKEN_BOUND).abs() < TOLERANCE, "{token:?}");
    let said = format!("# {TOKEN_BOUND} bits per byte");
    assert!(config.contains(&said), "configs/tiny.toml says another number to expect");

    let confirmed = done(at, "verify run/certificate.json");
    assert!(confirmed.starts_with("confirmed: "), "{confirmed}");
    let full = done(at, "verify run/certificate.json --full");
    assert!(full.contains("evaluated again, largest difference 0.0e0 nats"), "{full}");
    let held_out = done(at, "eval run --corpus corpus --json");
    assert!(held_out.contains("\"bits_per_token\": "), "{held_out}");
    let generate = "generate run --corpus corpus --prompt the --tokens 20 --seed 3";
    let text = done(at, generate);
    assert!(text.starts_with("the") && text == done(at, generate), "{text}");
    // Another folder, the same files beside each other: paths are relative.
    done(Path::new("/"), &format!("verify {}", at.join("run/certificate.json").display()));
    done(copy().path(), "verify run/certificate.json");
}

#[test]
fn a_second_run_is_the_same_to_the_byte() {
    let again = make();
    let compared = ["run", "corpus"].map(|name| MADE.path().join(name));
    let mut count = 0;
    for path in compared.iter().flat_map(|folder| files(folder)) {
        let other = again.path().join(path.strip_prefix(MADE.path()).unwrap());
        // TensorBoard's files carry the time, burn's record of an optimiser its weights in any order.
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Backends other than the CPU choose their kernels by timing them.
        let same_kernels = on_the_cpu() || path.starts_with(MADE.path().join("corpus"));
        if !name.contains("tfevents") && name != "last.safetensors" && same_kernels {
            assert!(fs::read(&path).unwrap() == fs::read(other).unwrap(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > if on_the_cpu() { 10 } else { 4 }, "{count} files");
}

#[test]
fn any_flipped_byte_is_refuted() {
    let folder = copy();
    let at = folder.path();
    let mut paths = files(&at.join("corpus"));
    assert!(paths.len() >= 5, "{paths:?}");
    let evidence = ["model.sublora", "scores.safetensors", "certificate.json"];
    paths.extend(evidence.map(|name| at.join("run").join(name)));
    for path in paths {
        let length = fs::read(&path).unwrap().len();
        for place in 0..8 {
            let offset = place * (length - 1) / 7;
            for flip in [0x01, 0x80] {
                let change = |bytes: &mut Vec<u8>| bytes[offset] ^= flip;
                let said = verified_with(at, &path, change, "verify run/certificate.json");
                assert_eq!(said.lines().count(), 1, "a sentence: {said}");
            }
        }
        verified_with(at, &path, |bytes| bytes.truncate(length / 2), "verify run/certificate.json");
        verified_with(at, &path, |bytes| bytes.push(b' '), "verify run/certificate.json");
    }
    done(at, "verify run/certificate.json");
}

#[test]
fn a_full_verification_sees_the_base_too() {
    let folder = copy();
    let at = folder.path();
    let line = "verify run/certificate.json --full";
    let weights = at.join("run/base/model.safetensors");
    let length = fs::read(&weights).unwrap().len();
    for offset in [0, 9, 40, length / 2, length - 1] {
        verified_with(at, &weights, |bytes| bytes[offset] ^= 0x04, line);
    }
    verified_with(at, &weights, |bytes| bytes.truncate(length / 2), line);
    // The same weights under another configuration are another model.
    let heads = |bytes: &mut Vec<u8>| {
        let config = String::from_utf8(bytes.clone()).unwrap();
        *bytes = config.replace("\"n_head\": 4", "\"n_head\": 2").into_bytes();
        assert_ne!(config.as_bytes(), bytes.as_slice());
    };
    let said = verified_with(at, &at.join("run/base/config.json"), heads, line);
    assert!(said.contains("configuration"), "{said}");
}

#[test]
fn what_is_not_there_cannot_be_refuted() {
    let folder = copy();
    let at = folder.path();
    let parts = ["run/model.sublora", "run/scores.safetensors", "run/certificate.json", "corpus"];
    for part in parts {
        fs::rename(at.join(part), at.join("elsewhere")).unwrap();
        let shown = sublora(at, "verify run/certificate.json");
        assert_eq!((shown.code, shown.stdout.as_str()), (2, ""), "{part}: {shown:?}");
        let name = part.rsplit('/').next().unwrap();
        assert!(
            shown.stderr.starts_with("error: cannot ") && shown.stderr.contains(name),
            "{shown:?}"
        );
        fs::rename(at.join("elsewhere"), at.join(part)).unwrap();
    }
    fs::rename(at.join("run/base"), at.join("elsewhere")).unwrap();
    done(at, "verify run/certificate.json");
    assert_eq!(sublora(at, "verify run/certificate.json --full").code, 2);
}
