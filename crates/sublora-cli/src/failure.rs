//! What went wrong, in a line, and what to do about it.

use std::fmt::Display;
use std::io::ErrorKind;

use sublora::ortho_linear::OrthoFileError;
use sublora::weight_files;

/// An error as the user sees it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// The way out.
    pub(crate) hint: String,
    /// A file is not where it was looked for.
    pub(crate) is_missing: bool,
    /// The caller asked for an end.
    pub(crate) interrupted: bool,
}

impl Failure {
    pub(crate) fn new<M: Display>(message: M, hint: &str) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_owned(),
            is_missing: false,
            interrupted: false,
        }
    }
}

const PATH: &str = "check the path, and that it may be read and written";

impl From<&sublora::Error> for Failure {
    fn from(error: &sublora::Error) -> Self {
        use sublora::Error;
        use sublora::subspace_projectors::AllocationError as Allocation;
        let hint = match error {
            Error::Corpus(error) => return error.into(),
            Error::Interrupted => {
                "the same command goes on, `train` and `qat switchable` or `cyclic` with `--resume`; an `eval` begins \
                 anew"
            }
            Error::Config(_) | Error::Lora(_) | Error::Model(_) => {
                "`configs/` in the repository holds working configurations"
            }
            Error::OtherConfig { .. } => {
                "repeat the `--config` and every `--set` of the first call, or name another `--out`"
            }
            Error::RunExists(_) => "`--resume` goes on with it, `--out` names another folder",
            Error::Unfinished { what: "trained model", .. } => {
                "`sublora train --config FILE --corpus DIR --out RUN` trains one"
            }
            Error::Unfinished { what: "base", .. } => {
                "its `failed.txt` says why it failed; the same `sublora sweep` tries it again"
            }
            Error::Unfinished { what: "`evaluation.json`", .. } => {
                "`sublora qat switchable` or `cyclic` with `--resume` finishes it"
            }
            Error::Calibration(_) => {
                "`widths` and the rules of `quantize` in the configuration say what is calibrated"
            }
            Error::Unfinished { what: "sweep", .. } => "without `--collect` one begins",
            Error::Unfinished { .. } => "`sublora compress RUN --corpus DIR` makes it",
            Error::Untrained { .. } => {
                "`sublora train --config FILE --corpus DIR --out RUN --resume` finishes it"
            }
            Error::Diverged { .. } => {
                "try a smaller `learning_rate.peak` (`compress.qat_learning_rate`) or a longer `warm_up`"
            }
            Error::OtherCertificate { .. } => {
                "the same `sublora sweep` compresses and certifies it again, over what is there"
            }
            Error::OtherCorpus { .. } => "`--corpus` names the one it was trained on",
            Error::BaseSawText { .. } => {
                "`base.kind = \"prior-split\"` pretrains a base and leaves its part out"
            }
            Error::File(error) if error.source.kind() == ErrorKind::NotFound => {
                "check the path; a run is made by `train`, its parts by `compress` and `certify`"
            }
            Error::File(_) => PATH,
            Error::Panicked(_) => "try fewer `--jobs`, a smaller batch, or another `--device`",
            Error::Device(_) => "try a smaller batch, or another `--device`",
            Error::Allocation(Allocation::Dimension(_)) | Error::Layout(_) => {
                "set `sublora.intrinsic_dim` to at most the trained weights"
            }
            Error::Allocation(Allocation::OtherCode { .. }) => {
                "the artifact and the configuration have to be of one run"
            }
            Error::Allocation(Allocation::Ratio { .. } | Allocation::RatioAndTable) => {
                "set `sublora.allocation_ratio`, the share of B: 0.2 is A-heavy, 0.8 B-heavy"
            }
            Error::Allocation(
                Allocation::Sum { .. } | Allocation::NoRow { .. } | Allocation::UnknownGroup { .. },
            ) => {
                "set `sublora.allocation_table`: [A, B] coordinates by layer, as { \"h.0\" = [2, 6], rest = [0, 8] }"
            }
            Error::Allocation(Allocation::Gate { .. }) => "set `sublora.allocation_gate`",
            Error::Allocation(Allocation::Projector { .. }) => {
                "set `sublora.projector` to one whose sites every part of the allocation has"
            }
            Error::Allocation(_) => {
                "set another `sublora.intrinsic_dim` or `sublora.allocation_mode`"
            }
            Error::Checkpoint(_) => {
                "a GPT-2 folder has `config.json` and `model.safetensors` or `pytorch_model.bin`"
            }
            Error::Ortho(_) => "a layer has the name of its weight, without `.weight`",
            Error::OrthoFile(error) => ortho_file_hint(error),
            Error::Codebook(_) | Error::Bound(_) => {
                "check the tables `compress` and `certify` of the configuration"
            }
            Error::Format { .. } | Error::Decode(_) => {
                "the file is not as it was written; make it again"
            }
            _ => "a run, its corpus and its configuration have to be those it was made with",
        };
        let is_missing =
            matches!(error, Error::File(file) if file.source.kind() == ErrorKind::NotFound);
        let interrupted = matches!(error, Error::Interrupted);
        Self { is_missing, interrupted, ..Self::new(error, hint) }
    }
}

