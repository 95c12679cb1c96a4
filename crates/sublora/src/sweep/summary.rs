//! Means over seeds, and the best run with what its choice costs.

use std::num::NonZeroU64;

use bounds::Unit;
use serde::{Deserialize, Serialize};

use super::record::{RunRecord, RunStatus};
use super::table::Subject;
use super::{Sweep, SweepConfig};
use crate::Error;
use crate::artifact::CodeLength;
use crate::certificate::{Claim, MetricName, claims_among};

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the sample, $n - 1$ in its denominator; none of a single value.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of `values`; none of no value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|it| (it - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

/// The least bounds of the finished runs of a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundSpread {
    /// What the units are.
    pub unit: Unit,
    /// What is bounded.
    pub metric: MetricName,
    /// Of a top-k error.
    pub k: Option<u32>,
    /// Over the seeds. A mean of bounds is a figure for comparison, and no bound of anything.
    pub bound: Spread,
    /// The measured risks in these bounds.
    pub risk: Spread,
}

/// The runs of a mode at a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The mode.
    pub mode: String,
    /// The budget.
    pub intrinsic_dim: usize,
    /// Its runs.
    pub runs: usize,
    /// Those that are finished: all means are over them.
    pub finished: usize,
    /// $K$ in bits.
    pub code_length: Option<Spread>,
    /// Least held-out loss of the training, in bits per token.
    pub held_out: Option<Spread>,
    /// A line a level and metric.
    pub bounds: Vec<BoundSpread>,
    /// By the clock.
    pub seconds: Option<Spread>,
}

/// The price of the choice among all runs, which every certificate has paid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Runs of the sweep, finished or not.
    pub runs: u64,
    /// What each certificate was chosen from: these runs, times what was tried before them.
    pub configurations: u64,
    /// Of a level and a metric each, the finished run with the least bound.
    pub best: Vec<Best>,
}

/// The run with the least bound for a level and a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// What the units are.
    pub unit: Unit,
    /// What is bounded.
    pub metric: MetricName,
    /// Of a top-k error.
    pub k: Option<u32>,
    /// Name of the run.
    pub run: String,
    /// The bound, which holds although the run was chosen.
    pub bound: f64,
    /// $K$ of the run, in bits.
    pub code_length: u64,
    /// What the bound would be had this been the only run. It holds for nobody: it shows the price.
    pub bound_alone: f64,
    /// Its $K$ then: the difference is what the choice takes of it.
    pub code_length_alone: u64,
}

/// A group a mode and budget, in the order of [`SweepConfig::runs`].
pub(super) fn groups(config: &SweepConfig, runs: &[RunRecord], subjects: &[Subject]) -> Vec<Group> {
    let group = |(mode, intrinsic_dim): (&str, usize)| {
        let ours = |it: &&RunRecord| it.mode == mode && it.intrinsic_dim == intrinsic_dim;
        let all = runs.iter().filter(ours).count();
        let finished = runs.iter().filter(ours).filter(|it| it.status == RunStatus::Finished);
        let finished: Vec<&RunRecord> = finished.collect();
        let spread = |value: &dyn Fn(&RunRecord) -> Option<f64>| {
            Spread::of(&finished.iter().filter_map(|it| value(it)).collect::<Vec<_>>())
        };
        let bounds = subjects.iter().filter_map(|&(unit, metric, k)| {
            let bound = spread(&|it| Some(it.best(unit, metric, k)?.bound))?;
            let risk = spread(&|it| Some(it.best(unit, metric, k)?.risk))?;
            Some(BoundSpread { unit, metric, k, bound, risk })
        });
        Group {
            mode: mode.to_owned(),
            intrinsic_dim,
            runs: all,
            finished: finished.len(),
            code_length: spread(&|it| it.code_length.map(|it| it.total() as f64)),
            held_out: spread(&|it| it.held_out.map(|it| it.bits_per_token)),
            bounds: bounds.collect(),
            seconds: spread(&|it| it.seconds),
        }
    };
    let budgets = config.intrinsic_dim.iter();
    let pairs =
        budgets.flat_map(|&dim| config.modes.iter().map(move |mode| (mode.name.as_str(), dim)));
    pairs.map(group).collect()
}

impl Sweep<'_> {
    /// The best runs and what they cost.
    ///
    /// # Errors
    /// A certificate whose files are not those it is about.
    pub(super) fn choice(&self, runs: &[RunRecord], subjects: &[Subject]) -> Result<Choice, Error> {
        let of_sweep = self.config.runs()?;
        let configurations = of_sweep.first().map_or(1, |run| run.config.certify.configurations);
        let before = configurations / self.config.run_count();
        let before = NonZeroU64::new(before).unwrap_or(NonZeroU64::MIN);
        let mut alone: Vec<(&str, CodeLength, Vec<Claim>)> = Vec::new();
        let mut best = Vec::new();
        for &(unit, metric, k) in subjects {
            let claims = runs.iter().filter_map(|run| Some((run, run.best(unit, metric, k)?)));
            let least = claims.min_by(|(_, a), (_, b)| a.bound.total_cmp(&b.bound));
            let Some((run, claim)) = least else { continue };
            if !alone.iter().any(|(name, ..)| *name == run.name) {
                let path = self.folder.join(&run.path).join("certificate.json");
                let (bits, claims) = claims_among(&path, self.corpus, before)?;
                alone.push((&run.name, bits, claims));
            }
            let Some((_, bits, claims)) = alone.iter().find(|(name, ..)| *name == run.name) else {
                continue;
            };
            let same = |it: &&Claim| (it.unit, it.metric, it.k) == (unit, metric, k);
            let bounds = claims.iter().filter(same).map(|it| it.bound);
            best.push(Best {
                unit,
                metric,
                k,
                run: run.name.clone(),
                bound: claim.bound,
                code_length: run.code_length.map_or(0, |it| it.total()),
                bound_alone: bounds.fold(f64::INFINITY, f64::min),
                code_length_alone: bits.total(),
            });
        }
        Ok(Choice { runs: self.config.run_count(), configurations, best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_by_hand() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[2.0]), Some(Spread { mean: 2.0, deviation: None }));
        // Mean 3, squares 4 + 1 + 9, over 3 - 1.
        let spread = Spread::of(&[1.0, 2.0, 6.0]).unwrap();
        assert!((spread.mean - 3.0).abs() < 1e-15);
        assert!((spread.deviation.unwrap() - 7.0_f64.sqrt()).abs() < 1e-15);
    }
}
