//! What every bound must do, wherever it applies.

use std::num::{NonZeroU32, NonZeroU64};

use counter_rng::Key;

use crate::testing::{delta, evidence};
use crate::{AnyBound, Bits, BoundError, Certified, Evidence, LossRange, Metric, Sampling, Unit};

const TOP_1: Metric = Metric::TopKError { k: NonZeroU32::MIN };

/// The kinds of evidence: losses in [1, 9] or errors of 0 and 1, all units or a subsample.
fn market(check: impl Fn(&AnyBound, Evidence<'_>)) {
    let mut words = Key::from_seed(9).words(0);
    let losses: Vec<f64> =
        (0..400).map(|_| 3.0 + 4.0 * words.uniform() * words.uniform()).collect();
    let errors: Vec<f64> = losses.iter().map(|&loss| f64::from(u8::from(loss > 3.5))).collect();
    let predicted: Vec<f64> = losses.iter().map(|loss| 0.5 * loss + 2.0).collect();
    for bound in AnyBound::all() {
        let mut met = 0;
        for unit in [Unit::Document, Unit::Token] {
            for metric in [Metric::BitsPerToken, TOP_1] {
                if !bound.as_dyn().applies_to(unit, metric) {
                    continue;
                }
                for (sampling, population) in [(Sampling::Full, 400), (Sampling::Uniform, 5_000)] {
                    let (values, range) = match metric {
                        Metric::BitsPerToken => (&losses, LossRange::new(1.0, 9.0).unwrap()),
                        Metric::TopKError { .. } => (&errors, LossRange::UNIT),
                    };
                    let predictable = if metric == TOP_1 { &errors } else { &predicted };
                    let evidence = Evidence {
                        unit,
                        metric,
                        population: NonZeroU64::new(population).unwrap(),
                        sampling,
                        predictable: Some(predictable),
                        range,
                        ..evidence(values)
                    };
                    if bound.name() == "test-set" && sampling == Sampling::Uniform {
                        continue;
                    }
                    met += 1;
                    check(&bound, evidence);
                }
            }
        }
        assert!(met > 0, "{}", bound.name());
    }
}

fn certify(bound: &AnyBound, evidence: &Evidence<'_>) -> Certified {
    bound.as_dyn().certify(evidence).unwrap_or_else(|error| panic!("{}: {error}", bound.name()))
}

#[test]
fn the_bound_is_the_sum_of_its_parts_and_above_the_risk() {
    market(|bound, evidence| {
        let Certified { risk, complexity_term, sampling_term, bound: value } =
            certify(bound, &evidence);
        assert!((risk + complexity_term + sampling_term - value).abs() <= 1e-14 * value);
        assert!(complexity_term > 0.0 && value > risk, "{}", bound.name());
        assert_eq!(sampling_term > 0.0, evidence.is_sampled(), "{}", bound.name());
    });
}

/// `steps` make the evidence worse one after the other.
fn rises<'a>(bound: &AnyBound, what: &str, steps: impl IntoIterator<Item = Evidence<'a>>) {
    let values: Vec<f64> =
        steps.into_iter().map(|evidence| certify(bound, &evidence).bound).collect();
    assert!(
        values.is_sorted_by(|left, right| *right >= left - 1e-12),
        "{}, {what}: {values:?}",
        bound.name()
    );
    assert!(values[values.len() - 1] > values[0], "{}, {what}: {values:?}", bound.name());
}

#[test]
fn more_to_pay_for_never_lowers_the_bound() {
    market(|bound, evidence| {
        let name = bound.name();
        if name != "test-set" {
            let lengths = [0, 1, 7, 40, 100].map(Bits::whole);
            rises(bound, "K", lengths.map(|code_length| Evidence { code_length, ..evidence }));
        }
        let deltas = [0.4, 0.1, 0.05, 1e-3, 1e-9].map(delta);
        let worse = deltas.map(|training_failure| Evidence { training_failure, ..evidence });
        rises(bound, "delta1", worse);
        if evidence.is_sampled() {
            let worse = deltas.map(|sample_failure| Evidence { sample_failure, ..evidence });
            rises(bound, "delta2", worse);
        }
        if name != "parity" {
            let lengths = [0, 1, 4, 20].map(Bits::whole);
            rises(bound, "L", lengths.map(|alpha_bits| Evidence { alpha_bits, ..evidence }));
            if evidence.is_sampled() || name == "test-set" {
                let counts = [1, 2, 1_000].map(|count| NonZeroU64::new(count).unwrap());
                rises(bound, "M", counts.map(|models| Evidence { models, ..evidence }));
            }
        }
    });
}

