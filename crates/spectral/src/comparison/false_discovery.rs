//! False-discovery control over the layers of a model.
//!
//! # Definition
//! With the p-values of $m$ layers in increasing order, the adjusted ones are
//! $$ \tilde p_{(i)} = \min_{k \ge i} \min\Bigl( 1, \frac{c_m \, m}{k} \, p_{(k)} \Bigr); $$
//! rejecting every $\tilde p \le q$ keeps the expected share of false rejections at or below $q$, with
//! $c_m = 1$ for independent or positively dependent p-values (Benjamini and Hochberg) and
//! $c_m = \sum_{k=1}^m 1/k$ for any dependence (Benjamini and Yekutieli).
//!
//! # Reference
//! Y. Benjamini, Y. Hochberg, *Controlling the false discovery rate*, J. R. Stat. Soc. B 57, 1995;
//! Y. Benjamini, D. Yekutieli, *The control of the false discovery rate in multiple testing under
//! dependency*, Ann. Stat. 29, 2001.

use serde::{Deserialize, Serialize};

/// Which dependence between the layers the adjustment allows for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FalseDiscovery {
    /// Independent or positively dependent p-values.
    #[default]
    BenjaminiHochberg,
    /// Any dependence, at the price of a factor of about $\ln m$.
    BenjaminiYekutieli,
}

impl FalseDiscovery {
    /// Adjusted p-values in the order of `p`. A NaN counts as 1: it is never rejected.
    pub fn adjust(self, p: &[f64]) -> Vec<f64> {
        let m = p.len();
        let dependence = match self {
            Self::BenjaminiHochberg => 1.0,
            Self::BenjaminiYekutieli => (1..=m).map(|k| 1.0 / k as f64).sum(),
        };
        let value = |layer: usize| if p[layer].is_nan() { 1.0 } else { p[layer] };
        let mut order: Vec<usize> = (0..m).collect();
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let mut adjusted = vec![1.0; m];
        let mut least = 1.0_f64;
        for (index, &layer) in order.iter().enumerate().rev() {
            least = least.min(dependence * m as f64 / (index + 1) as f64 * value(layer));
            adjusted[layer] = least;
        }
        adjusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f64; 10] = [0.205, 0.001, 0.06, 0.008, 0.039, 0.216, 0.041, 0.042, 0.074, 0.212];

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} is not {expected}");
        }
    }

    #[test]
    fn each_value_is_the_least_of_those_above_it() {
        let expected = [
            0.216,      // min(.205 10/8, .212 10/9, .216 10/10)
            0.01,       // .001 10/1
            0.1,        // .060 10/6
            0.04,       // .008 10/2
            0.084,      // min(.039 10/3, .041 10/4, .042 10/5)
            0.216,      // .216 10/10
            0.084,      // .042 10/5
            0.084,      // .042 10/5
            0.74 / 7.0, // .074 10/7
            0.216,      // .216 10/10
        ];
        let adjusted = FalseDiscovery::BenjaminiHochberg.adjust(&P);
        assert_close(&adjusted, &expected);
        assert_eq!(adjusted.iter().filter(|&&p| p <= 0.05).count(), 2);
    }

    #[test]
    fn any_dependence_costs_the_harmonic_number() {
        // 1 + 1/2 + 1/3 = 11/6: .01 3/1 11/6, then the larger two meet at .03 3/3 11/6
        let adjusted = FalseDiscovery::BenjaminiYekutieli.adjust(&[0.03, 0.01, 0.029]);
        assert_close(&adjusted, &[0.055, 0.055, 0.055]);
        assert_close(&FalseDiscovery::BenjaminiYekutieli.adjust(&[0.9, 0.9]), &[1.0, 1.0]);
    }

    #[test]
    fn what_was_not_tested_is_not_rejected() {
        let adjusted = FalseDiscovery::BenjaminiHochberg.adjust(&[f64::NAN, 0.01]);
        assert_close(&adjusted, &[1.0, 0.02]);
        assert!(FalseDiscovery::BenjaminiHochberg.adjust(&[]).is_empty());
    }
}
