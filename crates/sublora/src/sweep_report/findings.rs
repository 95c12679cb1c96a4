//! The findings in words. No sentence says more than the tests beneath it.

use std::collections::BTreeSet;

use bounds::{Unit, round_up};
use report::{significant, with_spread};

use super::cell::about;
use super::{ModeRow, SweepReport};
use crate::certificate::MetricName;
use crate::paired::Paired;
use crate::sweep::RunStatus;

/// Below it, a difference is called distinguishable from zero.
const LEVEL: f64 = 0.05;

/// Which tests tell a difference from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Both,
    StudentAlone,
    SignFlipAlone,
    Neither,
}

impl SweepReport {
    /// What was run, what its numbers support, and what the choice of a run costs.
    pub(super) fn findings(&self) -> Vec<String> {
        let mut findings = vec![self.what_was_run()];
        let lowest = self.levels().into_iter().flat_map(|unit| {
            let budgets = self.record.config.intrinsic_dim.iter();
            budgets.filter_map(move |&dim| self.lowest(unit, dim))
        });
        findings.extend(lowest);
        findings.push(self.tests());
        findings.extend(self.choice());
        findings.extend(self.vacuity());
        findings
    }

    fn what_was_run(&self) -> String {
        let config = &self.record.config;
        let budgets: Vec<String> = config.intrinsic_dim.iter().map(ToString::to_string).collect();
        let all = self.record.runs.len();
        let with = |status| self.record.runs.iter().filter(|it| it.status == status).count();
        let (finished, failed) = (with(RunStatus::Finished), with(RunStatus::Failed));
        let rest = match (all - finished - failed, failed) {
            (0, 0) => String::new(),
            (0, failed) => format!("; {failed} failed"),
            (open, failed) => format!("; {failed} failed, and {open} have not come to an end"),
        };
        let means = match finished {
            0 => "",
            _ if finished < all => " All means are over the finished ones.",
            _ => "",
        };
        format!(
            "{} with d = {} and {}: {finished} of {} finished{rest}.{means}",
            count(config.modes.len(), "mode"),
            budgets.join(", "),
            count(config.seeds.len(), "seed"),
            count(all, "run"),
        )
    }

    /// The mode with the lowest mean bound, and whether that is more than chance.
    fn lowest(&self, unit: Unit, dim: usize) -> Option<String> {
        let level = unit.to_string();
        let rows = self.modes.iter().filter(|it| it.level == level && it.intrinsic_dim == dim);
        let rows: Vec<(&ModeRow, f64)> = rows.filter_map(|it| Some((it, it.bound?))).collect();
        let (best, bound) = *rows.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let value = match best.bound_sd {
            Some(deviation) => format!(
                "{} bits per token (mean ± standard deviation over {} seeds)",
                with_spread(bound, deviation),
                best.finished
            ),
            None => format!("{} bits per token, of one seed", significant(bound, 4)),
        };
        let vacuous = match best.vacuous_above {
            Some(at) if bound >= at => " Such a bound says nothing.",
            _ => "",
        };
        let seeds: BTreeSet<usize> = rows.iter().map(|it| it.0.finished).collect();
        let uneven = if seeds.len() > 1 {
            " Not all modes finished the same seeds, so means differ by their seeds, too."
        } else {
            ""
        };
        let lowest = rows.iter().filter(|it| it.1 - bound <= 1e-12 * bound.abs());
        let names: Vec<String> = lowest.map(|it| format!("“{}”", it.0.mode)).collect();
        let (has, beside) = match names.len() {
            1 => ("has", self.beside_baseline(best)),
            _ => ("share", String::new()),
        };
        Some(format!(
            "For {} at d = {dim}, {} {has} the lowest mean bound, {value}.{vacuous}{uneven}{beside}",
            about(unit),
            names.join(", "),
        ))
    }

    /// What may be said of a mode beside the baseline.
    fn beside_baseline(&self, row: &ModeRow) -> String {
        let Some(baseline) = &self.baseline else { return String::new() };
        if row.mode == *baseline {
            return self.others(row);
        }
        let (Some(difference), Some(pairs)) = (row.difference, row.pairs) else {
            return format!(" It has no seed in common with “{baseline}”.");
        };
        let interval = match (row.difference_low, row.difference_high) {
            (Some(low), Some(high)) => {
                format!(" (95 % interval {} to {})", significant(low, 3), significant(high, 3))
            }
            _ => String::new(),
        };
        let p = match (row.t_p_adjusted, row.sign_flip_p_adjusted) {
            (Some(t), Some(flip)) => format!(
                "adjusted p = {} by Student's test, {} by sign flips",
                significant(t, 2),
                significant(flip, 2)
            ),
            (Some(t), None) => format!("adjusted p = {} by Student's test", significant(t, 2)),
            (None, Some(flip)) => {
                format!(
                    "adjusted p = {} by sign flips; the differences do not vary",
                    significant(flip, 2)
                )
            }
            (None, None) => "no test of a single pair".to_owned(),
        };
        let verdict = match verdict(row) {
            Verdict::Both => "it is distinguishable from zero",
            Verdict::StudentAlone => {
                "it is distinguishable from zero only if the differences are taken for normal"
            }
            Verdict::SignFlipAlone => "it is distinguishable from zero by sign flips alone",
            Verdict::Neither => "it is not distinguishable from zero",
        };
        format!(
            " Its difference to “{baseline}” over {} is {}{interval}: {verdict} ({p}).",
            count(pairs, "seed"),
            significant(difference, 3),
        )
    }

