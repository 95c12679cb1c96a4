//! How far a spectrum moved, in decades.
//!
//! # Definition
//! The Wasserstein-1 distance of the two sets of $\log_{10} \lambda$,
//! $$ W_1 = \int_0^1 \bigl| F^{-1}(u) - G^{-1}(u) \bigr| \, du, $$
//! with $F^{-1}$, $G^{-1}$ their empirical quantile functions: for equal counts the mean of
//! $|\log_{10} \lambda_i - \log_{10} \lambda'_i|$ over the sorted values.
//!
//! # Deviations
//! Eigenvalues at or below $10^{-10} \lambda_{\max}$ of their own spectrum have no logarithm worth the
//! name; they are left out on either side, and the rank beside it says how many there were.

/// $W_1$ of $\log_{10}$ of two ascending spectra. None if one of them has no positive eigenvalue.
pub fn log_wasserstein(before: &[f64], after: &[f64]) -> Option<f64> {
    let (a, b) = (logarithms(before)?, logarithms(after)?);
    let (mut i, mut j, mut level, mut distance) = (0, 0, 0.0, 0.0);
    while i < a.len() && j < b.len() {
        // Both quantile functions are constant up to the nearer of their next steps.
        let (end_a, end_b) = ((i + 1) as f64 / a.len() as f64, (j + 1) as f64 / b.len() as f64);
        let end = end_a.min(end_b);
        distance += (end - level) * (a[i] - b[j]).abs();
        level = end;
        i += usize::from(end_a <= end);
        j += usize::from(end_b <= end);
    }
    Some(distance)
}

fn logarithms(spectrum: &[f64]) -> Option<Vec<f64>> {
    let last = *spectrum.last()?;
    let usable = last > 0.0 && last.is_finite();
    let above = |value: &&f64| **value > last * 1e-10;
    usable.then(|| spectrum.iter().filter(above).map(|value| value.log10()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_spectrum_moves_by_its_decades() {
        let before = [1e-3, 1.0, 10.0, 100.0];
        let after = before.map(|value| 100.0 * value);
        let distance = log_wasserstein(&before, &after).unwrap();
        assert!((distance - 2.0).abs() < 1e-14, "{distance}");
        assert_eq!(log_wasserstein(&before, &before), Some(0.0));
    }

    #[test]
    fn unequal_counts_compare_quantiles() {
        // Quantiles 0 | 1 against 0 | 1 | 2: |0-0|/3 + |0-1|/6 + |1-1|/6 + |1-2|/3 = 1/6 + 1/3
        let distance = log_wasserstein(&[1.0, 10.0], &[0.0, 1.0, 10.0, 100.0]).unwrap();
        assert!((distance - 0.5).abs() < 1e-14, "{distance}");
    }

    #[test]
    fn nothing_positive_has_no_distance() {
        assert_eq!(log_wasserstein(&[0.0, 0.0], &[1.0]), None);
        assert_eq!(log_wasserstein(&[1.0], &[]), None);
    }
}
