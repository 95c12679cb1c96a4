//! Norms of a spectrum, its rank and its entropy.
//!
//! # Definition
//! With eigenvalues $\lambda$ of $W^\top W$ and $\log = \log_{10}$: the norm is
//! $\sum \lambda = \|W\|_F^2$, the spectral norm $\lambda_{\max}$ (already a square), the stable rank
//! their ratio, `alpha_weighted` $\alpha \log \lambda_{\max}$, `log_alpha_norm`
//! $\log \sum \lambda^\alpha$, and the entropy that of $\lambda / \sum \lambda$ in units of the
//! logarithm of the rank.
//!
//! # Reference
//! C. H. Martin, T. Peng, M. W. Mahoney, *Predicting trends in the quality of state-of-the-art neural
//! networks without access to training or testing data*, Nature Communications 12 (2021).

/// $\sum \lambda$.
pub fn norm(eigenvalues: &[f64]) -> f64 {
    eigenvalues.iter().sum()
}

/// $\sum \lambda / \lambda_{\max}$; NaN if all are zero.
pub fn stable_rank(eigenvalues: &[f64]) -> f64 {
    norm(eigenvalues) / eigenvalues.iter().copied().fold(0.0, f64::max)
}

/// $\log_{10} \sum \lambda^\alpha$.
pub fn log_alpha_norm(eigenvalues: &[f64], alpha: f64) -> f64 {
    eigenvalues.iter().map(|x| x.powf(alpha)).sum::<f64>().log10()
}

/// How many of ascending `eigenvalues` exceed `threshold` of the largest; the threshold of singular
/// values is its root.
pub fn rank(eigenvalues: &[f64], threshold: f64) -> usize {
    let zero = eigenvalues.last().copied().unwrap_or(0.0) * threshold;
    eigenvalues.len() - eigenvalues.partition_point(|&x| x <= zero)
}

/// $-\sum p \ln p / \ln r$ for $p = \lambda/\sum\lambda$ and the rank $r$; none below rank 2.
pub fn entropy(eigenvalues: &[f64], rank: usize) -> Option<f64> {
    let sum = norm(eigenvalues);
    let terms = eigenvalues.iter().map(|x| x / sum).filter(|&p| p > 0.0).map(|p| -p * p.ln());
    (rank > 1).then(|| terms.sum::<f64>() / (rank as f64).ln())
}

/// WeightWatcher's entropy, which adds $10^{-10}$ to every $p$ and to the rank, and may exceed 1.
pub(crate) fn shifted_entropy(eigenvalues: &[f64], rank: usize) -> f64 {
    const SHIFT: f64 = 1e-10;
    let sum = norm(eigenvalues);
    let terms = eigenvalues.iter().map(|x| x / sum + SHIFT).map(|p| -p * p.ln());
    terms.sum::<f64>() / (rank as f64 + SHIFT).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_one_two_by_hand() {
        let eigenvalues = [1.0, 1.0, 2.0];
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        close(norm(&eigenvalues), 4.0);
        close(stable_rank(&eigenvalues), 2.0);
        close(log_alpha_norm(&eigenvalues, 3.0), 1.0); // 1 + 1 + 8
        // p = 1/4, 1/4, 1/2: ln 4 / 2 + ln 2 / 2 = 1.5 ln 2
        close(entropy(&eigenvalues, 3).unwrap(), 1.5 * 2.0_f64.ln() / 3.0_f64.ln());
        assert!(
            (shifted_entropy(&eigenvalues, 3) - entropy(&eigenvalues, 3).unwrap()).abs() < 1e-8
        );
    }

    #[test]
    fn the_rank_counts_what_exceeds_its_threshold() {
        let eigenvalues = [0.0, 1e-12, 1e-9, 1.0];
        assert_eq!([1e-13, 1e-10, 0.5].map(|threshold| rank(&eigenvalues, threshold)), [3, 2, 1]);
        assert_eq!((rank(&[], 0.1), rank(&[0.0, 0.0], 0.1)), (0, 0));
        assert_eq!((entropy(&[0.0, 1.0], 1), entropy(&[0.0, 0.0], 0)), (None, None));
    }
}
