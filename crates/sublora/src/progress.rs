//! How a pipeline tells how far it is.

use std::ops::ControlFlow;

/// Listens to a pipeline; the caller draws the bar. [`ControlFlow::Break`] ends the work at the next
/// safe point, with everything finished so far on disk. `()` does not listen.
pub trait Progress: Sync {
    /// A task of `total` units begins, for example `train`, 2,000 `steps`.
    fn begin(&self, task: &str, unit: &'static str, total: u64);

    /// `done` units are behind us; `note` is what a person wants to see beside the bar.
    fn update(&self, done: u64, note: &str) -> ControlFlow<()>;

    /// The task is over.
    fn end(&self);
}

impl Progress for () {
    fn begin(&self, _task: &str, _unit: &'static str, _total: u64) {}

    fn update(&self, _done: u64, _note: &str) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn end(&self) {}
}
