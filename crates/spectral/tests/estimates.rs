//! Estimators, likelihood ratios and bootstrap beside SciPy's, on `fixtures/weights.safetensors`.
//!
//! Regenerate with `uv run scripts/generate_spectral_estimates.py` (numpy 2.4.6, scipy 1.17.1), which
//! shares nothing with the crate: SVD, simplex, adaptive quadrature, its own random numbers.
//!
//! Tolerances: 1e-9 relative for what has a closed form; 1e-4 for maximised parameters, whose likelihood
//! is flat, 1e-6 for the likelihood itself and 1e-4 for ratios; for two bootstraps of 2,000 replicates
//! 8 % of the interval at its ends and .04 for p, about three standard errors of their differences.

use counter_rng::Key;
use safetensors::SafeTensors;
use serde_json::Value;
use spectral::{
    Alternative, Bootstrap, Farms, Hill, KsFit, KsScratch, NEVER, Route, Spectrum, TailEstimator,
    TruncatedPowerLaw, Weights,
};

const WEIGHTS: &[u8] = include_bytes!("fixtures/weights.safetensors");
const ESTIMATES: &str = include_str!("fixtures/estimates.json");

/// Runs `test` with the name of each case, its values, shape and row.
fn each(test: impl Fn(&str, &[f32], [usize; 2], &Value)) {
    let tensors = SafeTensors::deserialize(WEIGHTS).unwrap();
    let rows: Value = serde_json::from_str(ESTIMATES).unwrap();
    for (name, row) in rows.as_object().unwrap() {
        let view = tensors.tensor(name).unwrap();
        let [rows, cols] = *view.shape() else { panic!("{name} is no matrix") };
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        test(name, &values, [rows, cols], row);
    }
}

fn eigenvalues(values: &[f32], shape: [usize; 2]) -> Vec<f64> {
    Spectrum::from_matrix(values, shape, Route::Gram).unwrap().eigenvalues().to_vec()
}

#[track_caller]
fn close(found: f64, expected: &Value, relative: f64, absolute: f64) {
    let expected = expected.as_f64().unwrap();
    let tolerance = relative * expected.abs() + absolute;
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn exponents_in_closed_form() {
    each(|_, values, shape, row| {
        let sorted = eigenvalues(values, shape);
        close(Hill::default().alpha(&sorted).unwrap(), &row["hill"], 1e-9, 0.0);
        let weights = Weights::matrix(values, shape).unwrap();
        let windows = Farms { rows: 16, ..Farms::default() }.spectra(&weights).unwrap();
        close(windows.alpha(&Hill::default()).unwrap(), &row["farms_16"], 1e-9, 0.0);
        let fit = KsFit::default().select(&sorted, &mut KsScratch::default()).unwrap();
        close(fit.alpha, &row["power_law"]["alpha"], 1e-9, 0.0);
        close(fit.distance, &row["power_law"]["distance"], 1e-9, 0.0);
        assert_eq!(fit.tail as u64, row["power_law"]["tail"]);
    });
}

#[test]
fn truncated_power_laws() {
    each(|name, values, shape, row| {
        let fit = TruncatedPowerLaw::of_tail(&eigenvalues(values, shape)).unwrap();
        let row = &row["truncated"];
        close(fit.alpha, &row["alpha"], 1e-4, 0.0);
        close(fit.lambda, &row["lambda"], 1e-4, 1e-12);
        close(fit.negative_log_likelihood, &row["negative_log_likelihood"], 1e-6, 0.0);
        if name == "pareto_120x80" {
            assert!(fit.lambda <= 0.0, "heavier than a power law: {fit:?}");
        }
    });
}

#[test]
fn likelihood_ratios() {
    each(|name, values, shape, row| {
        let sorted = eigenvalues(values, shape);
        let fit = KsFit::default().select(&sorted, &mut KsScratch::default()).unwrap();
        let exponential = Alternative::Exponential.compare(&fit, &sorted).unwrap();
        close(exponential.ratio, &row["exponential"][0], 1e-9, 0.0);
        close(exponential.p, &row["exponential"][1], 1e-9, 0.0);
        let lognormal = Alternative::LogNormal.compare(&fit, &sorted).unwrap();
        close(lognormal.ratio, &row["lognormal"][0], 1e-4, 1e-4);
        if name == "pareto_120x80" {
            // SciPy wanders off towards the power law; we are there.
            assert!(lognormal.ratio.abs() <= 0.0 && lognormal.p >= 1.0, "{lognormal:?}");
        } else {
            close(lognormal.p, &row["lognormal"][1], 1e-4, 0.0);
        }
    });
}

#[test]
fn bootstrap_intervals() {
    let bootstrap = Bootstrap { replicates: 2_000, ..Bootstrap::default() };
    each(|_, values, shape, row| {
        let sorted = eigenvalues(values, shape);
        let settings = KsFit::default();
        let fit = settings.select(&sorted, &mut KsScratch::default()).unwrap();
        let found =
            bootstrap.run(&fit, &settings, &sorted, Key::from_seed(23), NEVER).unwrap().unwrap();
        let row = &row["bootstrap"];
        let width = found.alpha.upper - found.alpha.lower;
        close(found.alpha.lower, &row["lower"], 0.0, 0.08 * width);
        close(found.alpha.upper, &row["upper"], 0.0, 0.08 * width);
        close(found.p, &row["p"], 0.0, 0.04);
        assert_eq!(found.failed, 0);
    });
}
