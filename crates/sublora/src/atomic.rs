//! Files that are there whole or not at all: written under a temporary name, then renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The operating system refused something to do with a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct FileError {
    /// What was tried, for example `open`.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The answer.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: the operating system's answer with its place.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { action, path, source }
    }
}

/// Writes `bytes` to `path`, in place of what may be there.
///
/// # Errors
/// As [`write_with`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes what `content` writes to `path`, in place of what may be there. Whoever opens `path`
/// finds the old file or the whole new one, after a crash of the machine too.
///
/// # Errors
/// If `content` fails, the directory of `path` does not exist or cannot be written to, or `path` is
/// a directory. What was there before is then untouched.
pub(crate) fn write_with(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<(), FileError> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let write = || {
        staged(dir, content)?.persist(path)?;
        sync(dir)
    };
    write().map_err(FileError::at("write", path))
}

/// Writes files, names and contents, to `folder`, in place of what may be there: none of them unless
/// there is room for all.
///
/// # Errors
/// If `folder` does not exist or cannot be written to, or one of the names is a directory.
pub(crate) fn write_all(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), FileError> {
    let stage = |(name, bytes): &(&str, Vec<u8>)| {
        let path = folder.join(name);
        let file = staged(folder, |file| file.write_all(bytes));
        Ok((file.map_err(FileError::at("write", &path))?, path))
    };
    let staged: Result<Vec<_>, FileError> = files.iter().map(stage).collect();
    for (file, path) in staged? {
        file.persist(&path).map_err(|error| FileError::at("write", &path)(error.error))?;
    }
    sync(folder).map_err(FileError::at("write", folder))
}

/// A file in `dir` under a temporary name, with its content on disk.
fn staged(
    dir: &Path,
    content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // before the umask
    let temporary = builder.tempfile_in(dir)?;
    let mut file = BufWriter::new(temporary.as_file());
    content(&mut file)?;
    file.flush()?;
    drop(file);
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

/// The names in `dir`.
fn sync(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_new_file_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write(&path, b"old").unwrap();
        write(&path, b"new and longer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new and longer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::other("disk full"))
        });
        let expected = format!("cannot write `{}`: disk full", path.display());
        assert_eq!(error.unwrap_err().to_string(), expected);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn several_files_are_written_or_none_is() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("a", b"1".to_vec()), ("b", b"2".to_vec())];
        write_all(dir.path(), &files).unwrap();
        write_all(dir.path(), &[("a", b"3".to_vec())]).unwrap();
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"3");
        assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let error = write_all(&dir.path().join("absent"), &files).unwrap_err().to_string();
        assert!(error.starts_with("cannot write `"), "{error}");
    }

    #[test]
    fn the_error_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("absent/model"), b"").unwrap_err().to_string();
        assert!(error.starts_with("cannot write `") && error.contains("absent"), "{error}");
        assert!(write(dir.path(), b"").is_err()); // a directory is in the way
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_lets_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        write(&dir.path().join("ours"), b"").unwrap();
        fs::write(dir.path().join("plain"), b"").unwrap();
        assert_eq!(mode("ours"), mode("plain"));
    }
}
