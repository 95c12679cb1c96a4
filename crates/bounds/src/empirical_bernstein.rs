//! Empirical Bernstein bound: the variance of the document losses in place of their range.
//!
//! # Definition
//! With $\hat V$ the unbiased variance of the $m$ document losses and
//! $\ell = (K + L_\alpha) \ln 2 + \ln (2/\delta_1)$,
//! $$ R \le \hat R + \sqrt{2 \hat V \ell / m} + \frac{7 \Delta \ell}{3 (m - 1)}. $$
//! With a subsample of variance $V_n$, and $\ell' = L_\alpha \ln 2 + \ln (2M/\delta_2)$ for each of two
//! events that share $\delta_2$,
//! $$ \hat R \le \hat R_n + \sqrt{2 V_n (\ell' + \ln 2) / n} + \frac{7 \Delta (\ell' + \ln 2)}{3 (n - 1)}, \quad
//!    \hat V \le \frac{m}{m - 1} \Bigl( \sqrt{V_n} + \Delta \sqrt{2 \ell' / (n - 1)} \Bigr)^2. $$
//!
//! # Validity
//! Training event: Maurer and Pontil's theorem 4 at level $\delta_1 2^{-(K + L_\alpha)}$. Sample event: draws
//! with replacement are independent, of mean $\hat R$ and variance $\frac{m - 1}{m} \hat V$; theorem 4 for
//! their mean, theorem 10 for their variance, each at $\delta_2 2^{-L_\alpha}/(2M)$. For independent units,
//! not for tokens. A loss in a range of width $\Delta$ has an unbiased variance of at most
//! $\frac{m}{m - 1} \Delta^2 / 4$; the limit is cut there.
//!
//! # Reference
//! A. Maurer and M. Pontil, *Empirical Bernstein bounds and sample variance penalization*, COLT 2009,
//! arXiv:0907.3740.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use crate::sums::mean_and_variance;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Maurer and Pontil's bound for documents.
///
/// ```toml
/// [bound]
/// kind = "empirical-bernstein"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmpiricalBernstein {}

impl Bound for EmpiricalBernstein {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        evidence.needs_variance()?;
        let (_, variance) = mean_and_variance(evidence.values);
        let (m, n, width) = (evidence.m(), evidence.n(), evidence.range.width());
        if m < 2.0 {
            return Err(BoundError::TooFew { found: 1, needed: 2 });
        }
        let nats = evidence.training_nats() + LN_2;
        let unsampled = risk + excess(variance, width, nats, m);
        if !evidence.is_sampled() {
            return Certified::new(risk, unsampled, unsampled);
        }
        let nats_each = evidence.sample_nats() + LN_2;
        let training_risk = risk + excess(variance, width, nats_each + LN_2, n);
        let training_variance = variance_limit(variance, width, nats_each, n, m);
        Certified::new(risk, unsampled, training_risk + excess(training_variance, width, nats, m))
    }
}

/// What the mean of `n` independent values in a range of `width` may lack of its expectation, or exceed
/// it by, at a level of $2 e^{-\mathtt{nats}}$: theorem 4, for $n \ge 2$.
pub(crate) fn excess(variance: f64, width: f64, nats: f64, n: f64) -> f64 {
    (2.0 * variance * nats / n).sqrt() + 7.0 * width * nats / (3.0 * (n - 1.0))
}

/// Upper limit of the unbiased variance of `m` values from that of `n` draws: theorem 10.
fn variance_limit(variance: f64, width: f64, nats: f64, n: f64, m: f64) -> f64 {
    let deviation = variance.sqrt() + width * (2.0 * nats / (n - 1.0)).sqrt();
    m / (m - 1.0) * deviation.min(0.5 * width).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Smoothing;
    use crate::testing::{assert_close, delta, evidence};

    #[test]
    fn values_of_the_reference() {
        let width = Smoothing::new(0.1, 50_257).unwrap().range().width();
        let m = 8_009_762.0;
        let nats = 131_106.0 * LN_2 + 40_f64.ln();
        assert_close(10.5 + excess(0.5, width, nats, m), 11.103_887_92, 1e-9);
        assert!((excess(0.25, width, nats, m) - 0.5727).abs() < 5e-5);
        assert!((excess(1.0, width, nats, m) - 0.6480).abs() < 5e-5);
        let nats = -f64::ln(0.0125);
        assert_close(variance_limit(0.5, width, nats, 1e4, m), 1.595_943_785_1, 1e-9);
        assert!((excess(0.5, width, 80_f64.ln(), 1e4) - 0.0401).abs() < 5e-5);
    }

    #[test]
    fn five_documents() {
        // Variance .095, ln(2/.05) = ln 40: .4 + sqrt(.19 ln 40 / 5) + 7 ln 40 / 12.
        let evidence =
            Evidence { training_failure: delta(0.05), ..evidence(&[0.1, 0.2, 0.4, 0.4, 0.9]) };
        let bound = EmpiricalBernstein {}.certify(&evidence).unwrap().bound;
        assert_close(bound, 2.926_249_098_298, 1e-12);
    }

    #[test]
    fn the_variance_limit_is_that_of_the_range() {
        // Half the losses at either end of a range of 2: 101/100 * 1.
        assert_close(variance_limit(0.7, 2.0, 1e3, 10.0, 101.0), 1.01, 1e-15);
    }

    #[test]
    fn one_document_has_no_variance() {
        let error = BoundError::TooFew { found: 1, needed: 2 };
        assert_eq!(EmpiricalBernstein {}.certify(&evidence(&[0.5])), Err(error));
    }
}
