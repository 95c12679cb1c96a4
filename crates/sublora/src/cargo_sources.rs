//! A text that is on every machine that has built this program: the sources of its dependencies.
//!
//! # Definition
//! The documents are the `.rs` files of the crates in [`CRATES`], at the versions of a `Cargo.lock`, as
//! cargo unpacked them. Published crates never change, so the lock file determines the text. A file
//! is left out if it lies in a directory `target`, if it is a symbolic link, if it is shorter than 256
//! bytes or longer than 256 KiB, if it is not UTF-8, or if over a quarter of its bytes are digits: a
//! table rather than a text. Files come in byte-wise order of their names, `serde-1.0.229/src/lib.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corpus::NamedFile;
use rayon::prelude::*;
use serde::Deserialize;
use walkdir::WalkDir;

use crate::atomic::FileError;

/// Bytes of a file.
const SIZES: std::ops::RangeInclusive<u64> = 256..=256 * 1024;

/// The crates, each of which the program needs at one version, on every platform, whatever its
/// features.
pub(crate) const CRATES: &[&str] = &[
    "aho-corasick",
    "anyhow",
    "bstr",
    "burn-autodiff",
    "burn-backend",
    "burn-core",
    "burn-nn",
    "burn-optim",
    "burn-std",
    "burn-store",
    "burn-tensor",
    "bytes",
    "chrono",
    "compact_str",
    "constriction",
    "crossbeam-deque",
    "crossbeam-epoch",
    "crossbeam-utils",
    "derive_more",
    "either",
    "flate2",
    "half",
    "indexmap",
    "libm",
    "log",
    "memchr",
    "memmap2",
    "num-integer",
    "num-traits",
    "once_cell",
    "parquet",
    "proc-macro2",
    "quote",
    "rand_distr",
    "rayon",
    "rayon-core",
    "regex",
    "regex-automata",
    "regex-syntax",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "smallvec",
    "statrs",
    "tempfile",
    "tokenizers",
    "toml",
    "toml_parser",
    "walkdir",
    "winnow",
    "zerocopy",
    "zerocopy-derive",
];

