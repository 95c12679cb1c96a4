//! Product ("betting") bound: small variance is used without being estimated.
//!
//! # Definition
//! With $u = (x - a)/\Delta$ and a fixed grid $S$ of stakes in (0, 1),
//! $$ R \le \min_{s \in S} a + \frac{\Delta}{s} \bigl[ 1 - e^{g_s - c} \bigr], \quad
//!    g_s = \frac1m \sum_i \ln (1 - s u_i), \quad
//!    c = \frac{(K + L_\alpha) \ln 2 + \ln (|S|/\delta_1)}{m}. $$
//! With a subsample, $g_s$ is replaced by the lower limit of an empirical Bernstein bound,
//! $$ \bar y - \sqrt{2 V_y \ell / n} - \frac{7 w \ell}{3 (n - 1)}, \quad y = \ln (1 - s u), \quad
//!    w = \ln \frac{1}{1 - s}, \quad \ell = L_\alpha \ln 2 + \ln (2 |S| M / \delta_2), $$
//! or by $\ln (1 - s)$, if that is more.
//!
//! # Validity
//! Documents: for a hypothesis and a stake fixed beforehand, $\prod_i (1 - s u_i)/(1 - s u_R)$, $u_R = (R - a)/\Delta$, is a
//! product of independent non-negative factors of mean 1. By Markov's inequality it exceeds
//! $e^{mc}$ with probability at most $\delta_1 2^{-(K + L_\alpha)}/|S|$; solved for $R$, the formula.
//! Tokens: with the conditional mean of each token in its denominator the product is a martingale, so
//! $\frac1m \sum_i \ln (1 - s \, \mathbb E [u_i \mid x_{<i}]) \ge g_s - c$, and the left side is at most
//! $\ln (1 - s \bar u)$ by concavity: the same formula, for the average conditional risk. Sample event:
//! draws with replacement, so $y$ is independent of mean $g_s$ in $[\ln (1 - s), 0]$, for each of the $|S|$
//! stakes at $\delta_2 2^{-L_\alpha} / (|S| M)$.
//!
//! # Reference
//! I. Waudby-Smith and A. Ramdas, *Estimating means of bounded random variables by betting*, JRSS B
//! 2024, arXiv:2010.09686; K. Jang et al., *Tighter PAC-Bayes bounds through coin-betting*, COLT 2023,
//! arXiv:2302.05829. Here with a constant stake from a grid, so that the order of the units does not
//! matter. On binary units it is the divergence inverse of [`KlInverse`](crate::KlInverse), up to the
//! grid.

use std::f64::consts::LN_2;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::empirical_bernstein::excess;
use crate::stakes::{self, stakes};
use crate::sums::{mean, mean_and_variance, sum_of_logs};
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// The betting bound for documents or tokens.
///
/// ```toml
/// [bound]
/// kind = "product"
/// stakes = 64
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Product {
    /// $|S|$, stakes tried.
    pub stakes: NonZeroU32,
}

impl Default for Product {
    fn default() -> Self {
        Self { stakes: stakes::DEFAULT }
    }
}

impl Bound for Product {
    fn applies_to(&self, _unit: Unit, _metric: Metric) -> bool {
        true
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let range = evidence.range;
        let units: Vec<f64> = evidence.values.iter().map(|&x| range.to_unit(x)).collect();
        let c = (evidence.training_nats() + stakes::ln_size(self.stakes)) / evidence.m();
        let nats = evidence.sample_nats() + stakes::ln_size(self.stakes) + LN_2;
        if evidence.is_sampled() {
            evidence.needs_variance()?;
        }
        let (mut unsampled, mut bound) = (f64::INFINITY, f64::INFINITY);
        for s in stakes(self.stakes) {
            let logs = evidence.draws(|draw| {
                let len = draw.len() as f64;
                sum_of_logs(units[draw].iter().map(|u| 1.0 - s * u)) / len
            });
            unsampled = unsampled.min(limit(s, mean(&logs), c));
            if evidence.is_sampled() {
                bound = bound.min(limit(s, lower_limit(s, &logs, nats), c));
            }
        }
        let bound = if evidence.is_sampled() { bound } else { unsampled };
        Certified::new(risk, range.at(unsampled), range.at(bound))
    }
}

/// The bound at one stake, on the scale of an error rate.
fn limit(s: f64, mean_log: f64, c: f64) -> f64 {
    -(mean_log - c).exp_m1() / s
}

