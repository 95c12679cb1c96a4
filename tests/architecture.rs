//! The rules that no compiler checks: who depends on whom, what is absent, what is documented.
//!
//! ARCHITECTURE.md says why. A test here that fails is a question about the design, not about a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bounds::AnyBound;
use corpus::AnyTokenizer;
use ortho_linear::{AnyBase, AnySelection};
use precision_schedule::AnyPrecisionSchedule;
use quantizers::{AnyCodebook, AnyGrid, AnyRange};
use spectral::AnyEstimator;
use subspace_projectors::{AnyAllocation, AnyGate, AnyProjector};
use toml::Table;
use walkdir::WalkDir;

/// Every crate, and the crates of this workspace that it may use beside [`FOR_ALL`].
const ARROWS: &[(&str, &[&str])] = &[
    ("adapters", &["gpt2-model", "quantizers"]),
    ("bounds", &[]),
    ("corpus", &[]),
    ("counter-rng", &[]),
    ("gpt2-model", &[]),
    ("ortho-linear", &["gpt2-model", "quantizers"]),
    ("precision-schedule", &[]),
    ("quantizers", &[]),
    ("registry", &[]),
    ("report", &[]),
    ("spectral", &[]),
    (
        "sublora",
        &[
            "adapters",
            "bounds",
            "corpus",
            "gpt2-model",
            "ortho-linear",
            "precision-schedule",
            "quantizers",
            "report",
            "spectral",
            "subspace-projectors",
            "weight-files",
        ],
    ),
    ("sublora-cli", &["sublora"]),
    ("subspace-projectors", &[]),
    ("weight-files", &[]),
];

/// May be used by every crate but each other.
const FOR_ALL: [&str; 2] = ["counter-rng", "registry"];

/// Compile and test in seconds: nothing of burn anywhere below them.
const BURN_FREE: [&str; 10] = [
    "bounds",
    "corpus",
    "counter-rng",
    "precision-schedule",
    "quantizers",
    "registry",
    "report",
    "spectral",
    "subspace-projectors",
    "weight-files",
];

/// Longer than this, a file holds more than one concept.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_toml(path: &Path) -> Table {
    read(path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a folder of the repository with this extension, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    WalkDir::new(root().join(folder))
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect()
}

/// The names of the folders in `crates`, which are the names of the crates.
fn crates() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.path().is_dir());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What a manifest names in its `dependencies`, `dev-dependencies` and `build-dependencies`, also in
/// those for one platform.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(|it| it.as_table());
    let targets = targets.into_iter().flatten().filter_map(|(_, it)| it.as_table());
    let tables = [manifest].into_iter().chain(targets).flatten();
    tables
        .filter(|(key, _)| key.ends_with("dependencies"))
        .flat_map(|(_, table)| table.as_table().unwrap().keys().cloned())
        .collect()
}

/// The Rust sources of the library crates: of all but those with a `main.rs`.
fn library_sources() -> Vec<PathBuf> {
    let is_library = |name: &String| !root().join("crates").join(name).join("src/main.rs").exists();
    let folders = crates().into_iter().filter(is_library);
    folders.flat_map(|name| files(&format!("crates/{name}/src"), "rs")).collect()
}

#[test]
fn dependencies_follow_the_arrows() {
    let crates = crates();
    for name in &crates {
        let arrows = ARROWS.iter().find(|(from, _)| from == name);
        let (_, arrows) = arrows.unwrap_or_else(|| {
            panic!("`{name}` has no arrows: add them here and to ARCHITECTURE.md")
        });
        let manifest = read_toml(&root().join("crates").join(name).join("Cargo.toml"));
        assert_eq!(manifest["package"]["name"].as_str(), Some(name.as_str()));
        for to in dependencies(&manifest).intersection(&crates) {
            let is_allowed = arrows.contains(&to.as_str())
                || FOR_ALL.contains(&to.as_str()) && !FOR_ALL.contains(&name.as_str());
            assert!(is_allowed, "`{name}` uses `{to}`: a new arrow is a design change");
        }
    }
}

