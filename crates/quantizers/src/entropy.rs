//! Ideal code lengths of a histogram, to hold measured ones against. Never a claim by themselves.
//!
//! # Definition
//! For counts $c_k$ of $L$ symbols, $d = \sum_k c_k$,
//! $$ dH = \sum_k c_k \log_2 \frac{d}{c_k}, \qquad
//!    \mathrm{KT} = -\log_2 \frac{\Gamma(L/2)}{\Gamma(d + L/2)}
//!                  \prod_k \frac{\Gamma(c_k + 1/2)}{\Gamma(1/2)} . $$

/// The empirical entropy of all symbols together, $dH$, in bits. `counts` is `[levels]`.
pub fn entropy_bits(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| count as f64 * (total / count as f64).log2())
        .sum()
}

/// The length under the Krichevsky–Trofimov mixture, in bits. `counts` is `[levels]`.
pub fn krichevsky_trofimov_bits(counts: &[u64]) -> f64 {
    // Γ(x + n) / Γ(x) = x (x + 1) ... (x + n - 1)
    let rising = |x: f64, n: u64| (0..n).map(|j| (x + j as f64).log2()).sum::<f64>();
    let numerator: f64 = counts.iter().map(|&count| rising(0.5, count)).sum();
    rising(counts.len() as f64 / 2.0, counts.iter().sum()) - numerator
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) {
        assert!((actual / expected - 1.0).abs() < 1e-10, "{actual}, expected {expected}");
    }

    #[test]
    fn eleven_levels_of_4096_coefficients() {
        let counts = [1, 27, 137, 466, 869, 1087, 876, 445, 144, 40, 4];
        close(entropy_bits(&counts) / 4096.0, 2.622_459_987_324_697);
        close(entropy_bits(&counts), 10_741.596_108_08);
        close(krichevsky_trofimov_bits(&counts), 10_791.793_646);
    }

    #[test]
    fn small_counts_by_hand() {
        close(krichevsky_trofimov_bits(&[1, 1]), 3.0); // 1/2 · 1/4 = 2^-3
        close(krichevsky_trofimov_bits(&[4, 0]), 1.870_716_983_1); // 1/2 · 3/4 · 5/6 · 7/8 = 35/128
        close(krichevsky_trofimov_bits(&[2, 2]), 5.415_037_499_3); // 3/8 · 1/6 · 3/8 = 3/128
        close(krichevsky_trofimov_bits(&[10, 0, 0]), 4.392_317_422_8);
        assert!(entropy_bits(&[7, 0]).abs() < 1e-12);
        close(entropy_bits(&[3, 3]), 6.0);
    }
}
