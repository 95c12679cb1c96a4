//! Monte-Carlo coverage: no bound is violated more often than its failure probability allows.
//!
//! Every registered bound, wherever it applies, meets losses of known mean: independent documents of
//! five distributions, and tokens whose conditional mean depends on the losses before them. All units
//! scored, and a subsample with replacement.

use std::num::{NonZeroU32, NonZeroU64};

use counter_rng::{Key, Words};

use crate::testing::{delta, evidence};
use crate::{
    AnyBound, Bound, BoundError, Certified, Evidence, FixedT, Freedman, LossRange, Metric, Product,
    Sampling, Unit,
};

const TRIALS: u64 = 500;
/// Training units and scored units.
const M: usize = 200;
const N: usize = 60;
/// Failure probability of each event. Large, so that a bound that is too small shows.
const DELTA: f64 = 0.1;

/// Losses on the scale of an error rate, their mean risk, and a prediction of each.
struct Draw {
    values: Vec<f64>,
    risk: f64,
    predicted: Vec<f64>,
}

/// A way to draw losses.
type Law = fn(&mut Words) -> Draw;

fn independent(words: &mut Words, risk: f64, draw: impl Fn(&mut Words) -> f64) -> Draw {
    let values = (0..M).map(|_| draw(words)).collect();
    Draw { values, risk, predicted: vec![risk; M] }
}

const INDEPENDENT: [(&str, Law); 5] = [
    ("bernoulli .3", |words| independent(words, 0.3, |w| bernoulli(w, 0.3))),
    ("bernoulli .02", |words| independent(words, 0.02, |w| bernoulli(w, 0.02))),
    ("bernoulli .95", |words| independent(words, 0.95, |w| bernoulli(w, 0.95))),
    ("beta(2, 5)", |words| {
        // The second least of six uniform numbers.
        independent(words, 2.0 / 7.0, |w| {
            let mut six: [f64; 6] = std::array::from_fn(|_| w.uniform());
            six.sort_unstable_by(f64::total_cmp);
            six[1]
        })
    }),
    ("two points, heavy tail", |words| {
        independent(words, 0.98 * 0.05 + 0.02, |w| if w.uniform() < 0.02 { 1.0 } else { 0.05 })
    }),
];

/// Tokens: `mean` sees the sum of past losses over their conditional means, and the last loss; `spread`
/// turns a conditional mean into a loss.
fn dependent(
    words: &mut Words,
    mean: impl Fn(f64, f64) -> f64,
    spread: impl Fn(&mut Words, f64) -> f64,
) -> Draw {
    let (mut excess, mut last) = (0.0, 0.0);
    let mut draw = Draw { values: Vec::new(), risk: 0.0, predicted: Vec::new() };
    for _ in 0..M {
        let mean = mean(excess, last);
        last = spread(words, mean);
        excess += last - mean;
        draw.values.push(last);
        draw.risk += mean / M as f64;
        draw.predicted.push(0.1 + 0.8 * mean); // predictable, and not quite right
    }
    draw
}

fn bernoulli(words: &mut Words, mean: f64) -> f64 {
    f64::from(u8::from(words.uniform() < mean))
}

const DEPENDENT: [(&str, Law); 4] = [
    ("independent tokens", |words| dependent(words, |_, _| 0.3, bernoulli)),
    ("errors that cluster", |words| {
        dependent(words, |_, last| if last > 0.5 { 0.6 } else { 0.1 }, bernoulli)
    }),
    ("uniform up to twice the mean", |words| {
        dependent(words, |_, last| 0.1 + 0.3 * last, |w, mean| 2.0 * mean * w.uniform())
    }),
    // Stops as soon as it has been lucky: the worst case for a martingale.
    ("an adversary that stops when ahead", |words| {
        dependent(words, |excess, _| if excess > -8.0 { 0.5 } else { 0.0 }, bernoulli)
    }),
];

/// How the units are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scheme {
    Full,
    Uniform,
    /// A random value within the unit in place of its loss: 0 or 1, the most it can vary.
    Within,
    Blocks,
}

impl Scheme {
    fn fits(self, unit: Unit) -> bool {
        match self {
            Self::Full | Self::Uniform => true,
            Self::Within => unit == Unit::Document,
            Self::Blocks => unit == Unit::Token,
        }
    }
}

/// Tokens of a block; the last one of the text is shorter.
const BLOCK: usize = 7;

