//! How a build tells what it is doing. The caller draws the bar.

use std::ops::ControlFlow;

use crate::BadDocument;

/// Listens to a build. `()` does not.
pub trait Progress: Sync {
    /// Called after every batch; [`ControlFlow::Break`] ends the build and removes what it wrote.
    fn report(&self, so_far: &Counts) -> ControlFlow<()>;

    /// Called for every document that is skipped and counted.
    fn skipped(&self, document: &BadDocument);
}

impl Progress for () {
    fn report(&self, _so_far: &Counts) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn skipped(&self, _document: &BadDocument) {}
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes read from the inputs, compressed as they are.
    pub bytes_read: u64,
    /// Bytes of all inputs.
    pub bytes_total: u64,
    /// Documents read, whether kept or not.
    pub documents: u64,
    /// Tokens written, separators included.
    pub tokens: u64,
    /// UTF-8 bytes of the documents kept.
    pub text_bytes: u64,
}