/// Lower limit of $g_s$ from the logarithms of the draws, at a level of $2 e^{-\mathtt{nats}}$.
fn lower_limit(s: f64, logs: &[f64], nats: f64) -> f64 {
    let lowest = (-s).ln_1p();
    let (mean, variance) = mean_and_variance(logs);
    (mean - excess(variance, -lowest, nats, logs.len() as f64)).max(lowest)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use counter_rng::Key;

    use super::*;
    use crate::Sampling;
    use crate::Smoothing;
    use crate::kl_inverse::kl_inverse;
    use crate::testing::{assert_close, evidence};

    /// $g_s$ of all units.
    fn mean_log(s: f64, units: &[f64]) -> f64 {
        sum_of_logs(units.iter().map(|u| 1.0 - s * u)) / units.len() as f64
    }

    #[test]
    fn three_stakes_of_the_reference() {
        let units = [0.1, 0.2, 0.4, 0.4, 0.9];
        for (s, expected) in
            [(0.25, 0.586_119_965_564), (0.5, 0.503_705_680_443), (0.9, 0.512_924_724_559)]
        {
            assert_close(limit(s, mean_log(s, &units), 0.05), expected, 1e-11);
        }
        let binary = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        assert_close(limit(0.5, mean_log(0.5, &binary), 0.05), 0.454_723_240_929_5, 1e-12);
    }

    #[test]
    fn a_useless_sample_leaves_the_range() {
        assert_eq!(lower_limit(0.5, &[0.2, 0.4], 1e9), -LN_2);
    }

    #[test]
    fn on_binary_units_a_finer_grid_approaches_the_divergence_inverse() {
        for (wrong, c) in [(0_usize, 0.01), (30, 0.05), (95, 0.2)] {
            let units: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < wrong))).collect();
            let inverse = kl_inverse(wrong as f64 / 100.0, c);
            let gap = |size| {
                stakes(NonZeroU32::new(size).unwrap())
                    .map(|s| limit(s, mean_log(s, &units), c))
                    .fold(f64::INFINITY, f64::min)
                    - inverse
            };
            assert!(gap(16) >= -1e-12 && gap(4_096) >= -1e-12);
            assert!(gap(4_096) < gap(16).max(1e-5) && gap(4_096) < 5e-5, "{wrong}: {}", gap(4_096));
        }
    }

    /// The published illustration: Gaussian document losses of mean 10.5, variance .5, seed 7, against
    /// 131 106 bits over eight million documents; here a hundred thousand of them stand for all.
    #[test]
    fn the_gap_is_a_tenth_of_hoeffdings() {
        let range = Smoothing::new(0.1, 50_257).unwrap().range();
        let mut normals = vec![0.0_f32; 100_000];
        Key::from_seed(7).fill_normal(0, &mut normals);
        let deviation = 0.5_f64.sqrt();
        let units: Vec<f64> =
            normals.iter().map(|&z| range.to_unit(10.5 + deviation * f64::from(z))).collect();
        let c = (131_106.0 * LN_2 + (64.0 * 20_f64).ln()) / 8_009_762.0;
        let least = stakes(stakes::DEFAULT)
            .map(|s| limit(s, mean_log(s, &units), c))
            .fold(f64::INFINITY, f64::min);
        let gap = range.at(least) - 10.5;
        assert!((gap - 0.125).abs() < 0.005, "{gap}");
    }

    /// Blocks of one token are single tokens; the mean of a block's logarithms is at most the
    /// logarithm of its mean (Jensen), so whoever fed block means as if they were tokens would claim
    /// too little.
    #[test]
    fn a_block_enters_by_the_mean_of_its_logarithms() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 4) / 3.0).collect();
        let certify = |values: &[f64], sampling| {
            let population = NonZeroU64::new(100_000).unwrap();
            let evidence = Evidence { unit: Unit::Token, population, sampling, ..evidence(values) };
            Product::default().certify(&evidence).unwrap()
        };
        let singles: Vec<u64> = (0..=400).collect();
        let blocks: Vec<u64> = (0..=100).map(|i| 4 * i).collect();
        assert_eq!(
            certify(&values, Sampling::Blocks(&singles)),
            certify(&values, Sampling::Uniform)
        );
        let blocked = certify(&values, Sampling::Blocks(&blocks));
        let means = certify(&[0.5; 100], Sampling::Uniform);
        assert_close(blocked.risk, 0.5, 1e-12);
        assert!(blocked.risk + blocked.complexity_term > means.risk + means.complexity_term);
    }
}
