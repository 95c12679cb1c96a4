use super::*;
use crate::ScheduleError;

/// Runs a test on curves by width, and checks the order of the probes.
fn run(test: &RangeTest, curve: impl Fn(u32) -> Vec<f64>) -> Verdict {
    let mut probe = test.start().unwrap();
    let mut probed = Vec::new();
    loop {
        probed.push(probe.bits());
        let bits = probe.bits();
        match probe.record(curve(bits)).unwrap() {
            RangeTestState::Probe(next) => probe = next,
            RangeTestState::Done(verdict) => {
                let order: Vec<u32> = verdict.evidence.iter().map(|it| it.bits).collect();
                assert_eq!(order, probed);
                assert!(test.probes().starts_with(&probed));
                return verdict;
            }
        }
    }
}

/// A straight line of 50 values that rises by `rise` in all.
fn line(rise: f64) -> Vec<f64> {
    (0..50).map(|i| 0.1 + rise * f64::from(i) / 49.0).collect()
}

/// Accuracies at 2 to 5 bits, for a schedule up to 5.
fn accuracy() -> RangeTest {
    RangeTest {
        widths: Widths::new(2..=5).unwrap(),
        criterion: Criterion::Accuracy { threshold: 0.01 },
        upper: Upper::Static { bits: 5 },
        ..RangeTest::default()
    }
}

/// Losses at 2 to 6 bits, up to where they are as good as full precision.
fn loss() -> RangeTest {
    RangeTest {
        widths: Widths::new(2..=6).unwrap(),
        upper: Upper::Plateau { fraction: 0.95 },
        ..RangeTest::default()
    }
}

#[test]
fn the_first_width_whose_accuracy_rises() {
    let gains = [0.0, 0.004, 0.02, 0.021];
    let verdict = run(&accuracy(), |bits| line(gains[bits as usize - 2]));
    assert_eq!(verdict.range, Ok(PrecisionRange { lower: 4, upper: 5, threshold: 0.01 }));
    for (evidence, gain) in verdict.evidence.iter().zip(gains) {
        let found = evidence.gain.unwrap();
        assert!((found.value - gain).abs() < 1e-14, "{evidence:?}");
        assert_eq!(evidence.curve, line(gain));
    }
}

#[test]
fn flat_curves_are_no_answer() {
    let verdict = run(&accuracy(), |_| line(0.0));
    let expected = Undecided::NoLower { highest: 5, threshold: 0.01 };
    assert_eq!(verdict.range, Err(expected));
    assert_eq!(
        expected.to_string(),
        "no width up to 5 bits has a gain of 0.01 and of two standard errors"
    );
    assert_eq!(verdict.evidence.len(), 4);
}

#[test]
fn losses_are_compared_with_full_precision() {
    // Nats in all; 32 bits lose 2, half of it is 1 and 95 % are 1.9.
    let falls = |bits| match bits {
        32 => 2.0,
        2 => -0.3, // rises
        3 => 0.9,
        4 => 1.2,
        5 => 1.95,
        _ => 1.99,
    };
    let verdict = run(&loss(), |bits| line(-falls(bits)));
    let range = verdict.range.unwrap();
    assert_eq!((range.lower, range.upper), (4, 5));
    assert!((range.threshold - 1.0 / 49.0).abs() < 1e-15); // nats per iteration
    let bits: Vec<u32> = verdict.evidence.iter().map(|it| it.bits).collect();
    assert_eq!(bits, [32, 2, 3, 4, 5, 6]);

    let short = RangeTest { upper: Upper::Static { bits: 4 }, ..loss() };
    let verdict = run(&short, |bits| line(-falls(bits)));
    assert_eq!(verdict.range.map(|range| (range.lower, range.upper)), Ok((4, 4)));
    assert_eq!(verdict.evidence.len(), 4); // 32, 2, 3, 4
}

#[test]
fn gains_without_a_plateau() {
    let verdict = run(&loss(), |bits| line(-f64::from(bits)));
    // 16 of 32 nats are out of reach for 6 bits.
    assert!(matches!(verdict.range, Err(Undecided::NoLower { highest: 6, .. })));
    // Of 9 nats, half are 4.5 and 95 % are 8.55.
    let verdict = run(&loss(), |bits| line(-f64::from(bits.min(9))));
    let Err(Undecided::NoPlateau { lower: 5, highest: 6, threshold }) = verdict.range else {
        panic!("{:?}", verdict.range);
    };
    assert!((threshold - 8.55 / 49.0).abs() < 1e-12);
}

