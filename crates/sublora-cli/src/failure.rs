//! What went wrong, in a line, and what to do about it.

use std::fmt::Display;

/// An error as the user sees it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<sublora::Error> for Failure {
    fn from(error: sublora::Error) -> Self {
        use sublora::Error;
        let hint = match &error {
            Error::Interrupted => Some("`train --resume` and a second `certify` go on from there"),
            Error::Corpus(error) => return error.into(),
            Error::Config(_) | Error::Lora(_) | Error::Model(_) => {
                Some("`configs/` in the repository holds working configurations")
            }
            Error::RunExists(_) => Some("`--resume` goes on with it, `--out` names another folder"),
            Error::Unfinished { what: "trained model", .. } => {
                Some("`sublora train --config FILE --corpus DIR --out RUN` trains one")
            }
            Error::Diverged { .. } => Some(
                "try a smaller `learning_rate.peak` (`compress.qat_learning_rate`) or a longer `warm_up`",
            ),
            Error::OtherCorpus { .. } => Some("`--corpus` names the one it was trained on"),
            Error::BaseSawText { .. } => {
                Some("`base.kind = \"prior-split\"` pretrains a base and leaves its part out")
            }
            Error::Untrained { .. } => {
                Some("`sublora train --config FILE --corpus DIR --out RUN --resume` finishes it")
            }
            Error::Unfinished { .. } => Some("`sublora compress RUN --corpus DIR` makes it"),
            Error::Device(_) => Some("try a smaller batch, or another `--device`"),
            Error::Projector(_) => {
                Some("set `sublora.intrinsic_dim` to at most the trained weights")
            }
            Error::Format { .. } => Some("the file is not as it was written; make it again"),
            _ => None,
        };
        let failure = Self::new(&error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<&sublora::corpus::Error> for Failure {
    fn from(error: &sublora::corpus::Error) -> Self {
        use sublora::corpus::Error;
        let hint = match error {
            Error::CorpusExists { .. } => Some("`--replace` builds it anew"),
            Error::UnknownTokenizer { .. } => Some("`sublora list tokenizers` shows them"),
            Error::WindowTooLong { .. } => Some("use more text, or a smaller `train.seq`"),
            Error::NoDocuments { .. } => Some("a corpus needs at least one document with a token"),
            Error::Bad { .. } => Some("`--skip-bad` counts such documents and leaves them out"),
            _ => None,
        };
        let failure = Self::new(error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<sublora::corpus::Error> for Failure {
    fn from(error: sublora::corpus::Error) -> Self {
        (&error).into()
    }
}
