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
pub(crate) struct Blocks<'a> {
    file: &'a TokenFile,
    documents: Vec<u64>,
    /// Predictions before each document, and their total: `[documents + 1]`.
    before: Vec<u64>,
    context: u64,
    stride: u64,
}

/// One window: its tokens and which predictions it scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
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
    pub(crate) fn new(
        file: &'a TokenFile,
        documents: Vec<u64>,
        context: usize,
        stride: usize,
    ) -> Self {
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
    pub(crate) fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Number of scored predictions of all documents.
    pub(crate) fn predictions(&self) -> u64 {
        *self.before.last().unwrap_or(&0)
    }

    /// Predictions of document `index`, an index into the chosen documents.
    pub(crate) fn document_len(&self, index: u64) -> u64 {
        let index = usize::try_from(index).expect("an index of a document");
        self.before[index + 1] - self.before[index]
    }

    /// The blocks of document `index`, as ranges of its predictions.
    pub(crate) fn of_document(&self, index: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (length, context, stride) = (self.document_len(index), self.context, self.stride);
        let first = std::iter::once(0..context.min(length));
        let later = (0..).map(move |i| context + i * stride);
        first.chain(
            later.take_while(move |&it| it < length).map(move |it| it..(it + stride).min(length)),
        )
    }

    /// The document and the block in which prediction `position` lies, `position` counted over all
    /// documents.
    pub(crate) fn around(&self, position: u64) -> (u64, Range<u64>) {
        let index = self.before.partition_point(|&before| before <= position) - 1;
        let inside = position - self.before[index];
        (index as u64, self.block_of(index as u64, inside))
    }

    /// The block of document `index` in which its prediction `inside` lies.
    pub(crate) fn block_of(&self, index: u64, inside: u64) -> Range<u64> {
        let block = match inside.checked_sub(self.context) {
            None => 0..self.context,
            Some(beyond) => {
                let start = self.context + beyond / self.stride * self.stride;
                start..start + self.stride
            }
        };
        block.start..block.end.min(self.document_len(index))
    }

    /// The window that scores `block` of document `index`.
    #[expect(clippy::cast_possible_truncation, reason = "a block is no longer than a context")]
    pub(crate) fn window(&self, index: u64, block: &Range<u64>) -> Window {
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

#[cfg(test)]
mod tests {
    use corpus::Split;

    use super::*;
    use crate::fixture;

    #[test]
    fn blocks_partition_every_document_and_every_position_finds_its_own() {
        let lengths = [1, 2, 3, 4, 5, 9, 17, 40];
        let text = |length| "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"[..length].into();
        let documents: Vec<String> = lengths.into_iter().map(text).collect();
        let dir = tempfile::tempdir().unwrap();
        let corpus = fixture::corpus(&dir.path().join("corpus"), &documents, 0.0);
        let file = corpus.split(Split::Train);
        let chosen: Vec<u64> = vec![7, 0, 3, 4, 6, 1, 2, 5]; // any order
        for context in 1..=9 {
            for stride in 1..=context {
                let blocks = Blocks::new(file, chosen.clone(), context, stride);
                assert_eq!(blocks.predictions(), lengths.iter().sum::<usize>() as u64);
                let mut position = 0;
                for index in 0..blocks.documents() {
                    let mut expected = 0;
                    for (i, block) in blocks.of_document(index).enumerate() {
                        assert_eq!(block.start, expected);
                        expected = block.end;
                        let longest = if i == 0 { context } else { stride } as u64;
                        assert!((1..=longest).contains(&(block.end - block.start)));
                        let window = blocks.window(index, &block);
                        assert!(window.tokens.len() - 1 <= context);
                        assert_eq!(window.scored.len() as u64, block.end - block.start);
                        assert_eq!(window.scored.end, window.tokens.len() - 1);
                        for _ in block.clone() {
                            assert_eq!(blocks.around(position), (index, block.clone()));
                            position += 1;
                        }
                    }
                    assert_eq!(expected, blocks.document_len(index));
                }
                assert_eq!(position, blocks.predictions());
            }
        }
    }

    #[test]
    fn a_window_slides_over_a_document_longer_than_the_context() {
        let dir = tempfile::tempdir().unwrap();
        let documents = ["x".to_owned(), "abcdefg".to_owned(), "hi".to_owned()];
        let corpus = fixture::corpus(&dir.path().join("corpus"), &documents, 0.0);
        let blocks = Blocks::new(corpus.split(Split::Train), vec![0, 1, 2], 4, 2);
        let windows = |index| -> Vec<(Vec<u32>, Range<usize>)> {
            let windows = blocks.of_document(index).map(|block| blocks.window(index, &block));
            windows.map(|window| (window.tokens, window.scored)).collect()
        };
        let text = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
        let from_start = |rest| [vec![256], text(rest)].concat(); // the separator of bytes is 256
        assert_eq!(windows(0), [(from_start("x"), 0..1)]);
        assert_eq!(
            windows(1),
            [
                (from_start("abcd"), 0..4), // predictions 0 to 3 of `abcd`
                (text("bcdef"), 2..4),      // `b` predicts `c`, ... : scored are `e` and `f`
                (text("cdefg"), 3..4),      // what is left: `g`, with a whole context
            ]
        );
        assert_eq!(windows(2), [(from_start("hi"), 0..2)]); // a context longer than the document
    }
}
