//! Sums of many numbers without the error growing with their count, and the statistics made of them.

/// A running sum with a correction term (Neumaier 1974): its error does not grow with the count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    correction: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.correction += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    pub(crate) fn get(self) -> f64 {
        self.sum + self.correction
    }
}

pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.for_each(|value| sum.add(value));
    sum.get()
}

/// Mean of at least one value.
pub(crate) fn mean(values: &[f64]) -> f64 {
    sum(values.iter().copied()) / values.len() as f64
}

/// Mean and unbiased variance, $\sum (x_i - \bar x)^2 / (n - 1)$, of at least two values.
pub(crate) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = mean(values);
    let squares = sum(values.iter().map(|value| (value - mean).powi(2)));
    (mean, squares / (values.len() - 1) as f64)
}

/// Sum of the logarithms of `factors`, each in $[10^{-15}, 10^{15}]$: one logarithm for sixteen.
pub(crate) fn sum_of_logs(factors: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    let (mut product, mut count) = (1.0, 0);
    for factor in factors {
        product *= factor;
        count += 1;
        if count == 16 {
            sum.add(f64::ln(product));
            (product, count) = (1.0, 0);
        }
    }
    sum.add(f64::ln(product));
    sum.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sum_keeps_every_digit() {
        // A plain sum of ten million tenths is off by 1.6e-4.
        assert_eq!(sum(std::iter::repeat_n(0.1, 10_000_000)), 1e6);
        assert_eq!(sum([1e100, 1.0, -1e100].into_iter()), 1.0);
    }

    #[test]
    fn statistics_of_five_values() {
        let (mean, variance) = mean_and_variance(&[0.1, 0.2, 0.4, 0.4, 0.9]);
        assert!((mean - 0.4).abs() < 1e-15); // 2.0 / 5
        assert!((variance - 0.095).abs() < 1e-15); // (.09 + .04 + 0 + 0 + .25) / 4
    }

    #[test]
    fn logs_of_products_are_sums_of_logs() {
        let factors: Vec<f64> = (1..=100).map(|i| f64::from(i) / 100.0).collect();
        let expected: f64 = factors.iter().map(|factor| factor.ln()).sum();
        assert!((sum_of_logs(factors.iter().copied()) / expected - 1.0).abs() < 1e-14);
        let tiny = sum_of_logs([1e-15; 16].into_iter());
        assert!((tiny / (16.0 * 1e-15_f64.ln()) - 1.0).abs() < 1e-14);
    }
}
