//! Exact limit of a binomial proportion.
//!
//! # Definition
//! For $k$ wrong among $m$ units that are right or wrong,
//! $$ R \le \mathrm{cp}(k, m, c) = \sup \{ q : P(\mathrm{Bin}(m, q) \le k) \ge e^{-c} \}, \quad
//!    c = (K + L_\alpha) \ln 2 + \ln (1/\delta_1), $$
//! the $(1 - e^{-c})$ quantile of $\mathrm{Beta}(k + 1, m - k)$; 1 for $k = m$. With a subsample,
//! $k = \lfloor m \, \mathrm{cp}(k', n, c') \rfloor$ for $k'$ wrong among $n$,
//! $c' = L_\alpha \ln 2 + \ln (M/\delta_2)$.
//!
//! # Validity
//! For independent *binary* units only. Averages, as the top-k error of a document of several tokens,
//! are refused, and so are tokens, which are not independent. Sample event: the draws are binary with
//! the training risk as their mean; the number wrong in training is an integer, so the product with the
//! limit may be rounded down.
//!
//! # Reference
//! C. Clopper and E. Pearson, *The use of confidence or fiducial limits illustrated in the case of the
//! binomial*, Biometrika 26, 1934. Probability of the last term: C. Loader, *Fast and accurate
//! computation of binomial probabilities*, 2000. Computed in the log domain, because $e^{-c}$ underflows
//! at a thousand bits of code.

use std::f64::consts::{LN_2, TAU};

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::kl_inverse::kl;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// The binomial tail for documents that are right or wrong, solved for the risk.
///
/// ```toml
/// [bound]
/// kind = "clopper-pearson"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClopperPearson {}

impl Bound for ClopperPearson {
    fn applies_to(&self, unit: Unit, metric: Metric) -> bool {
        unit == Unit::Document && matches!(metric, Metric::TopKError { .. })
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let values = evidence.values;
        if let Some(index) = values.iter().position(|value| ![0.0, 1.0].contains(value)) {
            return Err(BoundError::NotBinary { index, value: values[index] });
        }
        let wrong = values.iter().sum::<f64>();
        let (m, n) = (evidence.m(), evidence.n());
        let scored = wrong * (m / n); // not an integer if m is no multiple of n
        let training = if evidence.is_sampled() {
            m * upper_limit(wrong, n, evidence.sample_nats())
        } else {
            wrong
        };
        let c = evidence.training_nats();
        let [unsampled, bound] =
            [scored, training].map(|training| upper_limit(training.floor(), m, c));
        Certified::new(risk, unsampled, bound)
    }
}

