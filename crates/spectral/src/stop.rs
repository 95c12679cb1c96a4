//! How a caller ends what takes long.

/// Whether to end the work. Asked between replicates and from any thread; after the first yes it has to
/// go on saying yes.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Work that nobody ends.
pub const NEVER: Stop<'static> = &|| false;
