//! Tests of paired differences: is the mean of what the same seeds gave in two modes zero?
//!
//! # Definition
//! Of differences $x_1 \dots x_n$ with mean $\bar x$ and standard deviation $s$, Student's test compares
//! $t = \bar x \sqrt n / s$ with its distribution at $n - 1$ degrees of freedom; it takes the differences
//! for normal. The sign-flip test takes them for symmetric about zero only: its $p$ is the share of the
//! $2^n$ choices of signs for which $\lvert \sum_i \pm x_i \rvert$ is at least $\lvert \sum_i x_i \rvert$.
//! The choice with all signs as they are and the one with all turned round are always among them, so it
//! is never below $2^{1 - n}$. Both are two-sided.
//!
//! Holm's adjustment of $m$ values, $p_{(1)} \le \dots \le p_{(m)}$, is
//! $\max_{j \le i} \min(1, (m - j + 1) p_{(j)})$: those below a level are all false with a probability of
//! at most this level, however the tests depend on one another.
//!
//! # Reference
//! R. A. Fisher, *The Design of Experiments*, 1935, section 21. S. Holm, *A Simple Sequentially Rejective
//! Multiple Test Procedure*, Scandinavian Journal of Statistics 6, 1979. Values of `scipy.stats`.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::sweep::Spread;

/// Differences above which the choices of signs are too many to look at each.
const MOST_FLIPS: usize = 20;

/// What is known of the mean of paired differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Paired {
    /// Differences, at least two.
    pub(crate) count: usize,
    /// Their mean.
    pub(crate) mean: f64,
    /// Student's test; none if the differences are all the same.
    pub(crate) student: Option<Student>,
    /// The sign-flip test; none of more than 20 differences.
    pub(crate) sign_flip: Option<f64>,
}

/// Student's test of a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Student {
    /// The statistic.
    pub(crate) t: f64,
    /// Degrees of freedom.
    pub(crate) freedom: usize,
    /// Two-sided.
    pub(crate) p: f64,
    /// What holds the mean with a confidence of 95 %.
    pub(crate) interval: (f64, f64),
}

impl Paired {
    /// Of `differences`; none of fewer than two.
    pub(crate) fn of(differences: &[f64]) -> Option<Self> {
        let Spread { mean, deviation } = Spread::of(differences)?;
        let deviation = deviation?;
        Some(Self {
            count: differences.len(),
            mean,
            student: student(mean, deviation, differences.len()),
            sign_flip: sign_flip(differences),
        })
    }

    /// The least that the sign-flip test can come to.
    pub(crate) fn least_sign_flip(count: usize) -> f64 {
        0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX) - 1)
    }
}

fn student(mean: f64, deviation: f64, count: usize) -> Option<Student> {
    let freedom = count - 1;
    let error = deviation / (count as f64).sqrt();
    if deviation.is_nan() || deviation <= 1e-12 * mean.abs() {
        return None; // equal but for rounding
    }
    let distribution = StudentsT::new(0.0, 1.0, freedom as f64).ok()?;
    let t = mean / error;
    let p = 2.0 * distribution.cdf(-t.abs());
    let reach = error * distribution.inverse_cdf(0.975);
    Some(Student { t, freedom, p, interval: (mean - reach, mean + reach) })
}

fn sign_flip(differences: &[f64]) -> Option<f64> {
    let count = differences.len();
    if count > MOST_FLIPS {
        return None;
    }
    // Sums in another order differ in their last digits.
    let size: f64 = differences.iter().map(|it| it.abs()).sum();
    let observed = differences.iter().sum::<f64>().abs() - 1e-12 * size;
    let is_extreme = |signs: &u32| {
        let signed = differences.iter().enumerate();
        let sum: f64 = signed.map(|(i, it)| if signs >> i & 1 == 1 { -it } else { *it }).sum();
        sum.abs() >= observed
    };
    let all = 1_u32 << count;
    Some((0..all).filter(is_extreme).count() as f64 / f64::from(all))
}

/// Holm's adjustment of the values that are there.
pub(crate) fn holm(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(place, it)| Some((place, (*it)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut adjusted = vec![None; values.len()];
    let (count, mut largest) = (order.len(), 0.0_f64);
    for (rank, (place, value)) in order.into_iter().enumerate() {
        largest = largest.max((value * (count - rank) as f64).min(1.0));
        adjusted[place] = Some(largest);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} {expected}");
    }

    // from scipy import stats
    // for x in ([-0.11, -0.05, -0.08], [0.3, -0.1, 0.2, 0.5, 0.1]):
    //     r = stats.ttest_1samp(x, 0); print(r.statistic, r.pvalue, r.confidence_interval())
    //     print(stats.permutation_test((x,), sum, permutation_type="samples", n_resamples=10**6).pvalue)
    #[test]
    fn both_tests_are_those_of_scipy() {
        let three = Paired::of(&[-0.11, -0.05, -0.08]).unwrap();
        let student = three.student.unwrap();
        close(student.t, -4.618_802_153_517_006);
        assert_eq!((three.count, student.freedom), (3, 2));
        close(student.p, 0.043_817_112_532_485_09);
        close(student.interval.0, -0.154_524_131_352_509_92);
        close(student.interval.1, -0.005_475_868_647_490_098);
        close(three.sign_flip.unwrap(), 0.25); // two of the eight: the least there can be
        close(Paired::least_sign_flip(3), 0.25);

        let five = Paired::of(&[0.3, -0.1, 0.2, 0.5, 0.1]).unwrap();
        let student = five.student.unwrap();
        close(student.t, 2.0);
        close(student.p, 0.116_116_523_516_815_56);
        close(student.interval.0, -0.077_644_510_519_779_33);
        close(student.interval.1, 0.477_644_510_519_779_35);
        // The sum is 1.0 of at most 1.2. As large are those with no minus, with one at 0.1, and ours,
        // and their opposites.
        close(five.sign_flip.unwrap(), 6.0 / 32.0);
    }

    #[test]
    fn what_cannot_be_tested_is_not() {
        assert_eq!(Paired::of(&[]), None);
        assert_eq!(Paired::of(&[0.2]), None);
        let equal = Paired::of(&[0.1 + 0.2, 0.3, 0.3]).unwrap();
        assert_eq!((equal.student, equal.sign_flip), (None, Some(0.25)));
        let none = Paired::of(&[0.0, 0.0]).unwrap();
        assert_eq!((none.mean, none.student, none.sign_flip), (0.0, None, Some(1.0)));
        let many = Paired::of(&[1.0; 21]).unwrap();
        assert_eq!(many.sign_flip, None);
        let differing: Vec<f64> = (0..21).map(f64::from).collect();
        assert!(Paired::of(&differing).unwrap().student.unwrap().p < 1e-6);
    }

    // statsmodels.stats.multitest.multipletests([0.01, 0.04, 0.03, 0.005], method="holm")[1]
    #[test]
    fn holm_by_hand() {
        let values = [Some(0.01), Some(0.04), None, Some(0.03), Some(0.005)];
        // 4 * 0.005, 3 * 0.01, 2 * 0.03, and 0.04, which is not below the one before.
        let expected = [Some(0.03), Some(0.06), None, Some(0.06), Some(0.02)];
        assert_eq!(holm(&values), expected);
        assert_eq!(holm(&[Some(0.6), Some(0.7)]), [Some(1.0), Some(1.0)]);
        assert_eq!(holm(&[]), []);
    }
}
