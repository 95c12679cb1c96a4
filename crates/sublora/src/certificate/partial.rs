//! What is finished of an unfinished certificate.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use corpus::Sha256Hash;
use gpt2_model::TokenScores;

use crate::atomic::FileError;
use crate::scoring::extend;
use crate::{Error, atomic};

/// Finished scores of an unfinished certificate: a header, then 12 bytes a token.
pub(super) struct Partial {
    path: PathBuf,
    /// Of the sample and of what scores it.
    header: Sha256Hash,
    pub(super) scores: TokenScores,
}

/// How far a partial file reaches.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) batches: usize,
    tokens: usize,
}

impl Partial {
    /// What the file holds, if it is of this sample.
    pub(super) fn open(path: &Path, header: &Sha256Hash) -> Result<Self, Error> {
        let mut scores = TokenScores::default();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(FileError::at("read", path)(error).into()),
        };
        if let Some(records) = bytes.strip_prefix(header.0.as_slice()) {
            for record in records.as_chunks::<12>().0 {
                let [ln_p, rank, entropy] = [0, 4, 8]
                    .map(|at| [record[at], record[at + 1], record[at + 2], record[at + 3]]);
                scores.ln_p.push(f32::from_le_bytes(ln_p));
                scores.rank.push(u32::from_le_bytes(rank));
                scores.entropy.push(f32::from_le_bytes(entropy));
            }
        }
        Ok(Self { path: path.to_owned(), header: *header, scores })
    }

    /// Whole batches among what is there.
    #[expect(clippy::cast_possible_truncation, reason = "a batch of windows fits memory")]
    pub(super) fn whole_batches(&self, windows: &[(u64, Range<u64>)], batch: usize) -> Done {
        let mut done = Done { batches: 0, tokens: 0 };
        for group in windows.chunks(batch) {
            let tokens: u64 = group.iter().map(|(_, block)| block.end - block.start).sum();
            let tokens = done.tokens + tokens as usize;
            if tokens > self.scores.ln_p.len() {
                break;
            }
            done = Done { batches: done.batches + 1, tokens };
        }
        done
    }

    /// Begins the file anew with the scores of whole batches.
    pub(super) fn keep(&mut self, done: Done) -> Result<(), Error> {
        let mut kept = std::mem::take(&mut self.scores);
        kept.ln_p.truncate(done.tokens);
        kept.rank.truncate(done.tokens);
        kept.entropy.truncate(done.tokens);
        atomic::write(&self.path, &self.header.0)?;
        self.append(kept)
    }

    pub(super) fn append(&mut self, scores: TokenScores) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(12 * scores.ln_p.len());
        for ((ln_p, rank), entropy) in scores.ln_p.iter().zip(&scores.rank).zip(&scores.entropy) {
            bytes.extend(ln_p.to_le_bytes());
            bytes.extend(rank.to_le_bytes());
            bytes.extend(entropy.to_le_bytes());
        }
        let file = std::fs::OpenOptions::new().append(true).open(&self.path);
        let mut file = file.map_err(FileError::at("open", &self.path))?;
        file.write_all(&bytes).map_err(FileError::at("write", &self.path))?;
        extend(&mut self.scores, scores);
        Ok(())
    }
}