#[test]
fn burn_is_nowhere_below_the_crates_without_it() {
    let lock = read_toml(&root().join("Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    for start in BURN_FREE {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(name) = open.pop() {
            assert!(!name.starts_with("burn"), "`{start}` depends on `{name}`");
            if seen.insert(name) {
                let versions = packages.iter().filter(|it| it["name"].as_str() == Some(name));
                let below = versions.filter_map(|it| it.get("dependencies")?.as_array()).flatten();
                open.extend(below.map(|it| it.as_str().unwrap().split(' ').next().unwrap()));
            }
        }
        assert!(seen.len() > 1, "`{start}` is not in Cargo.lock");
    }
}

#[test]
fn libraries_neither_print_nor_read_the_environment() {
    for path in library_sources() {
        for (line, number) in read(&path).lines().zip(1..) {
            let code = line.trim_start();
            let forbidden = ["println!", "print!", "dbg!", "env::"];
            let found =
                forbidden.into_iter().find(|it| code.contains(it) && !code.starts_with("//"));
            assert!(found.is_none(), "{}:{number} has {found:?}", path.display());
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for path in files("crates", "rs") {
        let lines = read(&path).lines().count();
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines, expected at most {MAX_LINES}",
            path.display()
        );
    }
}

#[test]
fn every_config_parses() {
    for path in files("configs", "toml") {
        read_toml(&path);
    }
}

const METHODS_HEAD: &str = "\
# Methods

Every tokenizer, projector, allocation, gate, codebook, precision schedule, grid, range, base kind,
selection of outliers, estimator and bound by the `kind` it has in configuration files, with the first lines of its documentation. The kind of an allocation is
`allocation_mode` in a table `[sublora]`, where `allocation_` stands before its settings. Written by `cargo test` from the registries; see EXTENDING.md.
";

/// Like a lock file: an outdated table is rewritten, and the test fails so that it gets committed.
#[test]
fn every_method_is_in_the_docs() {
    let mut table = METHODS_HEAD.to_owned();
    macro_rules! section {
        ($title:literal, $registry:ident) => {
            table += concat!("\n## ", $title, "\n\n| `kind` | what it is |\n|---|---|\n");
            for method in $registry::all() {
                table += &format!("| `{}` | {} |\n", method.name(), method.about());
            }
        };
    }
    section!("Tokenizers", AnyTokenizer);
    section!("Projectors", AnyProjector);
    section!("Allocations", AnyAllocation);
    section!("Gates", AnyGate);
    section!("Codebooks", AnyCodebook);
    section!("Precision schedules", AnyPrecisionSchedule);
    section!("Grids", AnyGrid);
    section!("Ranges", AnyRange);
    section!("Base kinds", AnyBase);
    section!("Selections of outliers", AnySelection);
    section!("Estimators", AnyEstimator);
    section!("Bounds", AnyBound);

    let path = root().join("docs/methods.md");
    if fs::read_to_string(&path).ok().as_deref() != Some(&table) {
        fs::write(&path, &table).unwrap();
        panic!("docs/methods.md was not what the registries say; it is now, commit it");
    }
}

/// A path in backticks that starts with a folder of the repository, or a relative link.
#[test]
fn every_path_in_the_docs_exists() {
    let at_top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let at_top = at_top.filter(|path| path.extension().is_some_and(|it| it == "md"));
    for page in at_top.chain(files("docs", "md")) {
        let text = read(&page);
        let quoted = text.split('`').skip(1).step_by(2).map(|it| root().join(it));
        let quoted = quoted.filter(|path| {
            let inside = path.strip_prefix(root()).unwrap_or(path);
            ["crates", "docs", "scripts", "tests", "fuzz", ".ci", ".github"]
                .iter()
                .any(|top| inside.starts_with(top))
                && !path.to_string_lossy().contains(['*', '<', '{', ' '])
        });
        let links = text.split("](").skip(1).filter_map(|it| it.split(&[')', '#'][..]).next());
        let links = links.filter(|it| !it.is_empty() && !it.contains("://"));
        for path in quoted.chain(links.map(|it| page.parent().unwrap().join(it))) {
            assert!(path.exists(), "{} names {}", page.display(), path.display());
        }
    }
}
