//! Equal pieces of work on threads of their own.

use std::thread::{ScopedJoinHandle, scope};

/// `work(i, states[i])` for all `i` at the same time, and their results in order.
///
/// Threads, not tasks of rayon's pool: a matrix product that waits inside the pool would take up the
/// next piece while it holds the lock of its graph.
pub(crate) fn side_by_side<S: Send, R: Send>(
    states: Vec<S>,
    work: impl Fn(usize, S) -> R + Sync,
) -> Vec<R> {
    let mut states = states.into_iter().enumerate();
    let Some((first, state)) = states.next() else { return Vec::new() };
    scope(|scope| {
        let work = &work;
        let spawn = |(piece, state)| scope.spawn(move || work(piece, state));
        let threads: Vec<_> = states.map(spawn).collect();
        let first = work(first, state);
        let joined = |thread: ScopedJoinHandle<'_, R>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(first).chain(threads.into_iter().map(joined)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_every_piece_has_its_own_state() {
        let paired = side_by_side(vec!["a", "b", "c"], |piece, state| (piece, state));
        assert_eq!(paired, [(0, "a"), (1, "b"), (2, "c")]);
        assert_eq!(side_by_side(vec![0; 0], |piece, _| piece), [0; 0]);
    }
}
