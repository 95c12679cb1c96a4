//! The units of a level, the sample that is drawn of them, and the windows that score it.

use std::num::NonZeroU64;
use std::ops::Range;

use bounds::{Metric, Unit};
use corpus::{Corpus, Partition, Sha256Hash, Split, Subsample};

use super::evidence::{Level, Terms};
use super::scores::ScoreFile;
use super::{Claim, Predictor, SampleRecord};
use crate::Error;
use crate::blocks::Blocks;
use crate::config::Scored;

/// Units drawn and the windows that score them.
pub(super) struct Drawn {
    pub(super) record: SampleRecord,
    pub(super) windows: Vec<(u64, Range<u64>)>,
    /// `[groups + 1]`: the scored tokens of each document or block drawn.
    pub(super) offsets: Vec<u64>,
}

/// What to draw, and how much.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) seed: u64,
    /// None is everything.
    pub(super) size: Option<u64>,
    pub(super) scored: Scored,
}

impl Draw {
    /// What is drawn of `units` units of a level, as a certificate records it. `scored` is of documents.
    pub(super) fn of(self, unit: Unit, units: u64) -> Self {
        let block = unit == Unit::Document && self.scored == Scored::Block;
        // More draws than units cost more than scoring every unit once, and say less.
        let size = self.size.filter(|&size| size > 0 && (block || size < units));
        let scored = match (unit, size) {
            (Unit::Document, _) => self.scored,
            (Unit::Token, Some(_)) => Scored::Block,
            (Unit::Token, None) => Scored::Whole,
        };
        Self { size, scored, ..self }
    }
}

impl SampleRecord {
    /// What this sample was drawn by.
    pub(super) fn draw(&self) -> Draw {
        Draw { seed: self.seed, size: self.size, scored: self.scored }
    }
}

impl Drawn {
    /// `windows` of each unit.
    fn new(record: SampleRecord, windows: Vec<Vec<(u64, Range<u64>)>>) -> Self {
        let (mut offsets, mut tokens) = (vec![0], 0);
        for unit in &windows {
            tokens += unit.iter().map(|(_, block)| block.end - block.start).sum::<u64>();
            offsets.push(tokens);
        }
        Self { record, windows: windows.into_iter().flatten().collect(), offsets }
    }
}

/// A corpus seen by a predictor.
pub(super) struct Scene<'a> {
    pub(super) blocks: Blocks<'a>,
    prior: Option<Partition>,
    /// Context and stride.
    windows: (usize, usize),
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        corpus: &'a Corpus,
        prior: Option<Partition>,
        predictor: &Predictor,
    ) -> Result<Self, Error> {
        let file = corpus.split(Split::Train);
        let documents = match prior {
            Some(partition) => partition.documents(file.documents())?.certified,
            None => (0..file.documents().len()).collect(),
        };
        let Predictor { context, stride, .. } = *predictor;
        if !(1..=context).contains(&stride) {
            let expected = format!("1 to the context {context}");
            return Err(Error::value("certify.stride", &stride, &expected));
        }
        let blocks = Blocks::new(file, documents, context, stride);
        Ok(Self { blocks, prior, windows: (context, stride) })
    }

    /// What is fixed before a sample is drawn.
    pub(super) fn frozen(&self, artifact: &Sha256Hash, corpus: &Sha256Hash) -> String {
        let (context, stride) = self.windows;
        let prior = self.prior.map_or_else(
            || "none".to_owned(),
            |Partition { fraction, seed }| format!("{fraction} {seed}"),
        );
        format!("{artifact} {corpus} {prior} {context} {stride}")
    }

    /// Units of a level.
    fn units(&self, unit: Unit) -> Result<NonZeroU64, Error> {
        let units = match unit {
            Unit::Document => self.blocks.documents(),
            Unit::Token => self.blocks.predictions(),
        };
        NonZeroU64::new(units)
            .ok_or_else(|| Error::Mismatch("the certified part of the corpus is empty".to_owned()))
    }

    /// The sample that `seed` and what is frozen determine. `scored` is of documents.
    pub(super) fn draw(&self, unit: Unit, draw: Draw, frozen: &str) -> Result<Drawn, Error> {
        let units = self.units(unit)?;
        let Draw { seed, size, scored } = draw.of(unit, units.get());
        let size = size.and_then(NonZeroU64::new);
        let block = unit == Unit::Document && scored == Scored::Block;
        let word = if scored == Scored::Block { "block" } else { "whole" };
        let frozen = format!("{frozen} {unit} {word}").into_bytes();
        let sample = Subsample { seed, units, size };
        let commitment = sample.commitment(&frozen);
        let windows = match (unit, size) {
            (_, None) if block => {
                let reason = "blocks of documents are drawn, but the sample has no size";
                return Err(Error::Mismatch(reason.to_owned()));
            }
            (Unit::Document, _) if block => self.blocks_inside(&sample, &frozen),
            (Unit::Document, _) => self.of_documents(sample.indices(&frozen)),
            (Unit::Token, Some(_)) => {
                sample.indices(&frozen).map(|index| vec![self.blocks.around(index)]).collect()
            }
            (Unit::Token, None) => {
                vec![self.of_documents(0..self.blocks.documents()).into_iter().flatten().collect()]
            }
        };
        let size = size.map(NonZeroU64::get);
        Ok(Drawn::new(SampleRecord { seed, size, scored, commitment }, windows))
    }

    /// All windows of each document.
    fn of_documents(&self, documents: impl Iterator<Item = u64>) -> Vec<Vec<(u64, Range<u64>)>> {
        let of = |index| self.blocks.of_document(index).map(move |block| (index, block)).collect();
        documents.map(of).collect()
    }

    /// The window around one position of each document drawn.
    fn blocks_inside(&self, sample: &Subsample, frozen: &[u8]) -> Vec<Vec<(u64, Range<u64>)>> {
        let length =
            |index| NonZeroU64::new(self.blocks.document_len(index)).unwrap_or(NonZeroU64::MIN);
        let places = sample.places(frozen, length);
        places.map(|(index, place)| vec![(index, self.blocks.block_of(index, place))]).collect()
    }

    pub(super) fn claims(
        &self,
        scored: &ScoreFile,
        drawn: &[Option<Drawn>; 2],
        metrics: &[Metric],
        terms: Terms,
    ) -> Result<Vec<Claim>, Error> {
        let mut claims = Vec::new();
        let levels = [(Unit::Document, &scored.documents), (Unit::Token, &scored.positions)];
        for ((unit, scores), draw) in levels.into_iter().zip(drawn) {
            let (Some(scores), Some(draw)) = (scores, draw) else { continue };
            let level = Level {
                unit,
                population: self.units(unit)?,
                sampled: draw.record.size.is_some(),
                scores,
                offsets: &draw.offsets,
            };
            claims.extend(level.claims(metrics, terms)?);
        }
        Ok(claims)
    }
}
