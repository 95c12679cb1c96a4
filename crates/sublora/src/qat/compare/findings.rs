//! What a comparison says, in words.

use std::collections::BTreeSet;

use report::significant;

use super::QatComparison;
use super::differences::{Difference, Verdict};
use super::runs::ComparedRun;
use crate::sweep_report::count;

/// How far two costs may be apart, relative, and still be called equal.
const EQUAL: f64 = 0.05;
/// Below which an adjusted p-value holds.
const LEVEL: f64 = 0.05;

impl QatComparison {
    /// What was compared, and where each method helps and hurts, at the first stride that was evaluated.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = vec![self.subject()];
        let at_stride = |it: &&Difference| it.stride == self.stride();
        let rows: Vec<&Difference> = self.differences.iter().filter(at_stride).collect();
        let same_pair = |a: &&Difference, b: &&Difference| {
            (&a.method, &a.reference) == (&b.method, &b.reference)
        };
        findings.extend(rows.chunk_by(same_pair).map(sentence));
        findings.push(tests(&rows));
        findings
    }

    fn subject(&self) -> String {
        let seeds: BTreeSet<u64> = self.runs.iter().map(ComparedRun::seed).collect();
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        let texts: Vec<String> = self.texts.iter().map(ToString::to_string).collect();
        format!(
            "{} of {} with the {} {}. Losses are means over {}, in nats per token.",
            count(self.runs.len(), "run"),
            count(self.methods().len(), "method"),
            if seeds.len() == 1 { "seed" } else { "seeds" },
            listed(&seeds),
            texts.join("; and again over "),
        )
    }
}

/// Of one pair of methods.
fn sentence(rows: &[&Difference]) -> String {
    let Some(Difference { method, reference, .. }) = rows.first() else { return String::new() };
    let with = |verdict: Verdict, verb: &str| {
        let bits = rows.iter().filter(|it| it.verdict == verdict).map(|it| it.bits.to_string());
        let bits: Vec<String> = bits.collect();
        (!bits.is_empty()).then(|| format!("{verb} at {} bits", listed(&bits)))
    };
    let verdicts = [
        with(Verdict::Helps, "helps"),
        with(Verdict::Hurts, "hurts"),
        with(Verdict::Undecided, "is undecided"),
        with(Verdict::Same, "is the same"),
    ];
    let verdicts: Vec<String> = verdicts.into_iter().flatten().collect();
    let (verdicts, cost) = (verdicts.join("; "), cost(rows));
    format!("“{method}” beside “{reference}” {verdicts}. {cost}")
}

/// Whether a pair of methods had the same to train with.
fn cost(rows: &[&Difference]) -> String {
    let ratios = || rows.iter().filter_map(|it| it.bit_ops_ratio);
    let low = ratios().fold(f64::INFINITY, f64::min);
    let high = ratios().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return "The latter was not trained.".to_owned();
    }
    let range = match [low, high].map(|it| significant(it, 3)) {
        [low, high] if low == high => low,
        [low, high] => format!("{low} to {high}"),
    };
    if low >= 1.0 - EQUAL && high <= 1.0 + EQUAL {
        format!("Training took about as many BitOPs at each width: {range} times the latter's.")
    } else {
        format!("Training took other BitOPs: {range} times the latter's.")
    }
}

/// What is behind the verdicts.
fn tests(rows: &[&Difference]) -> String {
    let Some(most) = rows.iter().filter(|it| it.p.is_some()).map(|it| it.pairs).max() else {
        return "No two methods have several seeds in common whose differences vary, so nothing is \
                tested: of a single seed a difference says nothing of the next."
            .to_owned();
    };
    let tested = rows.iter().filter(|it| it.p.is_some()).count();
    let decided = || rows.iter().filter(|it| matches!(it.verdict, Verdict::Helps | Verdict::Hurts));
    let held = decided().filter(|it| it.p_adjusted.is_some_and(|p| p < LEVEL)).count();
    format!(
        "Helps and hurts are where Student's interval of 95 % of the paired differences, over up to {}, \
         is below or above zero, at each width by itself. Adjusted for all {} (Holm), {held} of these {} \
         hold.",
        count(most, "seed"),
        count(tested, "test"),
        decided().count(),
    )
}

/// `2, 3 and 8`.
fn listed(items: &[String]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}