impl From<sublora::Error> for Failure {
    fn from(error: sublora::Error) -> Self {
        (&error).into()
    }
}

fn ortho_file_hint(error: &OrthoFileError) -> &'static str {
    match error {
        OrthoFileError::Io { .. } | OrthoFileError::Checkpoint(_) => PATH,
        OrthoFileError::Device(_) => "try another `--device`",
        OrthoFileError::Version { .. } => {
            "`sublora ortho split` of this program writes its version, from the same GPT-2"
        }
        _ => "the file is damaged, or no such file; `sublora ortho split` writes it again",
    }
}

fn weights_hint(error: &weight_files::Error) -> &'static str {
    use weight_files::{Error, FileFault, PickleFault};
    match error {
        Error::UnknownFormat { .. } | Error::NoWeights { .. } => {
            "`.safetensors`, `.bin`, `.pt`, `.onnx`, `.npy`, `.npz`, an `.index.json`, or a folder with one"
        }
        Error::SeveralWeights { .. } => "name one of the files",
        Error::Io { .. } => PATH,
        Error::File { fault: FileFault::Pickle(PickleFault::Global(_)), .. } => {
            "a file of `torch.save(model.state_dict(), FILE)` has weights alone"
        }
        _ => "the file is damaged, or holds what is not read; get it again",
    }
}

