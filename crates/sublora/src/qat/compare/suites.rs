//! Where the runs are.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::atomic::FileError;
use crate::qat::run::QatRun;

/// A run and what it is called.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    pub(super) label: String,
    pub(super) folder: PathBuf,
}

/// The runs in `paths`, see [`QatComparison::read`](super::QatComparison::read).
///
/// # Errors
/// A path without a run, or a number of labels that is not that of the paths.
pub(super) fn places(paths: &[PathBuf], labels: &[String]) -> Result<Vec<Place>, Error> {
    if !labels.is_empty() && labels.len() != paths.len() {
        let (labels, paths) = (labels.len(), paths.len());
        let reason = format!("there are {labels} labels for {paths} paths, expected one for each");
        return Err(Error::Config(reason));
    }
    let mut places = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let label = labels.get(number);
        let folders = if QatRun::stands_in(path) { vec![path.clone()] } else { in_suite(path)? };
        if folders.is_empty() {
            return Err(Error::Unfinished {
                folder: path.clone(),
                what: "run and no suite of runs",
            });
        }
        for folder in folders {
            let label = label.cloned().map_or_else(|| label_of(&folder), Ok)?;
            places.push(Place { label, folder });
        }
    }
    Ok(places)
}

/// The runs `*/seed-*` in `suite`, by name.
fn in_suite(suite: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut runs = Vec::new();
    for method in folders(suite)? {
        let is_run = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("seed-") && QatRun::stands_in(folder)
        };
        runs.extend(folders(&method)?.into_iter().filter(is_run));
    }
    Ok(runs)
}

/// The folders in `folder`, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = std::fs::read_dir(folder).map_err(FileError::at("read", folder))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(FileError::at("read", folder))?;
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

/// The name of the folder above `folder`.
fn label_of(folder: &Path) -> Result<String, Error> {
    let absolute = std::path::absolute(folder).map_err(FileError::at("find", folder))?;
    let name = absolute.parent().and_then(Path::file_name);
    Ok(name.unwrap_or_default().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn runs_are_found_by_their_folders_and_named_after_those_above() {
        let dir = tempfile::tempdir().unwrap();
        let suite = dir.path().join("suite");
        for run in ["static-4/seed-2", "static-4/seed-1", "cyclic/seed-1", "cyclic/old", "cyclic"] {
            fs::create_dir_all(suite.join(run)).unwrap();
        }
        for run in ["static-4/seed-2", "static-4/seed-1", "cyclic/seed-1", "cyclic/old"] {
            fs::write(suite.join(run).join("qat.toml"), "").unwrap();
        }
        let found = |paths: &[&str], labels: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(|it| dir.path().join(it)).collect();
            let labels: Vec<String> = labels.iter().map(|&it| it.to_owned()).collect();
            let places = places(&paths, &labels)?.into_iter();
            let relative = |it: Place| {
                let folder = it.folder.strip_prefix(dir.path()).unwrap().to_owned();
                (it.label, folder.to_string_lossy().replace('\\', "/"))
            };
            Ok::<_, Error>(places.map(relative).collect::<Vec<_>>())
        };
        let named = |label: &str, folder: &str| (label.to_owned(), folder.to_owned());
        let all = [
            named("cyclic", "suite/cyclic/seed-1"),
            named("static-4", "suite/static-4/seed-1"),
            named("static-4", "suite/static-4/seed-2"),
        ];
        assert_eq!(found(&["suite"], &[]).unwrap(), all);
        let one = ["suite/cyclic/old"];
        assert_eq!(found(&one, &[]).unwrap(), [named("cyclic", one[0])]);
        assert_eq!(found(&one, &["before"]).unwrap(), [named("before", one[0])]);

        let error = |paths: &[&str], labels: &[&str]| found(paths, labels).unwrap_err().to_string();
        assert_eq!(
            error(&one, &["a", "b"]),
            "there are 2 labels for 1 paths, expected one for each"
        );
        assert!(error(&["suite/static-4"], &[]).ends_with("holds no run and no suite of runs"));
        assert!(error(&["absent"], &[]).starts_with("cannot read `"));
    }
}
