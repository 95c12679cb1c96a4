//! Building a corpus: read in order, encode on all threads, write in order.
//!
//! Two batches are in memory at a time, one being read while the other is encoded, so the inputs may
//! be larger than memory; beyond that, an exact duplicate is recognised by 16 bytes per document.
//! Neither the batches nor the number of threads show in the result. The threads are those of the
//! rayon pool in which the build is called.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encode::{EncodedDocument, Encoder};
use crate::manifest::{FORMAT, VERSION};
use crate::near_duplicates::{Clusters, MinHasher};
use crate::source::{Meter, RawDocument};
use crate::split::check_fraction;
use crate::split_writer::SplitWriter;
use crate::target::Target;
use crate::{
    AnyTokenizer, Corpus, Counts, Error, Fault, IfExists, Keep, Manifest, NearDuplicates, Progress,
    ReadCounts, Sha256Hash, Source, Split, SplitRule, TokenizerIdentity,
};

/// Documents are read until they fill this many bytes, then encoded together.
const BATCH_BYTES: usize = 16 << 20;
/// Or until there are this many.
const BATCH_DOCUMENTS: usize = 1 << 14;

/// How a corpus is made of documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildConfig {
    /// Text to tokens.
    pub tokenizer: AnyTokenizer,
    /// The share of documents held out, from 0 to 1.
    pub val_fraction: f64,
    /// Of the hash that holds documents out.
    pub seed: u64,
    /// What becomes of unusable documents.
    pub bad_documents: BadDocuments,
    /// Whether and how near-duplicates are looked for.
    pub near_duplicates: Option<NearDuplicates>,
}

/// What becomes of documents that cannot be part of a corpus. The choice is made before anything is
/// read and does not depend on a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadDocuments {
    /// The first one ends the build.
    #[default]
    Refuse,
    /// Empty ones are counted and left out, any other ends the build.
    SkipEmpty,
    /// All are counted and left out.
    Skip,
}

impl BadDocuments {
    fn skips(self, fault: &Fault) -> bool {
        match self {
            Self::Refuse => false,
            Self::SkipEmpty => matches!(fault, Fault::Empty),
            Self::Skip => true,
        }
    }
}

/// GPT-2's tokens, and one document in a hundred held out.
impl Default for BuildConfig {
    fn default() -> Self {
        Self {
            tokenizer: crate::Gpt2 {}.into(),
            val_fraction: 0.01,
            seed: 0,
            bad_documents: BadDocuments::default(),
            near_duplicates: None,
        }
    }
}