#[test]
fn without_a_reference_no_other_width_is_probed() {
    for curve in [line(0.0), line(0.2), vec![5.0, 4.0, f64::NAN]] {
        let verdict = run(&loss(), |_| curve.clone());
        assert_eq!(verdict.range, Err(Undecided::NoReference { iterations: 50 }));
        assert_eq!(verdict.evidence.len(), 1);
    }
}

#[test]
fn noise_is_no_gain() {
    // A rise of 0.02 under an alternation of 0.1, in which a line sees another 0.012 by chance.
    let swings = [-0.1, 0.1].into_iter().cycle();
    let noisy: Vec<f64> = line(0.02).into_iter().zip(swings).map(|(y, swing)| y + swing).collect();
    let verdict = run(&accuracy(), |bits| if bits < 5 { noisy.clone() } else { line(0.02) });
    let gain = verdict.evidence[0].gain.unwrap();
    assert!(gain.value > 0.01 && !gain.is_positive(), "{gain:?}");
    assert_eq!(verdict.range.map(|range| range.lower), Ok(5));
}

#[test]
fn a_probe_that_diverges_qualifies_for_nothing() {
    let verdict = run(&accuracy(), |bits| match bits {
        2 => vec![0.1, f64::NAN], // stopped early
        3 => [line(0.5), vec![f64::INFINITY]].concat(),
        _ => line(0.02),
    });
    assert_eq!(verdict.range.map(|range| range.lower), Ok(4));
    assert_eq!([0, 1, 2].map(|i| verdict.evidence[i].gain.is_some()), [false, false, true]);
}

#[test]
fn the_level_of_a_loss_is_no_matter() {
    // sqrt(6) nats; half of them are less than sqrt(2), and 95 % are more than sqrt(5).
    for level in [0.0, 1024.0] {
        let curve = |bits: u32| line(-f64::from(bits.min(6)).sqrt());
        let verdict = run(&loss(), |bits| curve(bits).into_iter().map(|y| y + level).collect());
        assert_eq!(verdict.range.map(|range| (range.lower, range.upper)), Ok((2, 6)));
    }
}

#[test]
fn curves_of_another_length() {
    for found in [0, 49, 51] {
        let error = accuracy().start().unwrap().record(vec![0.5; found]).unwrap_err();
        assert_eq!(error, RangeTestError::Curve { bits: 2, found, expected: 50 });
    }
    let error = RangeTestError::Curve { bits: 2, found: 49, expected: 50 };
    assert_eq!(error.to_string(), "the curve of 2 bits has 49 values, expected 50");
}

#[test]
fn settings_that_make_no_test() {
    let error = |test: RangeTest| test.start().unwrap_err().to_string();
    assert_eq!(
        error(RangeTest { iterations: 2, ..loss() }),
        "`iterations` is 2, expected at least 3"
    );
    let widths = Widths::new([4, 32]).unwrap();
    assert_eq!(
        error(RangeTest { widths, ..loss() }),
        "`widths` has 32, expected widths below full precision"
    );
    let upper = Upper::Static { bits: 8 };
    let found = RangeTest { upper, ..accuracy() }.start().unwrap_err();
    assert!(matches!(found, RangeTestError::Schedule(ScheduleError::NotConfigured { .. })));
    assert_eq!(found.to_string(), "`upper.bits` is 8, expected one of `widths`, [2, 3, 4, 5]");
    for value in [0.0, -0.1, 1.1, f64::NAN] {
        let end = format!("` is {value}, expected above 0, at most 1");
        let criterion = Criterion::LossSlope { fraction: value };
        let found = error(RangeTest { criterion, ..loss() });
        assert_eq!(found, format!("`criterion.fraction{end}"));
        let criterion = Criterion::Accuracy { threshold: value };
        let found = error(RangeTest { criterion, ..loss() });
        assert_eq!(found, format!("`criterion.threshold{end}"));
        let upper = Upper::Plateau { fraction: value };
        let found = error(RangeTest { upper, ..loss() });
        assert_eq!(found, format!("`upper.fraction{end}"));
    }
}

#[test]
fn the_doc_has_a_configuration_that_parses() {
    let test: RangeTest = toml::from_str(&crate::conformance::snippet("range_test")).unwrap();
    assert_eq!(test, RangeTest::default());
    assert_eq!(toml::from_str(&toml::to_string(&test).unwrap()), Ok(test));
    let text = "upper = { kind = \"plateau\", fraction = 0.95 }\niterations = 20";
    let upper = Upper::Plateau { fraction: 0.95 };
    let expected = RangeTest { upper, iterations: 20, ..RangeTest::default() };
    assert_eq!(toml::from_str(text), Ok(expected));
    let error = toml::from_str::<RangeTest>("criterion = { kind = \"loss\" }").unwrap_err();
    assert!(error.message().contains("expected `loss-slope` or `accuracy`"), "{error}");
}
