//! The finished runs of a mode at a budget, and means over them.

use std::collections::BTreeMap;

use bounds::Unit;
use report::{Estimate, Look, Point};

use super::SweepReport;
use super::trace::{Curve, Trace};
use crate::certificate::{Claim, MetricName};
use crate::sweep::{RunRecord, Spread};

/// A mode at a budget.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    /// Name of the mode.
    pub(super) mode: &'a str,
    /// Its place among the modes.
    pub(super) place: usize,
    /// The budget.
    pub(super) intrinsic_dim: usize,
    /// Runs, finished or not.
    pub(super) planned: usize,
    /// The finished ones, seed by seed.
    pub(super) runs: Vec<(&'a RunRecord, &'a Trace)>,
}

impl SweepReport {
    /// Budget by budget, mode by mode.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        let budgets = self.record.config.intrinsic_dim.iter();
        let cell = |(intrinsic_dim, place): (usize, usize)| {
            let mode = self.record.config.modes[place].name.as_str();
            let is_ours = |run: &RunRecord| run.mode == mode && run.intrinsic_dim == intrinsic_dim;
            let runs = self.record.runs.iter().zip(&self.traces).filter(|(run, _)| is_ours(run));
            let planned = runs.clone().count();
            let runs = runs.filter_map(|(run, trace)| Some((run, trace.as_ref()?))).collect();
            Cell { mode, place, intrinsic_dim, planned, runs }
        };
        let modes = self.record.config.modes.len();
        budgets.flat_map(|&dim| (0..modes).map(move |mode| (dim, mode))).map(cell).collect()
    }

    /// Those with a finished run.
    pub(super) fn cells_with_runs(&self) -> Vec<Cell<'_>> {
        self.cells().into_iter().filter(|it| !it.runs.is_empty()).collect()
    }

    /// The levels that a finished run has a bound in bits per token at.
    pub(super) fn levels(&self) -> Vec<Unit> {
        let has = |&unit: &Unit| self.record.runs.iter().any(|run| bits(run, unit).is_some());
        [Unit::Document, Unit::Token].into_iter().filter(has).collect()
    }
}

/// The claim with the least bound in bits per token.
pub(super) fn bits(run: &RunRecord, unit: Unit) -> Option<&Claim> {
    run.best(unit, MetricName::BitsPerToken, None)
}

/// What a bound at this level is about.
pub(super) fn about(unit: Unit) -> &'static str {
    match unit {
        Unit::Document => "new documents",
        Unit::Token => "new tokens",
    }
}

impl Cell<'_> {
    /// Its name where several budgets are shown.
    pub(super) fn name(&self) -> String {
        format!("{}, d = {}", self.mode, self.intrinsic_dim)
    }

    /// Of the mode, in every chart.
    pub(super) fn look(&self) -> Look {
        Look::Number(self.place)
    }

    /// A value of each run that has it.
    pub(super) fn values(&self, value: impl Fn(&RunRecord) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(|(run, _)| value(run)).collect()
    }

    /// Mean and deviation over the runs.
    pub(super) fn spread(&self, value: impl Fn(&RunRecord) -> Option<f64>) -> Option<Spread> {
        Spread::of(&self.values(value))
    }

    /// The mean over the runs, from the lowest to the highest.
    pub(crate) fn estimate(&self, value: impl Fn(&RunRecord) -> Option<f64>) -> Option<Estimate> {
        estimate(&self.values(value))
    }
}

/// The mean, from the lowest to the highest if there are several values.
pub(crate) fn estimate(values: &[f64]) -> Option<Estimate> {
    let value = Spread::of(values)?.mean;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Estimate { value, interval: (values.len() > 1).then_some((low, high)) })
}

/// The mean of `curves` at each step, over those that have it.
pub(super) fn mean_curve(curves: &[Curve]) -> Vec<Point> {
    let points = shaded_curve(curves).into_iter();
    points.map(|it| Point { y_interval: None, ..it }).collect()
}

/// The same, from the lowest to the highest: for few lines, which are not one on another.
pub(super) fn shaded_curve(curves: &[Curve]) -> Vec<Point> {
    let mut by_step = BTreeMap::<u64, Vec<f64>>::new();
    for (step, value) in curves.iter().flatten() {
        by_step.entry(*step).or_default().push(*value);
    }
    let point = |(step, values): (u64, Vec<f64>)| {
        let Estimate { value, interval } = estimate(&values)?;
        Some(Point { x: step as f64, y: value, y_interval: interval, ..Point::default() })
    };
    by_step.into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_over_what_is_there() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[2.0]), Some(Estimate { value: 2.0, interval: None }));
        let three = Estimate { value: 3.0, interval: Some((1.0, 6.0)) };
        assert_eq!(estimate(&[2.0, 6.0, 1.0]), Some(three));
        let points = shaded_curve(&[vec![(1, 1.0), (2, 4.0)], vec![(2, 6.0)]]);
        let shown: Vec<_> = points.iter().map(|it| (it.x, it.y, it.y_interval)).collect();
        assert_eq!(shown, [(1.0, 1.0, None), (2.0, 5.0, Some((4.0, 6.0)))]);
    }
}
