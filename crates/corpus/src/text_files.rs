//! A document per text file.

use std::io::Read;
use std::path::Path;

use walkdir::WalkDir;

use crate::error::{Fault, Part};
use crate::source::{
    Content, MAX_DOCUMENT_BYTES, Meter, MeteredFile, RawDocument, RawDocuments, bad,
};
use crate::{Error, NamedFile};

/// The files in their order, each whole.
pub(crate) fn open(files: Vec<NamedFile>, meter: &Meter) -> RawDocuments {
    let meter = meter.clone();
    Box::new(files.into_iter().map(move |file| {
        let mut bytes = Vec::new();
        MeteredFile::open(&file.path, &meter)?
            .take(MAX_DOCUMENT_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| bad(file.name.as_ref(), Part::Whole, Fault::Unreadable(error)))?;
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(bad(file.name.as_ref(), Part::Whole, Fault::TooLong));
        }
        Ok(RawDocument::new(file.name, Part::Whole, Content::Text(bytes)))
    }))
}

/// The files below `root`, by the bytes of their path below it.
pub(crate) fn walk(root: &Path) -> Result<Vec<NamedFile>, Error> {
    let visible = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    let mut files = Vec::new();
    for entry in WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || visible(entry.file_name()))
    {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_path_buf();
            Error::io("read", &path)(error.into())
        })?;
        if entry.file_type().is_file() {
            let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let parts: Vec<&[u8]> =
                below.components().map(|part| part.as_os_str().as_encoded_bytes()).collect();
            files.push((parts.join(&b'/'), entry.into_path()));
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, path)| NamedFile::unnamed(path)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_is_walked_by_the_bytes_of_the_whole_path() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b.txt", "a/z", "a.txt", "B", "a/.hidden", ".git/config", "é"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let files = walk(dir.path()).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| file.path.strip_prefix(dir.path()).unwrap()).collect();
        // "B" = 42; "a." = 61 2e comes before "a/" = 61 2f; "é" = c3 a9
        assert_eq!(names, ["B", "a.txt", "a/z", "b.txt", "é"].map(Path::new));
    }

    #[test]
    fn a_file_that_went_away_is_named() {
        let gone = NamedFile { name: "gone".into(), path: "/nowhere/gone".into() };
        let error = open(vec![gone], &Meter::default()).next().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("cannot open `/nowhere/gone`: "), "{error}");
    }
}
