//! How much an exponent would change by noise alone.
//!
//! # Definition
//! The noise floor of a change $W \to W'$ are the exponents $a_1, \dots, a_k$ of $W + E_i$, with $E_i$ Gaussian
//! and $\|E_i\| = \|W' - W\|$ exactly ([`Weights::with_noise`](crate::Weights::with_noise)). The exponent $a$ of $W'$ is compared with their mean $\bar a$ and
//! standard deviation $s$:
//! $$ z = \frac{a - \bar a}{s}, \qquad
//!    p = \frac{1 + \#\{ i : |a_i - \bar a| \ge |a - \bar a| \}}{k + 1}, \qquad
//!    p_t = P\Bigl( |T_{k-1}| \ge \tfrac{|z|}{\sqrt{1 + 1/k}} \Bigr). $$
//! A large $p$: the quantiser did no more to the spectrum than white noise of its size. The empirical $p$
//! is never below $1/(k+1)$, too coarse to survive a correction over $m$ layers unless $k \ge m/q$; $p_t$
//! is fine enough, if the exponents of the noise are near normal. Hill's are; those of
//! [`KsFit`](crate::KsFit) jump with the threshold.
//!
//! # Deviations
//! Student's prediction interval in place of a normal one: with 16 replicates their standard deviation
//! is itself uncertain, and a normal $p$ of .05 is really .08.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// An exponent beside the noise floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseTest {
    /// Mean exponent of the noisy replicates.
    pub mean: f64,
    /// Their standard deviation, with $k - 1$.
    pub standard_deviation: f64,
    /// How many there are.
    pub replicates: usize,
    /// Distance from the mean in standard deviations.
    pub z: f64,
    /// Two-sided p-value by counting, at least $1/(k+1)$.
    pub p: f64,
    /// Two-sided p-value by Student's distribution.
    pub p_student: f64,
}

impl NoiseTest {
    /// Compares `alpha` with the exponents of `replicates`. None for fewer than two of them, or a number
    /// that is not finite.
    pub fn of(alpha: f64, replicates: &[f64]) -> Option<Self> {
        let k = replicates.len() as f64;
        let student = StudentsT::new(0.0, 1.0, k - 1.0).ok()?;
        let mean = replicates.iter().sum::<f64>() / k;
        let squares: f64 = replicates.iter().map(|a| (a - mean) * (a - mean)).sum();
        let standard_deviation = (squares / (k - 1.0)).sqrt();
        let distance = alpha - mean;
        if !distance.is_finite() || !standard_deviation.is_finite() {
            return None;
        }
        let z = if distance == 0.0 { 0.0 } else { distance / standard_deviation };
        let farther = replicates.iter().filter(|&a| (a - mean).abs() >= distance.abs()).count();
        Some(Self {
            mean,
            standard_deviation,
            replicates: replicates.len(),
            z,
            p: (1 + farther) as f64 / (k + 1.0),
            p_student: 2.0 * student.cdf(-z.abs() / (1.0 + 1.0 / k).sqrt()),
        })
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Hill, Route, Spectrum, TailEstimator, Weights};

    #[test]
    fn four_replicates_by_hand() {
        // mean 2.5, squares 2.25 + .25 + .25 + 2.25 = 5, deviation sqrt(5/3); distance 1
        let test = NoiseTest::of(3.5, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((test.mean - 2.5).abs() < 1e-15);
        assert!((test.standard_deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((test.z - (3.0_f64 / 5.0).sqrt()).abs() < 1e-15);
        assert!((test.p - 0.6).abs() < 1e-15); // two of four as far: 3/5
        // t = sqrt(.6/1.25) = .69282 with 3 degrees of freedom. Closed form:
        // P(|T| > t) = 1 - 2/pi (theta + sin theta cos theta), theta = atan(t / sqrt 3)
        let theta = (0.48_f64.sqrt() / 3.0_f64.sqrt()).atan();
        let expected = 1.0 - 2.0 / std::f64::consts::PI * (theta + theta.sin() * theta.cos());
        assert!((test.p_student - expected).abs() < 1e-10, "{test:?} {expected}");
    }

    #[test]
    fn no_test_without_replicates_and_no_doubt_without_spread() {
        assert_eq!(NoiseTest::of(1.0, &[]), None);
        assert_eq!(NoiseTest::of(1.0, &[1.0]), None);
        assert_eq!(NoiseTest::of(f64::INFINITY, &[1.0, 2.0]), None);
        assert_eq!(NoiseTest::of(1.0, &[1.0, f64::NAN]), None);
        let same = NoiseTest::of(2.0, &[2.0, 2.0]).unwrap();
        assert_eq!((same.z, same.p, same.p_student), (0.0, 1.0, 1.0));
        let other = NoiseTest::of(3.0, &[2.0, 2.0]).unwrap();
        assert_eq!((other.z, other.p_student), (f64::INFINITY, 0.0));
    }

    #[test]
    fn white_noise_is_rejected_at_the_nominal_rate() {
        // 200 noisy matrices against 19 replicates each, level .1.
        let root = Key::from_seed(7);
        let mut values = vec![0.0; 32 * 24];
        root.derive("weights").fill_normal(0, &mut values);
        let weights = Weights::matrix(&values, [32, 24]).unwrap();
        let alpha = |key: &Key| {
            let noisy = weights.with_noise(8.0, key);
            let spectrum = Spectrum::from_weights(&noisy, Route::Gram).unwrap();
            Hill::default().alpha(spectrum.eigenvalues()).unwrap()
        };
        let (mut by_count, mut by_student) = (0, 0);
        for draw in 0..200 {
            let key = root.index(draw);
            let replicates: Vec<f64> =
                (0..19).map(|index| alpha(&key.derive("replicate").index(index))).collect();
            let test = NoiseTest::of(alpha(&key.derive("quantised")), &replicates).unwrap();
            by_count += i32::from(test.p <= 0.1);
            by_student += i32::from(test.p_student <= 0.1);
        }
        // Expected 20, standard deviation sqrt(200 .1 .9) = 4.2; the mean of the replicates alone, not
        // of all 20, adds a little to the count. Three standard deviations.
        assert!((8..=35).contains(&by_count), "{by_count}");
        assert!((8..=33).contains(&by_student), "{by_student}");
    }
}
