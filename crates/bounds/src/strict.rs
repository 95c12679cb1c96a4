//! The conservative default at document level: Hoeffding's inequality with every union paid.
//!
//! # Definition
//! $$ R \le \hat R + \Delta_\alpha \sqrt{\frac{(K + L_\alpha) \ln 2 + \ln (1/\delta_1)}{2 m}} +
//!    \Delta_\alpha \sqrt{\frac{L_\alpha \ln 2 + \ln (M/\delta_2)}{2 n}}, $$
//! the last term only with a subsample.
//!
//! # Validity
//! For every hypothesis and every smoothing weight at once. Training event: Hoeffding's inequality at
//! level $\delta_1 2^{-(K + L_\alpha)}$ for each pair, summed with Kraft's inequality. Sample event: given
//! the training units and the frozen models, the scored units are independent uniform draws from a
//! finite population; Hoeffding's inequality at level $\delta_2 2^{-L_\alpha} / M$. (It also holds for
//! draws without replacement.) So the weight may be chosen after the sample is seen.
//!
//! # Reference
//! W. Hoeffding, *Probability inequalities for sums of bounded random variables*, 1963; theorem as in
//! S. Lotfi et al., arXiv:2312.17173, with the unions over the weights and the models added.

use serde::{Deserialize, Serialize};

use crate::parity::root;
use crate::{Bound, BoundError, Certified, Evidence, Metric, Unit};

/// Hoeffding's inequality for documents, for all hypotheses, smoothing weights and models at once.
///
/// ```toml
/// [bound]
/// kind = "strict"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Strict {}

impl Bound for Strict {
    fn applies_to(&self, unit: Unit, _metric: Metric) -> bool {
        unit == Unit::Document
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        two_roots(evidence, evidence.risk(self)?)
    }
}

/// The formula, which Azuma's inequality shares.
pub(crate) fn two_roots(evidence: &Evidence<'_>, risk: f64) -> Result<Certified, BoundError> {
    let width = evidence.range.width();
    let unsampled = risk + width * root(evidence.training_nats(), evidence.m());
    let sampling = if evidence.is_sampled() {
        width * root(evidence.sample_nats(), evidence.n())
    } else {
        0.0
    };
    Certified::new(risk, unsampled, unsampled + sampling)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::num::NonZeroU64;

    use counter_rng::Key;

    use super::*;
    use crate::parity::Parity;
    use crate::testing::{assert_close, delta, evidence};
    use crate::{Alpha, Bits, Sampling, Scores, Smoothing};

    fn strict(risk: f64, k: u64, alpha: Alpha, m: u64, vocab: u32) -> Certified {
        let values = vec![risk; 10_000];
        let evidence = Evidence {
            population: NonZeroU64::new(m).unwrap(),
            sampling: Sampling::Uniform,
            code_length: Bits::whole(k),
            alpha_bits: alpha.code_length(),
            range: Smoothing::new(alpha.value(), vocab).unwrap().range(),
            ..evidence(&values)
        };
        Strict {}.certify(&evidence).unwrap()
    }

    #[test]
    fn an_audited_certificate() {
        let alpha = Alpha::new(1, 3).unwrap();
        let certified = strict(4.227_346_140_913_124_6, 11_089, alpha, 561_359, 6_400);
        assert_close(certified.complexity_term, 1.279_054_480_213_254_2, 1e-12);
        assert_close(certified.sampling_term, 0.292_241_291_768_844_3, 1e-12);
        assert_close(certified.bound, 5.798_641_912_895_223, 1e-12);
    }

    #[test]
    fn four_weights_of_the_grid() {
        for (exponent, expected) in [
            (1, 11.907_476_490_575_515),
            (2, 12.104_900_876_511_936),
            (3, 12.236_261_816_296_759),
            (4, 12.390_140_324_881_578),
        ] {
            let alpha = Alpha::new(1, exponent).unwrap();
            assert_close(strict(10.5, 131_114, alpha, 8_009_762, 50_257).bound, expected, 1e-12);
        }
    }

    #[test]
    fn it_is_the_published_bound_with_unions_paid() {
        let values = [0.3; 100];
        let r = 100.0 / (100.0 + 5_000.0);
        let evidence = Evidence {
            population: NonZeroU64::new(5_000).unwrap(),
            sampling: Sampling::Uniform,
            code_length: Bits::whole(500),
            training_failure: delta(r * 0.05),
            sample_failure: delta((1.0 - r) * 0.05),
            ..evidence(&values)
        };
        let parity = Parity::default().certify(&evidence).unwrap().bound;
        assert_close(Strict {}.certify(&evidence).unwrap().bound, parity, 1e-14);
        for paid in [
            Evidence { alpha_bits: Bits::whole(1), ..evidence },
            Evidence { models: NonZeroU64::new(2).unwrap(), ..evidence },
        ] {
            assert_eq!(Parity::default().certify(&paid).unwrap().bound, parity);
            assert!(Strict {}.certify(&paid).unwrap().bound > parity);
        }
    }

    #[test]
    fn the_search_for_a_weight_finds_what_exhaustion_finds() {
        let key = Key::from_seed(6);
        for (case, (scale, code)) in
            [(2.0_f32, 100_u64), (2.0, 10_000), (8.0, 10_000), (0.2, 1_000)].into_iter().enumerate()
        {
            let mut normals = [0.0_f32; 300];
            key.index(case as u64).fill_normal(0, &mut normals);
            let ln_p = normals.map(|z| -scale * z.abs());
            let offsets: Vec<u64> = (0..=100).map(|i| 3 * i).collect();
            let scores = Scores::new(&ln_p, &[0; 300], &[0.0; 300], &offsets).unwrap();
            let evaluations = Cell::new(0);
            let certify = |alpha: Alpha| {
                let smoothing = Smoothing::new(alpha.value(), 256).unwrap();
                let values = scores.document_losses(smoothing);
                let evidence = Evidence {
                    population: NonZeroU64::new(10_000).unwrap(),
                    sampling: Sampling::Uniform,
                    code_length: Bits::whole(code),
                    alpha_bits: alpha.code_length(),
                    range: smoothing.range(),
                    ..evidence(&values)
                };
                evaluations.set(evaluations.get() + 1);
                Strict {}.certify(&evidence)
            };
            let (alpha, least) = Alpha::search(8, certify).unwrap();
            assert!(evaluations.take() < 100, "case {case}"); // of 255; measured 56 to 77
            let exhaustive = Alpha::grid(8)
                .map(|alpha| (alpha, certify(alpha).unwrap()))
                .min_by(|left, right| left.1.bound.total_cmp(&right.1.bound))
                .unwrap();
            assert_eq!((alpha, least), exhaustive, "case {case}");
        }
    }
}