    /// Which modes may be told from the baseline, in whose row all others are above it.
    fn others(&self, baseline: &ModeRow) -> String {
        let is_beside = |it: &&ModeRow| {
            let same = (&it.level, it.intrinsic_dim) == (&baseline.level, baseline.intrinsic_dim);
            same && (it.t_p.is_some() || it.sign_flip_p.is_some())
        };
        let named = |(of, words): (Verdict, &str)| {
            let rows = self.modes.iter().filter(is_beside).filter(|it| verdict(it) == of);
            let names: Vec<String> = rows.map(|it| format!("“{}”", it.mode)).collect();
            (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
        };
        let parts = [
            (Verdict::Both, "distinguishable from it"),
            (Verdict::StudentAlone, "distinguishable only if differences are taken for normal"),
            (Verdict::SignFlipAlone, "distinguishable by sign flips alone"),
            (Verdict::Neither, "not distinguishable"),
        ];
        let parts: Vec<String> = parts.into_iter().filter_map(named).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!(" Of the others, {}.", parts.join("; "))
        }
    }

    /// How many differences are more than chance, and how weak the tests are.
    fn tests(&self) -> String {
        if self.modes.is_empty() {
            return "No run is finished, so there is nothing to compare.".to_owned();
        }
        let Some(baseline) = &self.baseline else {
            let reason =
                "No mode is called “uniform” or has this allocation, so there are no paired tests.";
            return reason.to_owned();
        };
        let tested = self.modes.iter().filter(|it| it.t_p.is_some() || it.sign_flip_p.is_some());
        let tested: Vec<&ModeRow> = tested.collect();
        let most = tested.iter().filter_map(|it| it.pairs).max();
        let Some(most) = most else {
            let others = self.modes.iter().any(|it| it.mode != *baseline);
            return if others {
                format!(
                    "No mode has two finished seeds in common with “{baseline}”, so there is no test: of a \
                     single seed a difference says nothing of the next."
                )
            } else {
                format!("There is no mode beside “{baseline}” to compare it with.")
            };
        };
        let with = |it| tested.iter().filter(|row| verdict(row) == it).count();
        let count_of = tested.len();
        let least = Paired::least_sign_flip(most);
        let needed = 1.0 + (count_of as f64 / LEVEL).log2().ceil();
        let weak = if least * count_of as f64 > LEVEL {
            format!(
                " {most} seeds are few: sign flips of {most} differences cannot come below p = {}, which \
                 adjusted for {} is above {LEVEL}, so that nothing here holds without taking the \
                 differences for normal. That would take {needed} seeds.",
                significant(least, 2),
                count(count_of, "test"),
            )
        } else {
            String::new()
        };
        format!(
            "Of {} of mean bounds to “{baseline}”, {} distinguishable from zero by Student's paired test \
             and by sign flips, {} by Student's test alone, {} by sign flips alone, {} by neither: p \
             below {LEVEL}, two-sided, adjusted for {} (Holm).{weak}",
            count(count_of, "difference"),
            match with(Verdict::Both) {
                1 => "1 is".to_owned(),
                it => format!("{it} are"),
            },
            with(Verdict::StudentAlone),
            with(Verdict::SignFlipAlone),
            with(Verdict::Neither),
            count(count_of, "test"),
        )
    }

    /// What choosing the best run costs.
    fn choice(&self) -> Vec<String> {
        let choice = &self.record.choice;
        let bits = choice.best.iter().filter(|it| it.metric == MetricName::BitsPerToken);
        let sentence = |best: &crate::Best| {
            format!(
                "The least bound for {} is {:.4} bits per token, of “{}”. It may be quoted: it pays for the \
                 choice among {}, with {} bits of its K of {} and in its sampling term. Had it been the only \
                 run, its K would be {} bits and the bound {:.4}.",
                about(best.unit),
                round_up(best.bound, 4),
                best.run,
                count(
                    usize::try_from(choice.configurations).unwrap_or(usize::MAX),
                    "configuration"
                ),
                best.code_length.saturating_sub(best.code_length_alone),
                best.code_length,
                best.code_length_alone,
                round_up(best.bound_alone, 4),
            )
        };
        bits.map(sentence).collect()
    }

    /// How many bounds say something.
    fn vacuity(&self) -> Option<String> {
        let bounds: usize = self.modes.iter().map(|it| it.finished).sum();
        let vacuous: usize = self.modes.iter().map(|it| it.vacuous).sum();
        let above = self.modes.iter().find_map(|it| it.vacuous_above)?;
        Some(format!(
            "{} of {} ({} at each of {}) are below {} bits per token, where a bound begins to say something.",
            bounds - vacuous,
            count(bounds, "bound"),
            bounds / self.levels().len().max(1),
            count(self.levels().len(), "level"),
            significant(above, 4),
        ))
    }
}

fn verdict(row: &ModeRow) -> Verdict {
    let below = |p: Option<f64>| p.is_some_and(|p| p < LEVEL);
    match (below(row.t_p_adjusted), below(row.sign_flip_p_adjusted)) {
        (true, true) => Verdict::Both,
        (true, false) => Verdict::StudentAlone,
        (false, true) => Verdict::SignFlipAlone,
        (false, false) => Verdict::Neither,
    }
}

/// `1 seed`, `3 seeds`.
pub(crate) fn count(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}
