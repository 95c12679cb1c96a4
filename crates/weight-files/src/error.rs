//! Everything that can be wrong with a checkpoint, with its place, the value and the expectation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{ENDINGS, KNOWN_NAMES};

/// A checkpoint cannot be opened, or one of its tensors not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, for example `open`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A file in no format that is known by its name.
    #[error("`{}` has no known ending, expected a folder or one of {}", path.display(), Endings)]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a checkpoint.
    #[error(
        "`{}` holds no weights, expected {} or a file that ends in one of {}",
        path.display(), KNOWN_NAMES.join(", "), Endings
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with several checkpoints, none of which bears one of the usual names.
    #[error("`{}` holds {}, expected one of them alone", path.display(), found.join(", "))]
    SeveralWeights {
        /// The folder.
        path: PathBuf,
        /// Those of the preferred format.
        found: Vec<String>,
    },
    /// Two tensors bear one name.
    #[error("tensor `{tensor}` is both in `{}` and in `{}`", first.display(), second.display())]
    Duplicate {
        /// The name.
        tensor: String,
        /// The file of the one.
        first: PathBuf,
        /// The file of the other; the same where it holds both.
        second: PathBuf,
    },
    /// A file as a whole is wrong.
    #[error("`{}`: {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: FileFault,
    },
    /// A tensor is wrong, or of a type that is not read.
    #[error("tensor `{tensor}` of `{}`: {fault}", path.display())]
    Tensor {
        /// The file that describes it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        #[source]
        fault: TensorFault,
    },
}

/// What can be wrong with a file as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// Shorter than the shortest of its format.
    #[error("{size} bytes, expected at least {least}")]
    TooShort {
        /// Bytes in the file.
        size: u64,
        /// Bytes of the shortest.
        least: u64,
    },
    /// The header of a safetensors file does not fit into it, or into what the format allows.
    #[error("a header of {length} bytes, expected at most {most}")]
    HeaderLength {
        /// What the file says.
        length: u64,
        /// What is possible.
        most: u64,
    },
    /// A header or index that is no JSON, or not as its format wants it.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The tensors of a safetensors file do not fill it.
    #[error("{found} bytes of tensors, but the header describes {expected}")]
    DataLength {
        /// What the header says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// An index names something else than a file with weights in its own folder.
    #[error("`{0}` is no file with weights beside the index")]
    ShardName(String),
    /// An index promises a tensor that its file does not hold.
    #[error("`{shard}` does not hold `{tensor}`")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The file in which it should be.
        shard: String,
    },
    /// Not an archive, or a damaged one.
    #[error("{0}")]
    Zip(#[from] zip::result::ZipError),
    /// An archive with two entries of one name: readers differ in which of them counts.
    #[error("the archive holds several entries of one name")]
    RepeatedEntry,
    /// A pickle that is none, that does not fit together, or that is a program rather than data.
    #[error("{0}")]
    Pickle(#[from] PickleFault),
    /// The container that PyTorch wrote before version 0.1.10, of 2017.
    #[error(
        "a TAR archive, expected the ZIP archive or the stream that PyTorch writes since 0.1.10"
    )]
    Tar,
    /// Not a container that `torch.save` writes.
    #[error("neither an archive with a `data.pkl` nor a stream as PyTorch writes them")]
    NotPyTorch,
    /// The stream that PyTorch wrote before version 1.6 does not hold what belongs into it.
    #[error("a stream of PyTorch without {0}")]
    Stream(&'static str),
    /// Written by a machine of the other endianness, or so it says.
    #[error("bytes in the order `{0}`, expected `little`")]
    ByteOrder(String),
    /// Not a protocol buffer of ONNX.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A protocol buffer without a graph.
    #[error("no graph, expected an ONNX model")]
    NoGraph,
}

/// What can be wrong with a pickle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleFault {
    /// It names something that no list of tensors needs: a program rather than data.
    #[error(
        "the pickle names `{0}`, which is not among the classes of tensors and their containers"
    )]
    Global(String),
    /// It computes a name instead of stating it.
    #[error("the pickle computes the name of a class")]
    HiddenGlobal,
    /// It ends before its last instruction.
    #[error("the pickle ends early")]
    End,
    /// The operating system refuses, or the archive is damaged.
    #[error("the pickle cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A byte that is no instruction, or none that weights need.
    #[error("the pickle has an instruction {0:#04x}, which no weights need")]
    Instruction(u8),
    /// An instruction wants a value where there is none.
    #[error("the pickle takes a value where there is none")]
    Stack,
    /// An instruction furnishes what cannot be furnished.
    #[error("the pickle gives {0} to a value that takes none")]
    Target(&'static str),
    /// An instruction fetches what was not stored.
    #[error("the pickle fetches value {0}, which it has not stored")]
    Memo(u64),
    /// A place to store a value at is no number.
    #[error("the pickle stores or fetches value `{0}`, expected a number")]
    Number(String),
    /// Longer than a list of tensors is.
    #[error("the pickle has more than {most} bytes")]
    TooLong {
        /// Bytes that are read.
        most: u64,
    },
    /// More values than a list of tensors has, or some that contain each other many times over.
    #[error("the pickle has more than {most} values")]
    TooMany {
        /// Values that are looked at.
        most: usize,
    },
    /// Containers in containers, or in themselves.
    #[error("the pickle has a tensor below more than {most} containers")]
    TooDeep {
        /// Containers that are looked into.
        most: usize,
    },
}