/// Fraction of trials in which `bound` stays below the true risk; `None` if it refuses these losses.
fn violations(
    bound: &dyn Bound,
    unit: Unit,
    metric: Metric,
    scheme: Scheme,
    law: Law,
) -> Option<f64> {
    let range = match metric {
        Metric::BitsPerToken => LossRange::new(1.0, 9.0).unwrap(),
        Metric::TopKError { .. } => LossRange::UNIT,
    };
    let mut violated = 0_u32;
    for trial in 0..TRIALS {
        let mut words = Key::from_seed(8).derive("coverage").index(trial).words(0);
        let draw = law(&mut words);
        let units = NonZeroU64::new(M as u64).unwrap();
        let mut position = || usize::try_from(words.below(units)).unwrap();
        let mut offsets = vec![0];
        let scored: Vec<usize> = match scheme {
            Scheme::Full => (0..M).collect(),
            Scheme::Uniform | Scheme::Within => (0..N).map(|_| position()).collect(),
            Scheme::Blocks => {
                let mut scored = Vec::new();
                for _ in 0..N {
                    let start = position() / BLOCK * BLOCK;
                    scored.extend(start..(start + BLOCK).min(M));
                    offsets.push(scored.len() as u64);
                }
                scored
            }
        };
        let sampling = match scheme {
            Scheme::Full => Sampling::Full,
            Scheme::Uniform | Scheme::Within => Sampling::Uniform,
            Scheme::Blocks => Sampling::Blocks(&offsets),
        };
        let [mut values, predicted] = [&draw.values, &draw.predicted]
            .map(|all| scored.iter().map(|&i| all[i]).collect::<Vec<_>>());
        if scheme == Scheme::Within {
            for value in &mut values {
                *value = bernoulli(&mut words, *value);
            }
        }
        let [values, predicted] = [values, predicted]
            .map(|all| all.into_iter().map(|it| range.at(it)).collect::<Vec<_>>());
        let evidence = Evidence {
            unit,
            metric,
            population: NonZeroU64::new(M as u64).unwrap(),
            sampling,
            predictable: Some(&predicted),
            range,
            training_failure: delta(DELTA),
            sample_failure: delta(DELTA),
            ..evidence(&values)
        };
        match bound.certify(&evidence) {
            Ok(certified) => {
                violated += u32::from(certified.bound < range.at(draw.risk) - 1e-12);
            }
            Err(BoundError::NotBinary { .. } | BoundError::Subsampled) => return None,
            Err(error) => panic!("{error}"),
        }
    }
    Some(f64::from(violated) / TRIALS as f64)
}

const TOP_1: Metric = Metric::TopKError { k: NonZeroU32::MIN };

fn laws(unit: Unit) -> &'static [(&'static str, Law)] {
    match unit {
        Unit::Document => &INDEPENDENT,
        Unit::Token => &DEPENDENT,
    }
}

#[test]
fn no_bound_is_violated_more_often_than_it_may_be() {
    // With one stake nothing is lost to a union, and a wrong factor would show.
    let single = [
        Product { stakes: NonZeroU32::MIN }.into(),
        Freedman { stakes: NonZeroU32::MIN }.into(),
        FixedT { exponents: NonZeroU32::MIN }.into(),
    ];
    for bound in AnyBound::all().into_iter().chain(single) {
        let mut met = 0;
        for unit in [Unit::Document, Unit::Token] {
            for metric in [Metric::BitsPerToken, TOP_1] {
                if !bound.as_dyn().applies_to(unit, metric) {
                    continue;
                }
                for scheme in [Scheme::Full, Scheme::Uniform, Scheme::Within, Scheme::Blocks] {
                    if !scheme.fits(unit) {
                        continue;
                    }
                    // The published split spends both probabilities even without a subsample.
                    let one_stage = scheme == Scheme::Full && bound.name() != "parity";
                    let allowed = if one_stage { DELTA } else { 2.0 * DELTA };
                    let three_sigma = 3.0 * (allowed * (1.0 - allowed) / TRIALS as f64).sqrt();
                    for (law, draw) in laws(unit) {
                        let Some(rate) = violations(bound.as_dyn(), unit, metric, scheme, *draw)
                        else {
                            continue;
                        };
                        met += 1;
                        let name = bound.name();
                        assert!(
                            rate <= allowed + three_sigma,
                            "{name}, {law}, {metric}, {scheme:?}: {rate} > {allowed}"
                        );
                    }
                }
            }
        }
        assert!(met >= 6, "{} met {met} cases", bound.name());
    }
}

/// A bound that certifies the empirical risk: half of the time it is wrong.
struct Optimist;

impl Bound for Optimist {
    fn applies_to(&self, _unit: Unit, _metric: Metric) -> bool {
        true
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        Certified::new(risk, risk, risk)
    }
}

#[test]
fn a_bound_that_is_too_small_is_found_out() {
    for unit in [Unit::Document, Unit::Token] {
        for scheme in [Scheme::Full, Scheme::Uniform, Scheme::Within, Scheme::Blocks] {
            if !scheme.fits(unit) {
                continue;
            }
            for (law, draw) in laws(unit) {
                let rate = violations(&Optimist, unit, TOP_1, scheme, *draw).unwrap();
                assert!(rate > 0.3, "{law}, {scheme:?}: {rate}");
            }
        }
    }
}