fn is_missing_weights(error: &weight_files::Error) -> bool {
    matches!(error, weight_files::Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

impl From<sublora::SpectralError> for Failure {
    fn from(error: sublora::SpectralError) -> Self {
        use sublora::SpectralError as Error;
        let hint = match &error {
            Error::Weights(error) => weights_hint(error),
            Error::File(_) => PATH,
            Error::Interrupted => "with `--out`, the same command goes on",
            Error::OtherMode { .. } => "`--mode` chooses it",
            _ => "`sublora spectral --help` lists widths and granularities",
        };
        let is_missing = match &error {
            Error::Weights(error) => is_missing_weights(error),
            Error::File(file) => file.source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        let interrupted = matches!(error, Error::Interrupted);
        Self { is_missing, interrupted, ..Self::new(error, hint) }
    }
}

impl From<sublora::QuantizeError> for Failure {
    fn from(error: sublora::QuantizeError) -> Self {
        use sublora::QuantizeError as Error;
        use sublora::quantizers::QuantizerError;
        let hint = match &error {
            Error::OutExists(_) => "`--out` names a folder that is not there yet",
            Error::Weights(error) => weights_hint(error),
            Error::NotKept { .. } => "save the checkpoint without such tensors, or as safetensors",
            Error::File(_) => PATH,
            Error::Tensor { source: QuantizerError::GroupSize { .. }, .. } => {
                "`--granularity group:N:pad` lets the last group of an output be short"
            }
            Error::Tensor { source: QuantizerError::NotFinite { .. }, .. } => {
                "`--skip NAME` leaves a mask alone; in a weight it means that training diverged"
            }
            Error::Interrupted => "the same command begins anew",
            _ => "`sublora quantize --help` lists grids, ranges and granularities",
        };
        let is_missing = match &error {
            Error::Weights(error) => is_missing_weights(error),
            Error::File(file) => file.source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        let interrupted = matches!(error, Error::Interrupted);
        Self { is_missing, interrupted, ..Self::new(error, hint) }
    }
}

impl From<sublora::ortho::DiagnoseError> for Failure {
    fn from(error: sublora::ortho::DiagnoseError) -> Self {
        use sublora::ortho::DiagnoseError as Error;
        use sublora::ortho_linear::OrthoError;
        let hint = match &error {
            Error::Text(error) => return error.into(),
            Error::Weights(error) => weights_hint(error),
            Error::NoMatrix(_) => {
                "the GPT-2 of a run is in its `base`; `--skip` may leave all out; `--set embeddings=true` \
                 takes embeddings and output heads in"
            }
            Error::NoFolder(_) => {
                "`sublora ortho diagnose` takes any checkpoint; what is split is a model that runs"
            }
            Error::OutExists(_) => "`--out` names a folder that is not there yet",
            Error::Split(error) => ortho_file_hint(error),
            Error::Unmatched { .. } | Error::OtherMatrix { .. } => {
                "`--pretrained` names the checkpoint that was fine-tuned, with the same matrices and types"
            }
            Error::Tensor { source: OrthoError::Missing { needs, .. }, .. } => match *needs {
                "the pretrained matrix" => "`--pretrained CHECKPOINT` gives it",
                "the diagonal of the Hessian" => {
                    "`--corpus DIR` lets a GPT-2 read, and the inputs of its layers give it"
                }
                _ => "`--corpus DIR` lets a GPT-2 read, and the gradients of its losses give it",
            },
            Error::Tensor { source: OrthoError::NotFinite { .. }, .. } => {
                "`--skip NAME` leaves a mask alone; in a weight it means that training diverged"
            }
            Error::Tensor { source: OrthoError::NotExact { .. }, .. } => {
                "`--storage f16` has differences that f32 can add"
            }
            Error::Tensor { source: OrthoError::Overflow { .. }, .. } => {
                "`--storage bf16` and `f32` have the range of f32"
            }
            Error::File(_) => PATH,
            Error::Interrupted => "the same command begins anew",
            _ => "`sublora ortho diagnose --help` lists constructions, bases and selections",
        };
        let is_missing = match &error {
            Error::Weights(error) => is_missing_weights(error),
            Error::File(file) => file.source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        let interrupted = matches!(error, Error::Interrupted);
        Self { is_missing, interrupted, ..Self::new(error, hint) }
    }
}

impl From<&sublora::corpus::Error> for Failure {
    fn from(error: &sublora::corpus::Error) -> Self {
        use sublora::corpus::Error;
        let hint = match error {
            Error::Io { .. } => PATH,
            Error::CorpusExists { .. } => "`--replace` builds it anew",
            Error::NotACorpus { .. } => "`--out` names a folder for the corpus alone",
            Error::UnknownTokenizer { .. } => "`sublora list tokenizers` shows them",
            Error::Tokenizer { .. } => "a `tokenizer.json` as Hugging Face's tokenizers write it",
            Error::UnknownFormat { .. } => "rename it, or put it into a directory of text files",
            Error::WindowTooLong { .. } => "use more text, or a smaller `train.seq`",
            Error::NoDocuments { .. } => {
                "a corpus needs at least one document to train on: more text, or a smaller `--val-fraction`"
            }
            Error::Bad { .. } => {
                "JSON Lines and Parquet need a text in `text`; `--skip-bad` leaves such documents out and counts them"
            }
            Error::Interrupted => "nothing was written; the same command begins anew",
            Error::Fraction { .. } | Error::Zero { .. } => "`sublora corpus build --help`",
            _ => "the corpus is not as it was written; `corpus build --replace` makes it again",
        };
        let is_missing =
            matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound);
        let interrupted = matches!(error, Error::Interrupted);
        Self { is_missing, interrupted, ..Self::new(error, hint) }
    }
}

impl From<sublora::corpus::Error> for Failure {
    fn from(error: sublora::corpus::Error) -> Self {
        (&error).into()
    }
}
