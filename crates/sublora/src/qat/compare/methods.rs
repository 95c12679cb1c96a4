//! The runs of a method, and what they gave.

use std::collections::BTreeSet;

use quantizers::BitWidth;
use report::Look;

use super::QatComparison;
use super::runs::ComparedRun;
use crate::qat::record::WidthRecord;

/// Runs that are compared with others as one.
#[derive(Debug)]
pub(super) struct Method<'a> {
    pub(super) name: &'a str,
    /// Its place among the methods.
    pub(super) place: usize,
    pub(super) learned: Learned,
    /// Of a label one after another, seed by seed.
    pub(super) runs: Vec<&'a ComparedRun>,
}

/// At how many widths each run of a method learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Learned {
    Nothing,
    OneWidth,
    SeveralWidths,
}

impl QatComparison {
    /// Every method, by name.
    pub(super) fn methods(&self) -> Vec<Method<'_>> {
        let of_method = self.runs.chunk_by(|a, b| a.method().0 == b.method().0);
        let methods = of_method.enumerate().map(|(place, runs)| {
            let learned = match runs.iter().map(|it| it.passes().count()).max() {
                None | Some(0) => Learned::Nothing,
                Some(1) => Learned::OneWidth,
                Some(_) => Learned::SeveralWidths,
            };
            let name = runs.first().map_or("", |it| it.method().0);
            Method { name, place, learned, runs: runs.iter().collect() }
        });
        methods.collect()
    }

    /// The widths at which any method was evaluated, rising.
    pub(super) fn bits(&self) -> Vec<BitWidth> {
        let of_run = |run: &ComparedRun| -> Vec<BitWidth> {
            let bits = run.record.widths.iter().map(|it| it.bits);
            bits.filter(|&bits| run.at(bits, self.stride()).is_some()).collect()
        };
        let bits: BTreeSet<BitWidth> = self.runs.iter().flat_map(of_run).collect();
        bits.into_iter().collect()
    }

    /// Those below 32 at which every method was.
    pub(super) fn common_bits(&self) -> Vec<BitWidth> {
        let (methods, mut bits) = (self.methods(), self.bits());
        let is_known = |bits: BitWidth| {
            move |method: &Method<'_>| method.at(bits, self.stride()).next().is_some()
        };
        bits.retain(|&bits| !bits.is_full() && methods.iter().all(is_known(bits)));
        bits
    }
}

impl<'a> Method<'a> {
    /// What its runs gave at a width, seed by seed.
    pub(super) fn at(
        &self,
        bits: BitWidth,
        stride: u64,
    ) -> impl Iterator<Item = (&'a ComparedRun, &'a WidthRecord)> {
        self.runs.iter().filter_map(move |run| Some((*run, run.at(bits, stride)?)))
    }

    /// Its losses at a width.
    pub(super) fn nats(&self, bits: BitWidth, stride: u64) -> Vec<f64> {
        self.at(bits, stride).map(|it| it.1.nats_per_token).collect()
    }

    /// Of its runs.
    pub(super) fn seeds(&self) -> BTreeSet<u64> {
        self.runs.iter().map(|it| it.seed()).collect()
    }

    /// Of a seed, the BitOPs of the training of all runs that it takes to have all of `bits`, and the mean
    /// loss over these; none if one of them is missing or nothing was trained.
    pub(super) fn overall(&self, seed: u64, bits: &[BitWidth], stride: u64) -> Option<(f64, f64)> {
        let of_seed = |&bits: &BitWidth| self.at(bits, stride).find(|it| it.0.seed() == seed);
        let found: Vec<_> = bits.iter().map(of_seed).collect::<Option<_>>()?;
        let runs: Vec<&ComparedRun> = found.iter().map(|it| it.0).collect();
        // One run gives all widths, or each gives one.
        let runs = if runs.first()?.method().1.is_none() { &runs[..1] } else { &runs[..] };
        let bit_ops: Option<Vec<f64>> = runs.iter().map(|it| it.training_bit_ops()).collect();
        let loss: f64 = found.iter().map(|it| it.1.nats_per_token).sum();
        Some((bit_ops?.iter().sum(), loss / found.len() as f64))
    }

    /// In every chart.
    pub(super) fn look(&self) -> Look {
        Look::Number(self.place)
    }
}
