//! The bound of the published SubLoRA code, for comparison with published numbers.
//!
//! # Definition
//! With $\epsilon = \delta_1 + \delta_2$ and $r = n / (n + m)$,
//! $$ R \le \hat R + \Delta \left[ \sqrt{\frac{K \ln 2 + \ln (1/(r \epsilon))}{2 m}} +
//!    \sqrt{\frac{\ln (1 / ((1 - r) \epsilon))}{2 n}} \right], $$
//! $\hat R$ over the sample; when every unit is scored, $R \le \hat R + \Delta \sqrt{(K \ln 2 + \ln (1/\epsilon)) / (2m)}$.
//!
//! # Validity
//! Two Hoeffding inequalities at $r \epsilon$ and $(1 - r) \epsilon$, for one model and a smoothing weight
//! fixed beforehand: $L_\alpha$ and $M$ are *not* paid. On tokens the first is Azuma's inequality, about
//! the average conditional risk. With a weight chosen after the sample is seen it proves nothing: use
//! [`Strict`](crate::Strict) or [`Azuma`](crate::Azuma).
//!
//! # Reference
//! S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, ICML 2024,
//! arXiv:2312.17173, theorem 1; tokens: S. Lotfi et al., NeurIPS 2024, arXiv:2407.18158.
//!
//! # Notes on the reference implementation
//! It adds 8 bits more at every smoothing weight it tries, where 3 bits in all would pay for eight
//! weights. `grid_place` reproduces that.

use serde::{Deserialize, Serialize};

use crate::code_length::parity_quirk;
use crate::{Bound, BoundError, Certified, Evidence, Metric, REFERENCE_GRID, Unit};

/// Hoeffding's inequality with the published split of the failure probability.
///
/// ```toml
/// [bound]
/// kind = "parity"
/// grid_place = 6
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parity {
    /// Place of the smoothing weight in the order of the reference, from 1: adds 8 bits for each. 0,
    /// the default, adds none.
    pub grid_place: u8,
}

impl Bound for Parity {
    fn applies_to(&self, _unit: Unit, _metric: Metric) -> bool {
        true
    }

    fn certify(&self, evidence: &Evidence<'_>) -> Result<Certified, BoundError> {
        let risk = evidence.risk(self)?;
        let epsilon = evidence.training_failure.get() + evidence.sample_failure.get();
        if epsilon >= 1.0 {
            return Err(BoundError::Probability(epsilon));
        }
        if usize::from(self.grid_place) > REFERENCE_GRID.len() {
            let (value, expected) = (self.grid_place.into(), "a place from 1 to 8, or 0");
            return Err(BoundError::Setting { name: "grid_place", value, expected });
        }
        let (m, n) = (evidence.m(), evidence.n());
        let code = (evidence.code_length + parity_quirk(self.grid_place.into())).to_nats().get();
        let width = evidence.range.width();
        if !evidence.is_sampled() {
            let bound = risk + width * root(code - epsilon.ln(), m);
            return Certified::new(risk, bound, bound);
        }
        let [first, second] = roots(code, m, n, epsilon);
        Certified::new(risk, risk + width * first, risk + width * (first + second))
    }
}

/// $\sqrt{x / 2n}$, what Hoeffding's inequality adds at a level of $e^{-x}$, for losses in [0, 1].
pub(crate) fn root(nats: f64, n: f64) -> f64 {
    (nats / (2.0 * n)).sqrt()
}

/// The two roots for a code of `code` nats.
fn roots(code: f64, m: f64, n: f64, epsilon: f64) -> [f64; 2] {
    let r = n / (n + m);
    [root(code - (r * epsilon).ln(), m), root(-((1.0 - r) * epsilon).ln(), n)]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;
    use std::num::NonZeroU64;

    use super::*;
    use crate::testing::evidence;
    use crate::{Bits, LossRange, Sampling, Smoothing};

    /// Documents of `OpenWebText`.
    const M: f64 = 8_009_762.0;

    #[test]
    fn roots_of_the_reference() {
        for (raw, first) in [
            (0.0, 0.000_952_53),
            (1_000.0, 0.006_711_08),
            (16_384.0, 0.026_665_27),
            (131_072.0, 0.075_324_10),
            (250_000.0, 0.104_017_71),
            (1e6, 0.208_018_11),
            (4e6, 0.416_026_93),
        ] {
            let code = raw + if raw > 0.0 { 2.0 * f64::log2(raw) } else { 0.0 } + 7.0;
            let roots = roots(code * LN_2, M, 1e4, 0.05);
            assert!((roots[0] - first).abs() < 5.1e-9, "{raw}: {}", roots[0]);
            assert!((roots[1] - 0.012_241_28).abs() < 5.1e-9, "{}", roots[1]);
        }
    }

    fn parity(risk: f64, m: u64, raw: f64, range: LossRange, grid_place: u8) -> f64 {
        let values = vec![risk; 10_000];
        let evidence = Evidence {
            population: NonZeroU64::new(m).unwrap(),
            sampling: Sampling::Uniform,
            code_length: Bits::new(raw + 2.0 * raw.log2() + 7.0).unwrap(),
            range,
            ..evidence(&values)
        };
        Parity { grid_place }.certify(&evidence).unwrap().bound
    }

    #[test]
    fn bounds_of_the_reference_with_its_growing_settings_code() {
        for (place, (alpha, expected)) in (1..).zip([
            (1e-4, 13.031_109_1),
            (0.001, 12.740_160_6),
            (0.005, 12.536_376_0),
            (0.01, 12.448_218_4),
            (0.05, 12.239_711_5),
            (0.1, 12.145_346_7),
            (0.25, 12.006_577_1),
            (0.5, 11.867_801_3),
        ]) {
            let range = Smoothing::new(alpha, 50_257).unwrap().range();
            let bound = parity(10.5, 8_009_762, 131_072.0, range, place);
            assert!((bound - expected).abs() < 5.1e-8, "{alpha}: {bound}");
        }
    }

    #[test]
    fn top_1_error_and_tokens_of_the_reference() {
        let bound = parity(0.9154, 8_009_762, 131_072.0, LossRange::UNIT, 0);
        assert!((bound - 1.002_965_38).abs() < 5.1e-9, "{bound}");
        let range = Smoothing::new(0.1, 50_257).unwrap().range();
        let bound = parity(3.5, 9_035_582_198, 8e6, range, 0);
        assert!((bound - 4.059_025_30).abs() < 5.1e-9, "{bound}");
    }

    #[test]
    fn a_ninth_weight_is_refused() {
        let error = Parity { grid_place: 9 }.certify(&evidence(&[0.5])).unwrap_err();
        assert!(matches!(error, BoundError::Setting { name: "grid_place", .. }));
    }

    #[test]
    fn a_failure_probability_of_one_is_refused() {
        let half = crate::testing::delta(0.5);
        let evidence =
            Evidence { training_failure: half, sample_failure: half, ..evidence(&[0.5]) };
        assert_eq!(Parity::default().certify(&evidence), Err(BoundError::Probability(1.0)));
    }
}
