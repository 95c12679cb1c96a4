//! What every estimator of the registry promises.

use counter_rng::Key;
use proptest::prelude::*;

use crate::{AnyEstimator, Bootstrap, FitFailure, KsFit, KsScratch, NEVER};

/// `len` draws of a Pareto distribution with density exponent `alpha` above 1, ascending.
fn pareto(key: &Key, len: usize, alpha: f64) -> Vec<f64> {
    let mut uniform = vec![0.0; len];
    key.fill_uniform(0, &mut uniform);
    let mut values: Vec<f64> =
        uniform.into_iter().map(|u| (1.0 - u).powf(-1.0 / (alpha - 1.0))).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[test]
fn spectra_without_an_exponent_say_why() {
    for estimator in AnyEstimator::all() {
        let alpha = |values: &[f64]| estimator.as_dyn().alpha(values);
        let name = estimator.name();
        assert_eq!(alpha(&[]), Err(FitFailure::AllZero), "{name}");
        assert_eq!(alpha(&[0.0; 40]), Err(FitFailure::AllZero), "{name}");
        assert_eq!(alpha(&[1.0, 2.0, 3.0]), Err(FitFailure::TooFew), "{name}");
        assert_eq!(alpha(&[1.0; 50]), Err(FitFailure::Tied), "{name}");
        assert_eq!(alpha(&[1.0, f64::NAN]), Err(FitFailure::NonFinite), "{name}");
        assert_eq!(alpha(&[1.0, f64::INFINITY]), Err(FitFailure::NonFinite), "{name}");
        let mut low_rank = vec![0.0; 80];
        low_rank.extend(pareto(&Key::from_seed(1), 40, 2.5));
        assert_eq!(alpha(&low_rank), Err(FitFailure::Degenerate), "{name}");
    }
}

#[test]
fn every_estimator_is_read_back_from_its_name() {
    for estimator in AnyEstimator::all() {
        let text = format!(r#"{{ "kind": "{}" }}"#, estimator.name());
        assert_eq!(serde_json::from_str::<AnyEstimator>(&text).unwrap(), estimator);
        let unknown = format!(r#"{{ "kind": "{}", "tial": 3 }}"#, estimator.name());
        assert!(serde_json::from_str::<AnyEstimator>(&unknown).is_err(), "{unknown}");
    }
}

#[test]
fn a_pareto_sample_gives_its_exponent() {
    // 20,000 draws: standard errors 1.5/sqrt(20 000) = .011 for the whole sample, .015 for Hill's half,
    // more for a search and for a second parameter.
    let values = pareto(&Key::from_seed(2), 20_000, 2.5);
    for estimator in AnyEstimator::all() {
        let alpha = estimator.as_dyn().alpha(&values).unwrap();
        assert!((alpha - 2.5).abs() < 0.1, "{}: {alpha}", estimator.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn scale_changes_nothing(seed in any::<u64>(), decades in -30_i32..30, alpha in 1.5_f64..8.0) {
        let values = pareto(&Key::from_seed(seed), 200, alpha);
        let scaled: Vec<f64> = values.iter().map(|x| x * 10_f64.powi(decades)).collect();
        for estimator in AnyEstimator::all() {
            let [a, b] = [&values, &scaled].map(|values| estimator.as_dyn().alpha(values));
            match (a, b) {
                (Ok(a), Ok(b)) => {
                    prop_assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{} {a} {b}", estimator.name());
                }
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }

    #[test]
    fn whatever_comes_is_answered(mut values in prop::collection::vec(any::<f64>(), 0..60)) {
        values.sort_unstable_by(f64::total_cmp);
        for estimator in AnyEstimator::all() {
            if let Ok(alpha) = estimator.as_dyn().alpha(&values) {
                prop_assert!(alpha.is_finite(), "{}", estimator.name());
            }
        }
    }
}

#[test]
fn the_bootstrap_covers_the_exponent() {
    // 200 samples of 200 draws, 95 % intervals of 100 replicates: 180 to 198 cover.
    let settings = KsFit::default();
    let bootstrap = Bootstrap { replicates: 100, ..Bootstrap::default() };
    let covered = (0..200).filter(|&sample| {
        let key = Key::from_seed(11).index(sample);
        let values = pareto(&key, 200, 2.5);
        // Also where the best tail is the smallest allowed, which a strict fit refuses.
        let fit = settings.select(&values, &mut KsScratch::default()).unwrap();
        let uncertainty = bootstrap
            .run(&fit, &settings, &values, key.derive("bootstrap"), NEVER)
            .unwrap()
            .unwrap();
        uncertainty.alpha.contains(2.5)
    });
    let covered = covered.count();
    assert!((180..=198).contains(&covered), "{covered} of 200");
}

#[test]
fn the_bootstrap_does_not_depend_on_the_threads() {
    let values = pareto(&Key::from_seed(3), 300, 3.0);
    let settings = KsFit::default();
    let fit = settings.fit(&values).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            Bootstrap::default().run(&fit, &settings, &values, Key::from_seed(4), NEVER)
        })
    };
    assert_eq!(run(1), run(3));
    let nothing = Bootstrap { replicates: 0, ..Bootstrap::default() };
    assert_eq!(
        nothing.run(&fit, &settings, &values, Key::from_seed(4), NEVER),
        Err(FitFailure::TooFew)
    );
    let other = Bootstrap::default().run(&fit, &settings, &values[250..], Key::from_seed(4), NEVER);
    assert_eq!(other, Err(FitFailure::TooFew));
}