#[test]
fn fewer_units_never_lower_the_bound() {
    market(|bound, evidence| {
        let code_length = Bits::whole(if bound.name() == "test-set" { 0 } else { 100 });
        let evidence = Evidence { code_length, ..evidence };
        if evidence.is_sampled() {
            let counts = [1_000_000, 100_000, 10_000, 1_000].map(|m| NonZeroU64::new(m).unwrap());
            rises(bound, "m", counts.map(|population| Evidence { population, ..evidence }));
        }
        let [values, predictable] =
            [evidence.values, evidence.predictable.unwrap()].map(|once| once.repeat(16));
        rises(
            bound,
            "n",
            [16, 4, 1].map(|times| {
                let n = times * evidence.values.len();
                let population = match evidence.sampling {
                    Sampling::Full => NonZeroU64::new(n as u64).unwrap(),
                    Sampling::Uniform | Sampling::Blocks(_) => evidence.population,
                };
                let (values, predictable) = (&values[..n], Some(&predictable[..n]));
                Evidence { population, values, predictable, ..evidence }
            }),
        );
    });
}

#[test]
fn evidence_that_is_not_consistent_is_refused() {
    market(|bound, evidence| {
        let refused = |evidence: Evidence<'_>| match bound.as_dyn().certify(&evidence) {
            Err(error) => error,
            Ok(certified) => panic!("{} certified {certified:?}", bound.name()),
        };
        let (low, high) = (evidence.range.low(), evidence.range.high());
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, low - 1e-9, high + 1e-9] {
            let mut values = evidence.values.to_vec();
            values[17] = wrong;
            let error = refused(Evidence { values: &values, ..evidence });
            assert!(matches!(error, BoundError::Value { what: "unit", index: 17, .. }), "{error}");
        }
        let error = refused(Evidence { values: &[], ..evidence });
        assert_eq!(error, BoundError::TooFew { found: 0, needed: 1 });
        if evidence.sampling == Sampling::Full {
            let population = NonZeroU64::new(401).unwrap();
            let error = refused(Evidence { population, ..evidence });
            let what = "scored units";
            assert_eq!(error, BoundError::Count { what, found: 400, expected: 401 });
        }
        let metric = TOP_1;
        let error =
            refused(Evidence { metric, range: LossRange::new(-1.0, 9.0).unwrap(), ..evidence });
        assert_eq!(error, BoundError::TopKRange { low: -1.0, high: 9.0 });
    });
}

#[test]
fn a_bound_is_refused_where_it_is_not_proven() {
    let values = [0.0, 1.0];
    for bound in AnyBound::all() {
        for unit in [Unit::Document, Unit::Token] {
            for metric in [Metric::BitsPerToken, TOP_1] {
                if !bound.as_dyn().applies_to(unit, metric) {
                    let evidence = Evidence { unit, metric, ..evidence(&values) };
                    let error = BoundError::DoesNotApply { unit, metric };
                    assert_eq!(bound.as_dyn().certify(&evidence), Err(error));
                }
            }
        }
    }
}

#[test]
fn a_code_beyond_all_measure_gives_an_error_or_a_finite_bound() {
    market(|bound, evidence| {
        let code_length = Bits::new(f64::MAX).unwrap();
        if let Ok(certified) = bound.as_dyn().certify(&Evidence { code_length, ..evidence }) {
            assert!(certified.bound.is_finite(), "{}: {certified:?}", bound.name());
        }
    });
}

#[test]
fn extreme_risks_have_a_bound() {
    market(|bound, evidence| {
        for extreme in [evidence.range.low(), evidence.range.high()] {
            let values = [extreme; 400];
            let evidence = Evidence { values: &values, ..evidence };
            let certified = certify(bound, &evidence);
            assert!(certified.bound >= extreme && certified.bound.is_finite(), "{}", bound.name());
        }
    });
}

/// One is never above the other on the same evidence, up to rounding.
#[test]
fn the_tighter_inequality_is_the_tighter_bound() {
    let named = |name| AnyBound::all().into_iter().find(|bound| bound.name() == name).unwrap();
    for (tight, loose) in [
        ("kl-inverse", "strict"),
        ("kl-inverse", "mcallester"),
        ("kl-inverse", "thiemann"),
        ("kl-inverse", "catoni"),
        ("kl-inverse", "catoni-union"),
        ("clopper-pearson", "kl-inverse"),
    ] {
        let (tight, loose) = (named(tight), named(loose));
        market(|bound, evidence| {
            if *bound == tight && loose.as_dyn().applies_to(evidence.unit, evidence.metric) {
                for code in [0, 50, 500] {
                    let evidence = Evidence { code_length: Bits::whole(code), ..evidence };
                    let [below, above] = [&tight, &loose].map(|it| certify(it, &evidence).bound);
                    assert!(below <= above + 1e-12, "{below} {above}: {}", loose.name());
                }
            }
        });
    }
}

#[test]
fn every_bound_is_read_by_name() {
    for (bound, name) in AnyBound::all().into_iter().zip(AnyBound::NAMES) {
        assert_eq!(toml::from_str::<AnyBound>(&format!("kind = \"{name}\"")).unwrap(), bound);
        assert!(toml::from_str::<AnyBound>(&format!("kind = \"{name}\"\nbogus = 1")).is_err());
        assert!(!bound.about().is_empty());
    }
}
