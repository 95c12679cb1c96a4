//! Training windows at uniform random places.
//!
//! # Definition
//! The documents chosen, each with its separator, stand one after the other; a window is `length`
//! tokens from a place uniform on all $N - length + 1$, whatever borders it crosses. The place is a
//! pure function of seed, step, micro-batch and row, so a run that resumes needs no state and one
//! that is spread over machines no coordination.
//!
//! # Reference
//! karpathy/nanoGPT, `train.py`, `get_batch`: there the generator is global and has to be saved.

use std::num::NonZeroU64;

use counter_rng::Key;

use crate::{Error, TokenFile};

/// Draws windows from a token file, or from some of its documents.
#[derive(Debug)]
pub struct WindowSampler<'a> {
    file: &'a TokenFile,
    /// The stretches of the file that follow each other, by their start.
    stretches: Vec<Stretch>,
    length: usize,
    /// Windows there are to draw.
    places: NonZeroU64,
    key: Key,
}

#[derive(Debug)]
struct Stretch {
    /// Its start among the tokens to draw from.
    start: u64,
    /// Its start in the file.
    in_file: u64,
}

/// Which window of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowIndex {
    /// Optimiser step.
    pub step: u64,
    /// Micro-batch of the step.
    pub micro_batch: u64,
    /// Row of the micro-batch.
    pub row: u64,
}

impl<'a> WindowSampler<'a> {
    /// Windows of `length` tokens from the whole file: for `seq` predictions, `seq + 1`.
    ///
    /// # Errors
    /// [`Error::WindowTooLong`] if the file is shorter, [`Error::Zero`] if `length` is 0.
    pub fn new(file: &'a TokenFile, length: usize, seed: u64) -> Result<Self, Error> {
        let whole = Stretch { start: 0, in_file: 0 };
        Self::over_stretches(file, vec![whole], file.len(), length, seed)
    }

    /// Windows of `length` tokens inside the concatenation of `documents`, in ascending order.
    ///
    /// # Errors
    /// As [`WindowSampler::new`], and [`Error::DocumentNumber`] if the numbers do not ascend
    /// strictly or are not below the number of documents.
    pub fn over(
        file: &'a TokenFile,
        documents: &[u64],
        length: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut stretches = Vec::new();
        let (mut tokens, mut end, mut least) = (0, None, 0);
        for &index in documents {
            let wrong = Error::DocumentNumber { index, documents: file.documents().len() };
            let Some(document) = file.documents().get(index).filter(|_| index >= least) else {
                return Err(wrong);
            };
            least = index + 1;
            if end != Some(document.tokens.start) {
                stretches.push(Stretch { start: tokens, in_file: document.tokens.start });
            }
            let after = document.tokens.end + 1;
            tokens += after - document.tokens.start;
            end = Some(after);
        }
        Self::over_stretches(file, stretches, tokens, length, seed)
    }

    fn over_stretches(
        file: &'a TokenFile,
        stretches: Vec<Stretch>,
        tokens: u64,
        length: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let window = length as u64;
        if window == 0 {
            return Err(Error::Zero { name: "window length" });
        }
        let places = (tokens + 1).checked_sub(window).and_then(NonZeroU64::new);
        let places = places.ok_or(Error::WindowTooLong { window, tokens })?;
        let key = Key::from_seed(seed).derive("training windows");
        Ok(Self { file, stretches, length, places, key })
    }

    /// Tokens of a window.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tokens to draw from.
    pub fn tokens(&self) -> u64 {
        self.places.get() + self.length as u64 - 1
    }

    /// Fills `out`, `[length]`, with the window at `index`.
    ///
    /// # Panics
    /// If `out` is not [`WindowSampler::length`] long.
    pub fn fill(&self, index: WindowIndex, out: &mut [u32]) {
        assert_eq!(out.len(), self.length, "a window has a fixed length");
        let key = self.key.index(index.step).index(index.micro_batch).index(index.row);
        let mut place = key.words(0).below(self.places);
        let first = self.stretches.partition_point(|stretch| stretch.start <= place) - 1;
        let mut rest = out;
        for (number, stretch) in self.stretches.iter().enumerate().skip(first) {
            let end = self.stretches.get(number + 1).map_or(self.tokens(), |next| next.start);
            let left = usize::try_from(end - place).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(left.min(rest.len()));
            self.file.read(stretch.in_file + (place - stretch.start), now);
            place = end;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
}
