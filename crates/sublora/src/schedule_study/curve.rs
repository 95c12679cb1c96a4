//! The widths over a run, as far as a chart can show them.

use precision_schedule::Schedule;

/// Most changes that are drawn one by one: four to a pixel of a wide chart.
const MOST_CHANGES: u64 = 4_000;

/// Of a schedule with more, how many are drawn from the beginning.
const FIRST_CHANGES: usize = 100;

/// And into how many stretches the whole of the run is cut.
const STRETCHES: u64 = 500;

/// Steps from which on a width holds, and the widths. The last is the end of the run.
pub(super) type Changes = Vec<(u64, u32)>;

/// The widths over a run.
#[derive(Debug, PartialEq)]
pub(super) enum Curve {
    /// Every change.
    Exact(Changes),
    /// A schedule that changes too often for that.
    Dense {
        /// Its first changes.
        beginning: Changes,
        /// What is in each stretch of the run.
        stretches: Vec<Stretch>,
    },
}

/// The widths in a stretch of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    /// Its first step.
    pub(super) from: u64,
    pub(super) lowest: u32,
    pub(super) highest: u32,
    pub(super) mean: f64,
}

impl Curve {
    /// Time in proportion to the steps, memory not.
    pub(super) fn of(schedule: &Schedule) -> Self {
        let steps = schedule.steps();
        let (mut changes, mut count) = (Changes::new(), 0);
        for step in 0..steps {
            let bits = schedule.bits(step);
            if changes.last().is_none_or(|it| it.1 != bits) {
                count += 1;
                changes.push((step, bits));
            }
            if count > MOST_CHANGES {
                changes.truncate(FIRST_CHANGES + 1); // the last as the end of the one before
                return Self::Dense { beginning: changes, stretches: stretches(schedule) };
            }
        }
        changes.extend(changes.last().map(|it| (steps, it.1)));
        Self::Exact(changes)
    }
}

/// Of a run with more steps than stretches.
fn stretches(schedule: &Schedule) -> Vec<Stretch> {
    let start = |stretch: u64| schedule.steps() * stretch / STRETCHES;
    let stretch = |place| {
        let (from, to) = (start(place), start(place + 1));
        let widths = || (from..to).map(|step| schedule.bits(step));
        let (lowest, highest, sum) = widths().fold((u32::MAX, 0, 0), |(low, high, sum), bits| {
            (bits.min(low), bits.max(high), sum + u64::from(bits))
        });
        Stretch { from, lowest, highest, mean: sum as f64 / (to - from) as f64 }
    };
    (0..STRETCHES).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use precision_schedule::{ScheduleConfig, Table, Widths};

    use super::*;

    #[test]
    fn every_change_of_a_slow_schedule() {
        let widths = Widths::new(4..=8).unwrap();
        let schedule = ScheduleConfig { widths, ..ScheduleConfig::default() }.over(64_000).unwrap();
        let Curve::Exact(changes) = Curve::of(&schedule) else { panic!("40 changes are few") };
        // 4 + 2 (1 - cos(pi t / 8000)) is 4.5 at t = 1840.4, 5.5 at 3356.6, 6.5 at 4643.4, 7.5 at 6159.6.
        let first = [(0, 4), (1_841, 5), (3_357, 6), (4_644, 7), (6_160, 8), (8_000, 4)];
        assert_eq!(changes[..6], first);
        assert_eq!((changes.len(), changes.last()), (41, Some(&(64_000, 8))));
    }

    #[test]
    fn stretches_of_a_schedule_that_changes_in_every_step() {
        let widths = Widths::new([4, 8]).unwrap();
        let schedule = Table { bits: vec![4, 8] }.into();
        let config = ScheduleConfig { widths, schedule };
        let alternating = |steps| Curve::of(&config.over(steps).unwrap());
        assert!(matches!(alternating(4_000), Curve::Exact(changes) if changes.len() == 4_001));
        let Curve::Dense { beginning, stretches } = alternating(1_000_000) else {
            panic!("a million changes are many")
        };
        assert_eq!(beginning.len(), 101);
        assert_eq!((beginning[0], beginning[1], beginning[100]), ((0, 4), (1, 8), (100, 4)));
        assert_eq!(stretches.len(), 500);
        let second = Stretch { from: 2_000, lowest: 4, highest: 8, mean: 6.0 };
        assert_eq!(stretches[1], second);
    }
}
