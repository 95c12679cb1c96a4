//! Whether a model knows the tokens of a corpus.

use std::path::Path;

use corpus::Corpus;
use gpt2_model::Gpt2Config;

use crate::Error;

/// Errs if `corpus` has tokens that the model at `path` does not know.
pub(crate) fn check_vocabulary(
    path: &Path,
    shape: &Gpt2Config,
    corpus: &Corpus,
) -> Result<(), Error> {
    let (known, vocab) = (shape.vocab_size, corpus.manifest().tokenizer.vocab_size as usize);
    if known >= vocab {
        return Ok(());
    }
    let path = path.display();
    Err(Error::Mismatch(format!("`{path}` knows {known} tokens, the corpus {vocab}")))
}