impl BuildConfig {
    /// Builds the corpus of all documents of `sources`, in their order, at `out`.
    ///
    /// Everything is written to a hidden directory beside `out`, which takes its name at the end and
    /// is removed if there is none.
    ///
    /// # Errors
    /// Every error of a source, [`Error::NoDocuments`] if the training split is empty, and
    /// [`Error::CorpusExists`] or [`Error::NotACorpus`] if `out` is taken.
    pub fn build(
        &self,
        sources: &[Source],
        out: &Path,
        if_exists: IfExists,
        progress: &dyn Progress,
    ) -> Result<Corpus, Error> {
        check_fraction("val_fraction", self.val_fraction)?;
        let tokenizer = self.tokenizer.as_dyn().load()?;
        let hasher = self.near_duplicates.as_ref().map(MinHasher::new).transpose()?;
        let encoder = Encoder { tokenizer: tokenizer.as_ref(), hasher: hasher.as_ref() };
        let target = Target::create(out, if_exists)?;
        let mut writing = Writing::new(self, target.dir(), progress)?;

        let meter = Meter::default();
        for source in sources {
            writing.counts.bytes_total += source.bytes()?;
        }
        let identity = tokenizer.identity();
        let mut documents = sources.iter().flat_map(|source| match source.open(identity, &meter) {
            Ok(documents) => documents,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        let mut batch = next_batch(&mut documents);
        while !batch.is_empty() {
            let (next, encoded) = rayon::join(
                || next_batch(&mut documents),
                || -> Vec<_> { batch.into_par_iter().map(|raw| encoder.encode(raw?)).collect() },
            );
            for document in encoded {
                writing.push(document)?;
            }
            writing.report(&meter)?;
            batch = next;
        }

        target.publish(&writing.finish(self, identity)?)?;
        Corpus::open(out)
    }
}

/// Reads until the batch is full, or to the end.
fn next_batch(
    documents: &mut impl Iterator<Item = Result<RawDocument, Error>>,
) -> Vec<Result<RawDocument, Error>> {
    let mut bytes = 0;
    let mut batch = Vec::new();
    while bytes < BATCH_BYTES && batch.len() < BATCH_DOCUMENTS {
        let Some(document) = documents.next() else { break };
        bytes += document.as_ref().map_or(0, RawDocument::bytes);
        batch.push(document);
    }
    batch
}

/// The sequential half: decides about each document in order.
struct Writing<'a> {
    rule: SplitRule,
    bad_documents: BadDocuments,
    progress: &'a dyn Progress,
    train: SplitWriter,
    val: SplitWriter,
    seen: HashSet<[u8; 16]>,
    clusters: Option<(Clusters, Keep)>,
    read: ReadCounts,
    counts: Counts,
}

impl<'a> Writing<'a> {
    fn new(config: &BuildConfig, dir: &Path, progress: &'a dyn Progress) -> Result<Self, Error> {
        Ok(Self {
            rule: SplitRule { val_fraction: config.val_fraction, seed: config.seed },
            bad_documents: config.bad_documents,
            progress,
            train: SplitWriter::create(dir, Split::Train)?,
            val: SplitWriter::create(dir, Split::Val)?,
            seen: HashSet::new(),
            clusters: config.near_duplicates.as_ref().map(|it| (Clusters::default(), it.keep)),
            read: ReadCounts::default(),
            counts: Counts::default(),
        })
    }

    fn push(&mut self, document: Result<EncodedDocument, Error>) -> Result<(), Error> {
        self.read.documents += 1;
        let document = match document {
            Ok(document) => document,
            Err(Error::Bad(bad)) if self.bad_documents.skips(&bad.fault) => {
                match bad.fault {
                    Fault::Empty => self.read.empty += 1,
                    _ => self.read.bad += 1,
                }
                self.progress.skipped(&bad);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !self.seen.insert(document.id.0) {
            self.read.duplicates += 1;
            return Ok(());
        }
        let split = self.rule.split(document.id);
        if let Some((clusters, keep)) = &mut self.clusters {
            if clusters.insert(&document.bands) && *keep == Keep::First {
                return Ok(());
            }
            clusters.place(split);
        }
        self.counts.tokens += document.tokens + 1;
        self.counts.text_bytes += document.text_bytes;
        match split {
            Split::Train => self.train.push(&document),
            Split::Val => self.val.push(&document),
        }
    }

    fn report(&mut self, meter: &Meter) -> Result<(), Error> {
        self.counts.bytes_read = meter.total();
        self.counts.documents = self.read.documents;
        match self.progress.report(&self.counts) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }

    fn finish(
        self,
        config: &BuildConfig,
        tokenizer: &TokenizerIdentity,
    ) -> Result<Manifest, Error> {
        let (train, val) = (self.train.finish()?, self.val.finish()?);
        if train.documents == 0 {
            return Err(Error::NoDocuments { read: self.read.documents });
        }
        let near_duplicates = self
            .clusters
            .zip(config.near_duplicates.as_ref())
            .map(|((clusters, _), settings)| clusters.report(settings));
        Ok(Manifest {
            format: FORMAT.into(),
            version: VERSION,
            tokenizer: tokenizer.clone(),
            split: self.rule,
            read: self.read,
            near_duplicates,
            train,
            val,
            sha256: Sha256Hash([0; 32]),
        }
        .with_hash())
    }
}