/// The sources cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CargoSourcesError {
    /// The lock file does not parse.
    #[error("the lock file cannot be read: {0}")]
    Lock(#[from] toml::de::Error),
    /// A crate is not locked at exactly one version.
    #[error("crate `{name}` has {versions} versions in the lock file, expected 1")]
    Versions {
        /// The crate.
        name: &'static str,
        /// How many there are.
        versions: usize,
    },
    /// A crate has not been downloaded and unpacked, as `cargo fetch` does.
    #[error("crate `{name}` is not in `{}`, expected it there after `cargo fetch`", registry.display())]
    Missing {
        /// The crate and its version.
        name: String,
        /// Where the sources of all crates lie.
        registry: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The sources of a fixed list of crates at the versions of `lock`, the text of a `Cargo.lock`, in the
/// home directory of cargo: `$CARGO_HOME`, or `.cargo` in the user's.
///
/// # Errors
/// If `lock` is none or does not lock every crate at one version, a crate is missing, or a file
/// cannot be read.
pub fn cargo_sources(lock: &str, cargo_home: &Path) -> Result<Vec<NamedFile>, CargoSourcesError> {
    list(CRATES, lock, cargo_home)
}

fn list(
    crates: &[&'static str],
    lock: &str,
    cargo_home: &Path,
) -> Result<Vec<NamedFile>, CargoSourcesError> {
    let registry = cargo_home.join("registry").join("src");
    let indices = match fs::read_dir(&registry) {
        Ok(entries) => {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            let mut paths =
                paths.collect::<Result<Vec<_>, _>>().map_err(FileError::at("read", &registry))?;
            paths.sort();
            paths
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(FileError::at("read", &registry)(error).into()),
    };
    let mut files = Vec::new();
    for name in versioned(crates, lock)? {
        let unpacked = |dir: &PathBuf| dir.join(".cargo-ok").is_file(); // written last
        let dir = indices.iter().map(|index| index.join(&name)).find(unpacked);
        let Some(dir) = dir else {
            return Err(CargoSourcesError::Missing { name, registry });
        };
        walk(&name, &dir, &mut files)?;
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    let texts = files.par_iter().map(|file| is_text(&file.path)).collect::<Result<Vec<_>, _>>()?;
    let mut texts = texts.into_iter();
    files.retain(|_| texts.next().unwrap_or(false));
    Ok(files)
}

/// `NAME-VERSION` of every crate.
fn versioned(crates: &[&'static str], lock: &str) -> Result<Vec<String>, CargoSourcesError> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }

    let lock: Lock = toml::from_str(lock)?;
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in lock.package {
        versions.entry(package.name).or_default().push(package.version);
    }
    let versioned = |&name: &&'static str| match versions.get(name).map(Vec::as_slice) {
        Some([version]) => Ok(format!("{name}-{version}")),
        other => {
            Err(CargoSourcesError::Versions { name, versions: other.map_or(0, <[String]>::len) })
        }
    };
    crates.iter().map(versioned).collect()
}

/// The files of one crate that go by name, kind and size.
fn walk(name: &str, dir: &Path, files: &mut Vec<NamedFile>) -> Result<(), FileError> {
    let entries = WalkDir::new(dir).into_iter().filter_entry(|entry| entry.file_name() != "target");
    for entry in entries {
        let entry = entry.map_err(|error| FileError::at("read", dir)(error.into()))?;
        let path = entry.path();
        if !entry.file_type().is_file() || path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let metadata = entry.metadata();
        let size = metadata.map_err(|error| FileError::at("read", path)(error.into()))?.len();
        let parts = path.strip_prefix(dir).unwrap_or(path).iter().map(|part| part.to_str());
        let Some(parts) = parts.collect::<Option<Vec<_>>>() else { continue };
        if SIZES.contains(&size) {
            files
                .push(NamedFile { name: format!("{name}/{}", parts.join("/")), path: path.into() });
        }
    }
    Ok(())
}

/// UTF-8, and no more than a quarter of it digits.
fn is_text(path: &Path) -> Result<bool, FileError> {
    let bytes = fs::read(path).map_err(FileError::at("read", path))?;
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    Ok(str::from_utf8(&bytes).is_ok() && 4 * digits <= bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n
        [[package]]\nname = \"one\"\nversion = \"1.0.0\"\n
        [[package]]\nname = \"two\"\nversion = \"2.1.0\"\n
        [[package]]\nname = \"both\"\nversion = \"1.0.0\"\n
        [[package]]\nname = \"both\"\nversion = \"2.0.0\"\n";

    fn put(home: &Path, path: &str, content: &[u8]) {
        let path = home.join("registry/src").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn files_are_filtered_and_sorted_over_several_indices() {
        let home = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &[u8]| put(home.path(), path, content);
        let text = [b'x'; 256];
        put("a-index/two-2.1.0/src/lib.rs", &text); // unpacking was interrupted
        put("b-index/two-2.1.0/.cargo-ok", b"");
        put("b-index/two-2.1.0/src/lib.rs", &text);
        put("a-index/one-1.0.0/.cargo-ok", b"");
        for (name, content) in [
            ("src/z.rs", &text[..]),
            ("src/a/mod.rs", &text),
            ("src/a-b.rs", &text), // `-` comes before `/`
            ("README.md", &text),
            ("target/debug/out.rs", &text),
            ("src/short.rs", &text[..255]),
            ("src/longest.rs", &vec![b'x'; 256 * 1024]),
            ("src/long.rs", &vec![b'x'; 256 * 1024 + 1]),
            ("src/latin.rs", &[0xe9; 300]),
            ("src/quarter.rs", &[&[b'7'; 100][..], &[b'x'; 300]].concat()),
            ("src/table.rs", &[&[b'7'; 101][..], &[b'x'; 300]].concat()),
        ] {
            put(&format!("a-index/one-1.0.0/{name}"), content);
        }
        let files = list(&["two", "one"], LOCK, home.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let expected = [
            "one-1.0.0/src/a-b.rs",
            "one-1.0.0/src/a/mod.rs",
            "one-1.0.0/src/longest.rs",
            "one-1.0.0/src/quarter.rs",
            "one-1.0.0/src/z.rs",
            "two-2.1.0/src/lib.rs",
        ];
        assert_eq!(names, expected);
        assert!(files[5].path.starts_with(home.path().join("registry/src/b-index")));
    }

    #[test]
    fn what_is_missing_is_named() {
        let home = tempfile::tempdir().unwrap();
        let error = |name, lock| list(&[name], lock, home.path()).unwrap_err().to_string();
        let missing = error("one", LOCK);
        assert!(missing.starts_with("crate `one-1.0.0` is not in `"), "{missing}");
        assert!(missing.ends_with("expected it there after `cargo fetch`"), "{missing}");
        let versions = "versions in the lock file, expected 1";
        assert_eq!(error("both", LOCK), format!("crate `both` has 2 {versions}"));
        assert_eq!(error("three", LOCK), format!("crate `three` has 0 {versions}"));
        assert_eq!(error("one", ""), format!("crate `one` has 0 {versions}"));
        assert!(error("one", "package = 1").starts_with("the lock file cannot be read: "));
        fs::write(home.path().join("registry"), "").unwrap();
        #[cfg(unix)]
        assert!(error("one", LOCK).starts_with("cannot read `"));
    }

    #[test]
    fn our_lock_file_holds_every_crate_once() {
        let lock = include_str!("../../../Cargo.lock");
        assert_eq!(versioned(CRATES, lock).unwrap().len(), CRATES.len());
        assert!(CRATES.is_sorted());
    }
}
