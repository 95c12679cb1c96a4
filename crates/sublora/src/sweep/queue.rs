//! Tasks on a few threads, within a budget of memory.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::scope;

/// How much a sweep does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepLimits {
    /// Tasks at once.
    pub jobs: NonZeroUsize,
    /// Bytes that their estimates may add up to; none for no limit. A task that is beyond it runs by
    /// itself.
    pub memory: Option<u64>,
}

/// What the queue knows of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Estimated peak memory.
    pub(super) bytes: u64,
    /// Place of the task that has to be over before this one begins.
    pub(super) after: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Running,
    Over,
}

struct Queue<'a> {
    demands: &'a [Demand],
    limits: SweepLimits,
    states: Vec<State>,
    /// Nothing new begins.
    stopped: bool,
}

impl Queue<'_> {
    /// The first task that may begin now: its predecessor is over, and it fits beside what is running,
    /// or nothing is.
    fn next(&self) -> Option<usize> {
        if self.stopped {
            return None;
        }
        let running = || (0..self.states.len()).filter(|&it| self.states[it] == State::Running);
        let bytes = running().map(|it| self.demands[it].bytes).fold(0, u64::saturating_add);
        (0..self.states.len()).find(|&task| {
            let Demand { bytes: more, after } = self.demands[task];
            let fits = self.limits.memory.is_none_or(|most| bytes.saturating_add(more) <= most);
            self.states[task] == State::Waiting
                && after.is_none_or(|it| self.states[it] == State::Over)
                && (fits || running().next().is_none())
        })
    }

    /// Whether a thread that finds nothing to do now may find something later.
    fn goes_on(&self) -> bool {
        let has = |state| self.states.contains(&state);
        !self.stopped && has(State::Waiting) && has(State::Running)
    }
}

/// Calls `work` with the place of every task, on as many threads as there are jobs. An error ends it:
/// what runs comes to its own end, nothing else begins, and the first error is returned.
///
/// Threads, not tasks of rayon's pool, as in `side_by_side`.
pub(super) fn work_off<E: Send>(
    demands: &[Demand],
    limits: SweepLimits,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let states = vec![State::Waiting; demands.len()];
    let queue = Mutex::new(Queue { demands, limits, states, stopped: false });
    let (changed, first_error) = (Condvar::new(), Mutex::new(None));
    let job = || {
        let mut held = lock(&queue);
        loop {
            let Some(task) = held.next() else {
                if !held.goes_on() {
                    return;
                }
                held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            held.states[task] = State::Running;
            drop(held);
            let result = work(task);
            held = lock(&queue);
            held.states[task] = State::Over;
            if let Err(error) = result {
                held.stopped = true;
                lock(&first_error).get_or_insert(error);
            }
            changed.notify_all();
        }
    };
    scope(|scope| {
        for _ in 0..limits.jobs.get().min(demands.len()) {
            scope.spawn(job);
        }
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// What happened while tasks ran.
    #[derive(Default)]
    struct Seen {
        running: Vec<usize>,
        over: Vec<usize>,
        most_bytes: u64,
        most_tasks: usize,
    }

    /// Runs tasks, each of which waits until `at_once` of them have been running at the same time.
    fn worked(
        demands: &[Demand],
        (jobs, at_once): (usize, usize),
        memory: Option<u64>,
        fails: Option<usize>,
    ) -> (Result<(), usize>, Seen) {
        let limits = SweepLimits { jobs: NonZeroUsize::new(jobs).unwrap(), memory };
        let seen = Mutex::new(Seen::default());
        let result = work_off(demands, limits, |task| {
            {
                let mut seen = lock(&seen);
                if let Some(before) = demands[task].after {
                    assert!(seen.over.contains(&before), "{task} began before {before} was over");
                }
                seen.running.push(task);
                let bytes = seen.running.iter().map(|&it| demands[it].bytes).sum();
                seen.most_bytes = seen.most_bytes.max(bytes);
                seen.most_tasks = seen.most_tasks.max(seen.running.len());
            }
            let start = Instant::now();
            while lock(&seen).most_tasks < at_once {
                assert!(start.elapsed() < Duration::from_mins(1), "{at_once} never run at once");
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut seen = lock(&seen);
            seen.running.retain(|&it| it != task);
            seen.over.push(task);
            if fails == Some(task) { Err(task) } else { Ok(()) }
        });
        (result, seen.into_inner().unwrap())
    }

    fn demand(bytes: u64, after: Option<usize>) -> Demand {
        Demand { bytes, after }
    }

    #[test]
    fn one_job_takes_the_tasks_in_order() {
        let demands = [demand(1, None), demand(9, Some(0)), demand(1, None)];
        let (result, seen) = worked(&demands, (1, 1), Some(2), None);
        assert_eq!((result, seen.over, seen.most_tasks), (Ok(()), vec![0, 1, 2], 1));
        assert_eq!(worked(&[], (3, 0), None, None).1.over, [0; 0]);
    }

    #[test]
    fn several_jobs_stay_within_the_budget_and_wait_for_predecessors() {
        // Two bases, then their runs: three of them fit into 9 bytes.
        let runs = (0..8).map(|run| demand(3, Some(run % 2)));
        let demands: Vec<_> = [demand(4, None), demand(4, None)].into_iter().chain(runs).collect();
        let (result, mut seen) = worked(&demands, (4, 2), Some(9), None);
        seen.over.sort_unstable();
        assert_eq!((result, seen.over), (Ok(()), (0..10).collect()));
        assert!(seen.most_bytes <= 9 && seen.most_tasks <= 3);
        // Without a budget the number of jobs is the limit.
        let (result, seen) = worked(&[demand(3, None); 8], (4, 4), None, None);
        assert_eq!((result, seen.most_bytes, seen.most_tasks), (Ok(()), 12, 4));
    }

    #[test]
    fn a_task_beyond_the_budget_runs_alone() {
        let demands = [demand(3, None), demand(100, None), demand(3, None), demand(3, None)];
        let (result, seen) = worked(&demands, (4, 2), Some(10), None);
        assert_eq!((result, seen.over.len(), seen.most_bytes), (Ok(()), 4, 100));
    }

    #[test]
    fn an_error_stops_what_has_not_begun() {
        let (result, seen) = worked(&[demand(1, None); 6], (1, 1), None, Some(1));
        assert_eq!((result, seen.over), (Err(1), vec![0, 1]));
        // Nor does it leave threads behind that wait for what will not begin.
        let chain = [demand(1, None), demand(1, Some(0)), demand(1, Some(1))];
        let (result, seen) = worked(&chain, (3, 1), None, Some(0));
        assert_eq!((result, seen.over), (Err(0), vec![0]));
    }
}
