//! Which files make a checkpoint, and in which format each is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::unique_map::UniqueMap;
use crate::{Error, FileFault};

/// Formats, each with its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Names the files of the others.
    Index,
    Safetensors,
    PyTorch,
    Onnx,
    Npz,
    Npy,
}

/// Endings of file names, the preferred formats first.
pub(crate) const ENDINGS: [(&str, Format); 10] = [
    (".index.json", Format::Index),
    (".safetensors", Format::Safetensors),
    (".bin", Format::PyTorch),
    (".pt", Format::PyTorch),
    (".pth", Format::PyTorch),
    (".pth.tar", Format::PyTorch), // named so by habit, it is no TAR archive
    (".ckpt", Format::PyTorch),
    (".onnx", Format::Onnx),
    (".npz", Format::Npz),
    (".npy", Format::Npy),
];

/// Names that the Hugging Face libraries give to weights, preferred to whatever lies beside them.
pub(crate) const KNOWN_NAMES: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.onnx",
];

/// The files of a checkpoint.
pub(crate) struct Files {
    /// Each with its format, which is not [`Format::Index`].
    pub(crate) weights: Vec<(PathBuf, Format)>,
    /// Where there is an index: its path, and the tensors that it promises with their files.
    pub(crate) promised: Option<(PathBuf, Vec<(String, PathBuf)>)>,
}

impl Files {
    /// Those of a file, an index or a folder.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let file = if fs::metadata(path).map_err(Error::io("open", path))?.is_dir() {
            choose(path)?
        } else {
            path.to_owned()
        };
        match format(&file) {
            Some(Format::Index) => Self::of_index(&file),
            Some(format) => Ok(Self { weights: vec![(file, format)], promised: None }),
            None => Err(Error::UnknownFormat { path: file }),
        }
    }

    fn of_index(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let index: Index =
            serde_json::from_reader(BufReader::new(file)).map_err(Error::file(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let shard = |name: &str| match Path::new(name).components().collect::<Vec<_>>()[..] {
            [Component::Normal(file)] => match format(Path::new(file))? {
                Format::Index => None,
                format => Some((folder.join(file), format)),
            },
            _ => None,
        };
        let names: BTreeSet<&String> = index.weight_map.0.iter().map(|(_, shard)| shard).collect();
        let weights = names.into_iter().map(|name| {
            shard(name).ok_or_else(|| Error::file(path)(FileFault::ShardName(name.clone())))
        });
        let weights = weights.collect::<Result<_, Error>>()?;
        let promised = index.weight_map.0.into_iter();
        let promised = promised.map(|(tensor, shard)| (tensor, folder.join(shard))).collect();
        Ok(Self { weights, promised: Some((path.to_owned(), promised)) })
    }
}

/// `model.safetensors.index.json` and its like.
#[derive(Deserialize)]
struct Index {
    /// Tensors with their files.
    weight_map: UniqueMap<String>,
}

fn format(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|&(_, format)| format)
}

/// The file of a folder that holds its weights, or their index.
fn choose(folder: &Path) -> Result<PathBuf, Error> {
    if let Some(name) = KNOWN_NAMES.iter().find(|name| folder.join(name).is_file()) {
        return Ok(folder.join(name));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("open", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_file() {
            files.extend(format(&path).map(|format| (path, format)));
        }
    }
    let preferred = ENDINGS.iter().find(|(_, it)| files.iter().any(|(_, format)| format == it));
    files.retain(|(_, format)| preferred.is_some_and(|(_, it)| format == it));
    match &files[..] {
        [] => Err(Error::NoWeights { path: folder.to_owned() }),
        [(path, _)] => Ok(path.clone()),
        _ => {
            let name = |(path, _): &(PathBuf, _)| {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            };
            let mut found: Vec<String> = files.iter().map(name).collect();
            found.sort();
            Err(Error::SeveralWeights { path: folder.to_owned(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn the_usual_names_win_and_then_a_single_file() {
        let cases: [(&[&str], &str); 5] = [
            (&["pytorch_model.bin", "model.safetensors", "x.pt"], "model.safetensors"),
            (&["pytorch_model.bin", "training_args.bin"], "pytorch_model.bin"),
            (&["adapter_model.safetensors", "training_args.bin"], "adapter_model.safetensors"),
            (&["notes.txt", "net.PTH"], "net.PTH"),
            (&["a-00001.safetensors", "a.safetensors.index.json"], "a.safetensors.index.json"),
        ];
        for (names, expected) in cases {
            let folder = folder(names);
            assert_eq!(choose(folder.path()).unwrap(), folder.path().join(expected));
        }
        let several = folder(&["b.pt", "a.pt", "c.npy"]);
        let error = choose(several.path()).unwrap_err();
        assert!(matches!(error, Error::SeveralWeights { found, .. } if found == ["a.pt", "b.pt"]));
        let error = choose(folder(&["config.json"]).path()).unwrap_err();
        assert!(matches!(error, Error::NoWeights { .. }), "{error}");
    }

    #[test]
    fn files_without_a_format_and_without_existence() {
        let folder = folder(&["weights.txt"]);
        let of = |name: &str| Files::of(&folder.path().join(name)).err().unwrap();
        assert!(matches!(of("weights.txt"), Error::UnknownFormat { .. }));
        assert!(matches!(of("absent.pt"), Error::Io { action: "open", .. }));
    }

    #[test]
    fn indices_that_lie() {
        let folder = folder(&[]);
        let path = folder.path().join("model.safetensors.index.json");
        let fault = |text: &str| {
            fs::write(&path, text).unwrap();
            match Files::of(&path).err().unwrap() {
                Error::File { fault, .. } => fault,
                error => panic!("{error}"),
            }
        };
        for name in ["../a.safetensors", "/a.safetensors", "a/b.safetensors", "b.index.json", ".."]
        {
            let found = fault(&format!(r#"{{"weight_map": {{"w": "{name}"}}}}"#));
            assert!(matches!(&found, FileFault::ShardName(it) if it == name), "{found}");
        }
        let found = fault(r#"{"weight_map": {"w": "a.bin", "w": "b.bin"}}"#);
        assert!(matches!(&found, FileFault::Json(it) if it.to_string().contains("`w` twice")));
        assert!(matches!(fault(r#"{"weights": {}}"#), FileFault::Json(_)));
        assert!(matches!(fault(r#"{"weight_map": {"w""#), FileFault::Json(_)));
    }
}