/// $\mathrm{cp}(k, n, c)$ for integers $0 \le k \le n$, $n \ge 1$, from above; $c$ below $\ln 2$ counts as
/// $\ln 2$.
pub(crate) fn upper_limit(k: f64, n: f64, c: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    let c = c.max(LN_2); // then the limit is at least k/n, the median, and the terms below decrease
    let p = k / n;
    let (mut low, mut high) = (0.0, 1.0 - p);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return (p + high).min(1.0);
        }
        if ln_tail(k, n, middle) >= -c {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// Terms of the tail that are summed one by one: enough for $10^{10}$ units.
const MOST_TERMS: u32 = 1 << 20;

/// $\ln P(\mathrm{Bin}(n, k/n + d) \le k)$ for $0 \le k < n$, $0 < d < 1 - k/n$.
fn ln_tail(k: f64, n: f64, d: f64) -> f64 {
    let q = k / n + d;
    let odds = (n - k - n * d) / (n * q); // (1 - q)/q
    let (mut sum, mut term, mut wrong) = (1.0, 1.0, k);
    for _ in 0..MOST_TERMS {
        let ratio = wrong / (n - wrong + 1.0) * odds;
        term *= ratio;
        sum += term;
        wrong -= 1.0;
        if term <= 1e-18 * sum {
            return ln_term(k, n, d) + f64::ln(sum);
        }
    }
    // The ratios decrease: a geometric series is an upper limit of the rest.
    let ratio = wrong / (n - wrong + 1.0) * odds;
    ln_term(k, n, d) + f64::ln(sum + term * ratio / (1.0 - ratio))
}

/// $\ln P(\mathrm{Bin}(n, k/n + d) = k)$ for $0 \le k < n$.
fn ln_term(k: f64, n: f64, d: f64) -> f64 {
    let divergence = -n * kl(k / n, d);
    if k == 0.0 {
        return divergence;
    }
    let stirling = stirling_error(n) - stirling_error(k) - stirling_error(n - k);
    divergence + stirling + 0.5 * (n / (TAU * k * (n - k))).ln()
}

/// $\ln n! - \ln \bigl( \sqrt{2 \pi n} (n/e)^n \bigr)$ for $n \ge 1$.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return ln_gamma(n + 1.0) - (n + 0.5) * n.ln() + n - 0.5 * TAU.ln();
    }
    let inverse = (n * n).recip();
    let series = [1.0 / 1_260.0, 1.0 / 1_680.0, 1.0 / 1_188.0];
    let [third, fourth, fifth] = series;
    (1.0 / 12.0
        - (1.0 / 360.0 - (third - (fourth - fifth * inverse) * inverse) * inverse) * inverse)
        / n
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use statrs::function::beta::beta_reg;

    use super::*;
    use crate::testing::{assert_close, evidence};

    #[test]
    fn limits_of_the_reference() {
        for (k, n, delta, expected) in [
            (0.0, 100.0, 0.05, 0.029_513_049_6), // 1 - .05^(1/100)
            (5.0, 100.0, 0.05, 0.102_253_377_6),
            (9_154.0, 10_000.0, 0.025, 0.920_782_743_0),
        ] {
            assert_close(upper_limit(k, n, -f64::ln(delta)), expected, 1e-9);
        }
    }

    #[test]
    fn the_tail_is_the_regularised_incomplete_beta_function() {
        for (k, n, q) in [
            (0.0, 1.0, 0.5),
            (1.0, 2.0, 0.9),
            (3.0, 20.0, 0.4),
            (40.0, 50.0, 0.95),
            (15.0, 400.0, 0.1),
        ] {
            let tail = beta_reg(n - k, k + 1.0, 1.0 - q);
            assert_close(ln_tail(k, n, q - k / n).exp(), tail, 1e-11);
        }
    }

    #[test]
    fn limits_of_large_samples() {
        assert_eq!(upper_limit(7.0, 7.0, 3.0), 1.0);
        // No error among n: 1 - e^(-c/n).
        assert_close(upper_limit(0.0, 1e7, 3.0), -(-3e-7_f64).exp_m1(), 1e-12);
        // Ten million units: the normal limit p + 1.959964 sd + (1 - p + 2 (1 - 2p) z^2/6 ...)/n.
        let limit = upper_limit(3e6, 1e7, -f64::ln(0.025));
        let normal = 0.3 + 1.959_964 * (0.21_f64 / 1e7).sqrt();
        assert!((limit - normal).abs() < 1e-6 && limit > normal, "{limit} {normal}");
        // 131 106 bits: e^-c underflows, the limit does not. It is close to Chernoff's, and below.
        let c = 131_106.0 * LN_2;
        let chernoff = crate::kl_inverse::kl_inverse(0.9, c / 8e6);
        let limit = upper_limit(7.2e6, 8e6, c);
        assert!(limit < chernoff && limit > chernoff - 1e-5, "{limit} {chernoff}");
    }

    #[test]
    fn averages_are_refused() {
        let metric = Metric::TopKError { k: NonZeroU32::MIN };
        let evidence = Evidence { metric, ..evidence(&[1.0, 0.0, 0.5]) };
        let error = BoundError::NotBinary { index: 2, value: 0.5 };
        assert_eq!(ClopperPearson {}.certify(&evidence), Err(error));
    }
}
