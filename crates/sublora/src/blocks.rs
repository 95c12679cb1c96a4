//! Which tokens are predicted from which context, and in what order they are scored.
//!
//! # Definition
//! A document of $T$ tokens is predicted from the separator before it and from itself. The first
//! window covers its first $C$ predictions, $C$ the context of the model; every further one slides by
//! a stride $S$ and scores its last $S$ predictions only (the last window of a document, what is
//! left). What one window scores is a *block*; the blocks of all documents partition the scored
//! tokens. A block and its context are a function of the document alone, so the rule is part of the
//! predictor and is written in the certificate.
//!
//! A token-level sample draws positions uniformly and scores the whole block around each: the mean
//! over the block has the same expectation as the token drawn and less variance.

use std::ops::Range;

use corpus::TokenFile;

/// The scored documents of a corpus, cut into blocks.
pub struct Blocks<'a> {
    file: &'a TokenFile,
    documents: Vec<u64>,
    /// Predictions before each document, and their total: `[documents + 1]`.
    before: Vec<u64>,
    context: u64,
    stride: u64,
}

/// One window: its tokens and which predictions it scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The context tokens and the targets, `[length + 1]`: token `i` predicts token `i + 1`.
    pub tokens: Vec<u32>,
    /// Scored predictions among the `length`.
    pub scored: Range<usize>,
}

impl<'a> Blocks<'a> {
    /// `documents` are numbers in `file`; `context` is the longest window, `stride` at most that.
    ///
    /// # Panics
    /// If a number is not below the number of documents, or `stride` is not in `1..=context`.
    pub fn new(file: &'a TokenFile, documents: Vec<u64>, context: usize, stride: usize) -> Self {
        assert!((1..=context).contains(&stride), "a window slides by 1 to its length");
        let mut before = vec![0];
        let mut total = 0;
        for &document in &documents {
            let range = file.documents().get(document).expect("a document of the file").tokens;
            total += range.end - range.start;
            before.push(total);
        }
        Self { file, documents, before, context: context as u64, stride: stride as u64 }
    }

    /// Number of documents.
    pub fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Number of scored predictions of all documents.
    pub fn predictions(&self) -> u64 {
        *self.before.last().unwrap_or(&0)
    }

    /// Predictions of document `index`, an index into the chosen documents.
    pub fn document_len(&self, index: u64) -> u64 {
        let index = usize::try_from(index).expect("an index of a document");
        self.before[index + 1] - self.before[index]
    }

    /// The blocks of document `index`, as ranges of its predictions.
    pub fn of_document(&self, index: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (length, context, stride) = (self.document_len(index), self.context, self.stride);
        let first = std::iter::once(0..context.min(length));
        let later = (0..).map(move |i| context + i * stride);
        first.chain(
            later.take_while(move |&it| it < length).map(move |it| it..(it + stride).min(length)),
        )
    }

    /// The document and the block in which prediction `position` lies, `position` counted over all
    /// documents.
    pub fn around(&self, position: u64) -> (u64, Range<u64>) {
        let index = self.before.partition_point(|&before| before <= position) - 1;
        let inside = position - self.before[index];
        let block = match inside.checked_sub(self.context) {
            None => 0..self.context,
            Some(beyond) => {
                let start = self.context + beyond / self.stride * self.stride;
                start..start + self.stride
            }
        };
        let index = index as u64;
        (index, block.start..block.end.min(self.document_len(index)))
    }

    /// The window that scores `block` of document `index`.
    pub fn window(&self, index: u64, block: &Range<u64>) -> Window {
        let document = self.documents[usize::try_from(index).expect("an index of a document")];
        let range = self.file.documents().get(document).expect("a document of the file").tokens;
        let start = block.end.saturating_sub(self.context); // first prediction of the window
        // Prediction t reads the separator and the tokens before t: position t of `[eot, document]`.
        let mut tokens = Vec::new();
        if start == 0 {
            tokens.push(self.file.eot());
        }
        let from = range.start + start.saturating_sub(1);
        tokens.extend(self.file.tokens(from..range.start + block.end));
        let scored = (block.start - start) as usize..(block.end - start) as usize;
        Window { tokens, scored }
    }
}