/// What can be wrong with a tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// Its elements are not real numbers in floating point.
    #[error("{dtype} elements are not read: {reason}")]
    NotRead {
        /// Their type.
        dtype: String,
        /// Why.
        reason: &'static str,
    },
    /// A negative extent.
    #[error("an extent of {0}, expected none below 0")]
    NegativeExtent(i64),
    /// More elements or bytes than a machine can address.
    #[error("shape {0:?} is too large for any memory")]
    Shape(Vec<usize>),
    /// Far more bytes than its file can be expected to hold.
    #[error("{bytes} bytes, at most {most} are read from a file of this length")]
    TooLarge {
        /// Bytes of the elements.
        bytes: u64,
        /// What is read at most.
        most: u64,
    },
    /// The elements do not fill the shape.
    #[error("{found} bytes of elements, but type and shape need {expected}")]
    Length {
        /// What type and shape say.
        expected: u64,
        /// What is there, as far as it was looked at.
        found: u64,
    },
    /// An element outside its type.
    #[error("an element of {value}, expected 0 to {most}")]
    Element {
        /// What the file says.
        value: i32,
        /// The greatest that the type has room for.
        most: i32,
    },
    /// The call that rebuilds a tensor of PyTorch does not say all it should.
    #[error("the call that rebuilds it has no usable {0}")]
    Rebuild(&'static str),
    /// A view that ends behind its storage.
    #[error("it needs {needed} elements of a storage of {stored}")]
    Beyond {
        /// Elements up to its last.
        needed: usize,
        /// Elements that the storage is said to hold.
        stored: usize,
    },
    /// A storage that the file does not hold.
    #[error("no storage `{0}`")]
    NoStorage(String),
    /// Not the preamble of a NumPy array.
    #[error("no header of a NumPy array of version 1, 2 or 3")]
    NpyPreamble,
    /// The header of a NumPy array does not parse.
    #[error("the header of the NumPy array has no usable {0}")]
    NpyHeader(&'static str),
    /// A path that leads out of the folder of its model.
    #[error("external data in `{0}`, expected a path below the model's folder")]
    Location(String),
    /// A file with external data that is not there.
    #[error("external data in `{}`: {source}", file.display())]
    ExternalFile {
        /// The file.
        file: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// An offset or length that is no number.
    #[error("external data with {key} `{value}`, expected a number of bytes")]
    ExternalNumber {
        /// `offset` or `length`.
        key: String,
        /// What the file says.
        value: String,
    },
    /// External data beyond the end of its file.
    #[error("{length} bytes at {offset} of `{}`, which holds {size}", file.display())]
    ExternalRange {
        /// The file with the data.
        file: PathBuf,
        /// Where the data begins.
        offset: u64,
        /// Bytes of the elements.
        length: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Elements spread over several protocol buffers, which nothing writes.
    #[error("a segment of a tensor, expected all of it")]
    Segment,
    /// The elements cannot be read: the operating system refuses, or the file is damaged.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Error {
    /// For `map_err`: the operating system's answer with its place.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err`: what is wrong with the file at `path`.
    pub(crate) fn file<F: Into<FileFault>>(path: &Path) -> impl Fn(F) -> Self {
        let path = path.to_path_buf();
        move |fault| Self::File { path: path.clone(), fault: fault.into() }
    }

    /// For `map_err`: what is wrong with a tensor of the file at `path`.
    pub(crate) fn tensor<F: Into<TensorFault>>(
        path: &Path,
        tensor: &str,
    ) -> impl FnOnce(F) -> Self {
        let (path, tensor) = (path.to_path_buf(), tensor.to_owned());
        move |fault| Self::Tensor { path, tensor, fault: fault.into() }
    }
}

impl PickleFault {
    /// What it means that a pickle cannot be read on.
    pub(crate) fn ended(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::End,
            _ => Self::Unreadable(error),
        }
    }
}

/// The endings of all formats, with commas.
struct Endings;

impl fmt::Display for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ENDINGS.map(|(ending, _)| ending).join(", "))
    }
}
