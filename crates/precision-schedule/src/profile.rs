//! How a width grows within a cycle.
//!
//! # Definition
//! $g(z)$ for the phase $z \in [0, 1)$, from 0 towards 1:
//!
//! | letter | profile | $g(z)$ |
//! |---|---|---|
//! | C | cosine | $(1 - \cos \pi z) / 2$ |
//! | L | linear | $z$ |
//! | E | exponential | $1 - e^{-4z}$, which ends at 0.982 |
//! | R | REX | $1 - \dfrac{1 - z}{0.1 + 0.9 (1 - z)}$ |
//!
//! # Reference
//! C. R. Wolfe and A. Kyrillidis, *Better Schedules for Low Precision Training of Deep Neural Networks*,
//! Machine Learning 2024, arXiv:2403.02243. REX: J. Chen, C. R. Wolfe and A. Kyrillidis, MLSys 2022,
//! arXiv:2107.04197. Code: wolfecameron/BetterPrecisionSchedules, `cpt_cifar/quant_scheds.py`, where REX
//! is called `demon`.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// A growth profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Half a cosine, CPT's.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
    /// Fast at first: most steps are at high widths.
    Exponential,
    /// Slow at first: most steps are at low widths. The cheapest.
    Rex,
}

impl Profile {
    /// Every profile, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Linear, Self::Exponential, Self::Rex];

    /// $g(z)$, the same bits on every platform.
    pub(crate) fn growth(self, z: f64) -> f64 {
        match self {
            Self::Cosine => 0.5 * (1.0 - libm::cos(PI * z)),
            Self::Linear => z,
            Self::Exponential => 1.0 - libm::exp(-4.0 * z),
            Self::Rex => 1.0 - (1.0 - z) / (0.1 + 0.9 * (1.0 - z)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_at_their_quarters() {
        for (profile, expected) in [
            // (1 - 0.707107) / 2, then its mirror image
            (Profile::Cosine, [0.0, 0.146_446_609, 0.5, 0.853_553_391, 1.0]),
            (Profile::Linear, [0.0, 0.25, 0.5, 0.75, 1.0]),
            // 1 - 1/e, 1 - 1/e^2, ...
            (
                Profile::Exponential,
                [0.0, 0.632_120_559, 0.864_664_717, 0.950_212_932, 0.981_684_361],
            ),
            // 1 - 0.75/0.775, 1 - 0.5/0.55, 1 - 0.25/0.325
            (Profile::Rex, [0.0, 0.032_258_065, 0.090_909_091, 0.230_769_231, 1.0]),
        ] {
            for (quarter, expected) in (0_u32..).zip(expected) {
                let found = profile.growth(f64::from(quarter) / 4.0);
                assert!((found - expected).abs() < 1e-9, "{profile:?} {quarter}: {found}");
            }
        }
    }

    #[test]
    fn profiles_never_fall() {
        for profile in Profile::ALL {
            let values = (0..=1_000).map(|i| profile.growth(f64::from(i) / 1e3));
            assert!(values.is_sorted(), "{profile:?}");
        }
    }
}
