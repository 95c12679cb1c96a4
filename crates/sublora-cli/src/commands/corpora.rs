//! `sublora corpus`.

use std::path::Path;

use sublora::corpus::{
    AnyTokenizer, BadDocuments, BuildConfig, Corpus, Error, IfExists, Manifest, NearDuplicates,
    Source, Tokenizer,
};

use crate::args::{Args, CorpusBuild, CorpusCommand};
use crate::bars::Bars;
use crate::commands::Answer;
use crate::failure::Failure;
use crate::table::{self, count};

pub(crate) fn run(args: &Args, command: &CorpusCommand) -> Result<Answer, Failure> {
    let corpus = match command {
        CorpusCommand::Build(build_args) => build(build_args)?,
        CorpusCommand::Inspect { dir, verify } => {
            let corpus = open(dir)?;
            if *verify {
                corpus.verify()?;
            }
            corpus
        }
    };
    if args.json {
        Answer::json(corpus.manifest())
    } else {
        Ok(Answer::done(summary(corpus.manifest())))
    }
}

/// Opens a corpus, with a way out if there is none.
pub(crate) fn open(dir: &Path) -> Result<Corpus, Failure> {
    Corpus::open(dir).map_err(|error| match error {
        error @ Error::Io { .. } if !dir.join("manifest.json").exists() => {
            Failure::new(error, "`sublora corpus build --input PATH --out DIR` makes a corpus")
        }
        error => error.into(),
    })
}

fn build(args: &CorpusBuild) -> Result<Corpus, Failure> {
    let config = BuildConfig {
        tokenizer: args.tokenizer.parse()?,
        val_fraction: args.val_fraction,
        seed: args.seed,
        bad_documents: if args.skip_bad { BadDocuments::Skip } else { BadDocuments::Refuse },
        near_duplicates: args.near_duplicates.then(NearDuplicates::default),
    };
    let sources = args.input.iter().map(Source::detect).collect::<Result<Vec<_>, _>>()?;
    let if_exists = if args.replace { IfExists::Replace } else { IfExists::Refuse };
    Ok(config.build(&sources, &args.out, if_exists, &Bars::new())?)
}

fn summary(manifest: &Manifest) -> String {
    let mut rows = table::new(["", "train", "val"]);
    let (train, val) = (&manifest.train, &manifest.val);
    rows.add_row(["documents".to_owned(), count(train.documents), count(val.documents)]);
    rows.add_row(["tokens".to_owned(), count(train.tokens), count(val.tokens)]);
    rows.add_row(["bytes of text".to_owned(), count(train.text_bytes), count(val.text_bytes)]);
    let (tokenizer, read) = (&manifest.tokenizer, &manifest.read);
    let effective = manifest.near_duplicates.as_ref().map_or_else(String::new, |near| {
        let (train, val) = (count(near.train_clusters), count(near.val_clusters));
        format!("without near-dups  {train} train, {val} val\n")
    });
    format!(
        "{rows}\n\
         tokenizer          {}, {} tokens\n\
         exact duplicates   {}\n\
         left out           {} empty, {} bad\n\
         {effective}\
         corpus hash        {}",
        tokenizer.name,
        count(tokenizer.vocab_size.into()),
        count(read.duplicates),
        count(read.empty),
        count(read.bad),
        manifest.sha256
    )
}

/// The tokenizer that `corpus` was built with. One of a file is found under the name it is given.
pub(crate) fn tokenizer(
    corpus: &Corpus,
    given: Option<&str>,
) -> Result<Box<dyn Tokenizer>, Failure> {
    let identity = &corpus.manifest().tokenizer;
    let hint = "`--tokenizer FILE.json` says where the tokenizer of the corpus lies";
    let name = given.unwrap_or(&identity.name);
    let method: AnyTokenizer = name.parse().map_err(|error| Failure::new::<Error>(error, hint))?;
    let tokenizer = method.as_dyn().load()?;
    if tokenizer.identity() != identity {
        let message = format!("the tokenizer `{name}` is not the one the corpus was built with");
        return Err(Failure::new(message, hint));
    }
    Ok(tokenizer)
}
