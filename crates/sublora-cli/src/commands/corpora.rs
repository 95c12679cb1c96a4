//! `sublora corpus`.

use std::path::Path;
use std::process::ExitCode;

use sublora::corpus::{
    BadDocuments, BuildConfig, Corpus, IfExists, Manifest, NearDuplicates, Source,
};

use crate::args::{Args, CorpusBuild, CorpusCommand};
use crate::bars::Bars;
use crate::commands::print_json;
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, command: &CorpusCommand) -> Result<ExitCode, Failure> {
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
        print_json(corpus.manifest())?;
    } else {
        print(corpus.manifest());
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a corpus, with a way out if there is none.
pub(crate) fn open(dir: &Path) -> Result<Corpus, Failure> {
    Corpus::open(dir).map_err(|error| {
        let failure = Failure::from(error);
        if failure.hint.is_some() || dir.join("manifest.json").exists() {
            return failure;
        }
        failure.with_hint("`sublora corpus build --input PATH --out DIR` makes a corpus")
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

fn print(manifest: &Manifest) {
    let mut rows = table::new(["", "train", "val"]);
    let (train, val) = (&manifest.train, &manifest.val);
    rows.add_row(["documents".to_owned(), count(train.documents), count(val.documents)]);
    rows.add_row(["tokens".to_owned(), count(train.tokens), count(val.tokens)]);
    rows.add_row(["bytes of text".to_owned(), count(train.text_bytes), count(val.text_bytes)]);
    println!("{rows}");
    let tokenizer = &manifest.tokenizer;
    println!(
        "tokenizer          {}, {} tokens",
        tokenizer.name,
        count(tokenizer.vocab_size.into())
    );
    println!("exact duplicates   {}", count(manifest.read.duplicates));
    println!("left out           {} empty, {} bad", manifest.read.empty, manifest.read.bad);
    if let Some(near) = &manifest.near_duplicates {
        println!("effective documents {} train, {} val", near.train_clusters, near.val_clusters);
    }
    println!("corpus hash        {}", manifest.sha256);
}

/// Digits in groups of three.
fn count(value: u64) -> String {
    indicatif::HumanCount(value).to_string()
}
