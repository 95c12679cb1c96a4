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

/// Units drawn and the windows that score them.
pub(super) struct Drawn {
    pub(super) record: SampleRecord,
    pub(super) windows: Vec<(u64, Range<u64>)>,
    /// `[groups + 1]`: the scored tokens of each document or block drawn.
    pub(super) offsets: Vec<u64>,
}

/// A corpus seen by a predictor.
pub(super) struct Scene<'a> {
    pub(super) blocks: Blocks<'a>,
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
        Ok(Self { blocks: Blocks::new(file, documents, context, stride) })
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

    /// The sample that `seed` and what is frozen determine.
    pub(super) fn draw(
        &self,
        unit: Unit,
        seed: u64,
        size: Option<u64>,
        frozen: &[u8],
    ) -> Result<Drawn, Error> {
        let units = self.units(unit)?;
        // More draws than units cost more than scoring every unit once, and say less.
        let size = size.and_then(NonZeroU64::new).filter(|&size| size < units);
        let sample = Subsample { seed, units, size };
        let commitment = sample.commitment(frozen);
        let record = SampleRecord { seed, size: size.map(NonZeroU64::get), commitment };
        let (mut windows, mut offsets, mut tokens) = (Vec::new(), vec![0], 0);
        for index in sample.indices(frozen) {
            if unit == Unit::Token && size.is_some() {
                let (document, block) = self.blocks.around(index);
                tokens += block.end - block.start;
                windows.push((document, block));
            } else if unit == Unit::Document {
                windows.extend(self.blocks.of_document(index).map(|block| (index, block)));
                tokens += self.blocks.document_len(index);
            } else {
                break; // every token is scored, by document below
            }
            offsets.push(tokens);
        }
        if unit == Unit::Token && size.is_none() {
            for index in 0..self.blocks.documents() {
                windows.extend(self.blocks.of_document(index).map(|block| (index, block)));
            }
            offsets.push(self.blocks.predictions());
        }
        Ok(Drawn { record, windows, offsets })
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

/// What is fixed before a sample is drawn.
pub(super) fn frozen(artifact: &Sha256Hash, corpus: &Sha256Hash, predictor: &Predictor) -> Vec<u8> {
    let Predictor { context, stride, .. } = predictor;
    format!("{artifact} {corpus} {context} {stride}").into_bytes()
}
