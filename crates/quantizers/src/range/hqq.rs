//! Half-quadratic quantisation: a real zero point that makes the error sparse.
//!
//! # Definition
//! For integer codes from $q_{min}$ to $q_{max}$, $\bar s = (q_{max} - q_{min}) / (\max x - \min x)$ is
//! fixed and $z = q_{min} - \bar s \min x$ is where the zero point starts. At most 20 times, with
//! $\beta = 10$ at first,
//! $$ q = \operatorname{clamp}(\operatorname{round}(x \bar s + z), q_{min}, q_{max}), \quad
//!    r = (q - z) / \bar s, \quad e = \operatorname{shrink}(x - r), \quad
//!    z \leftarrow \operatorname{mean}\bigl(q - (x - e)\,\bar s\bigr), \quad \beta \leftarrow \kappa\beta, $$
//! where $\operatorname{shrink}(x) = \operatorname{sign}(x) \max(|x| - |x|^{p-1}/\beta, 0)$, and until the mean
//! of $|x - r|$ rises. The zero point is not an integer: it becomes an offset,
//! $\hat x = q s - z s$ with $s = 1/\bar s$.
//!
//! The threshold $|x|^{p-1}/\beta$ is in the units of the values: a multiple of them does not have the
//! multiple of the range.
//!
//! # Notes on the reference implementation
//! It stops where the mean no longer falls, and takes the step that follows all the same. Where values
//! lie evenly about their codes the mean stays level, in exact arithmetic, while the zero point moves:
//! there we go on, for rounding alone would decide.
//!
//! # Reference
//! H. Badri and A. Shaji, *Half-quadratic quantization of large machine learning models*, 2023;
//! mobiusml/hqq, `hqq/core/optimize.py`.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Observer, Range, kernel};
use crate::{BitWidth, Grid, LEAST_SCALE, Levels, Params, QuantizerError};

/// Half-quadratic zero point. Integer codes only. Keeps every value it is shown, 4 bytes each.
///
/// ```toml
/// [range]
/// kind = "hqq"
/// exponent = 0.7
/// beta = 10.0
/// kappa = 1.01
/// iterations = 20
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hqq {
    /// $p$ of the norm that the error should be small in: above 0 and at most 1.
    pub exponent: f32,
    /// $\beta$ at first, above 0.
    pub beta: f32,
    /// $\kappa$, from 1 to 2.
    pub kappa: f32,
    /// Iterations at most.
    pub iterations: u32,
}

impl Default for Hqq {
    fn default() -> Self {
        Self { exponent: 0.7, beta: 10.0, kappa: 1.01, iterations: 20 }
    }
}

impl Range for Hqq {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(HalfQuadratic { rule: self.clone(), kept: Kept::default() })
    }
}

/// Of two errors whose ratio differs from 1 by less, neither is the larger: their sums are f32.
const LEVEL: f64 = 1e-6;

struct HalfQuadratic {
    rule: Hqq,
    kept: Kept,
}

impl Hqq {
    fn check(&self) -> Result<(), QuantizerError> {
        let Self { exponent, beta, kappa, .. } = *self;
        for (name, value, is_right, expected) in [
            (
                "exponent",
                exponent,
                exponent > 0.0 && exponent <= 1.0,
                "a number above 0 and at most 1",
            ),
            ("beta", beta, beta > 0.0 && beta.is_finite(), "a finite number above 0"),
            ("kappa", kappa, (1.0..=2.0).contains(&kappa), "a number from 1 to 2"),
        ] {
            if !is_right {
                return Err(QuantizerError::Setting { name, value: value.into(), expected });
            }
        }
        Ok(())
    }

    /// The zero points of `values - low`, from the first to the last.
    fn zero_points(&self, values: &[f32], low: f32, scale: f32, ends: (f32, f32)) -> Vec<f32> {
        let mut step = kernel::HalfQuadratic {
            low,
            inverse: 1.0 / scale,
            zero_point: ends.0,
            ends,
            beta: self.beta,
            exponent: self.exponent,
        };
        let (mut zero_points, mut least) = (vec![step.zero_point], f64::INFINITY);
        for _ in 0..self.iterations {
            let [distance, sum] = kernel::half_quadratic(values, step);
            let is_finite = distance.is_finite() && sum.is_finite();
            if !is_finite || distance > (1.0 + LEVEL) * least {
                break;
            }
            least = distance.min(least);
            step.beta *= self.kappa;
            step.zero_point = (sum / values.len() as f64) as f32;
            zero_points.push(step.zero_point);
        }
        zero_points
    }
}

impl Observer for HalfQuadratic {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.kept.observe(values)
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        self.rule.check()?;
        let extent = self.kept.extent()?;
        let codes = grid.codes(bits)?;
        let Levels::Integers { min, max } = codes.levels else {
            return Err(QuantizerError::NotIntegers { range: "hqq" });
        };
        let width = f64::from(extent.high) - f64::from(extent.low);
        let scale = (width / f64::from(max - min)) as f32;
        let scale =
            if width > 0.0 { scale.clamp(f32::MIN_POSITIVE, f32::MAX) } else { LEAST_SCALE };
        let ends = (min as f32, max as f32);
        let params = |zero_point: f32| {
            let offset = f64::from(extent.low) - f64::from(zero_point) * f64::from(scale);
            let offset = (offset as f32).clamp(f32::MIN, f32::MAX);
            Params { scale, zero_point: 0, offset }
        };
        let zero_points = self.rule.zero_points(self.kept.values(), extent.low, scale, ends);
        // Of values near the largest f32, the first may be all there is.
        let found = zero_points.into_iter().rev().map(params).find(|it| codes.can_have(it));
        Ok(found.unwrap_or_else(|| params(ends.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of $z$ as the formulas have it: ours starts at 0, from the least value on.
    #[test]
    fn zero_points_of_the_formulas() {
        let w = [-1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.3, 2.0];
        for (max, expected, len) in [
            (3.0, &[1.0, 0.986_931][..], 2), // then the mean rises, from .15 to .153
            (7.0, &[2.333_333, 2.319_165, 2.316_456, 2.315_563], 21), // level, at .0642857
        ] {
            let zero_points = Hqq::default().zero_points(&w, -1.0, 3.0 / max, (0.0, max));
            assert_eq!(zero_points.len(), len, "{zero_points:?}");
            for (z, expected) in zero_points.iter().zip(expected) {
                assert!((z + max / 3.0 - expected).abs() < 1e-6, "{zero_points:?}");
            }
        }
    }

    #[test]
    fn the_zero_point_is_an_offset() {
        let mut observer = Hqq::default().observer();
        observer.observe(&[-1.0, -0.5, -0.2, -0.1]).unwrap();
        observer.observe(&[0.0, 0.1, 0.3, 2.0]).unwrap();
        // s = 3/3, z = .9869309; on -1, 0, 1 s = 3/2 and the codes are -1 -1 0 0 0 0 0 1.
        let params = observer.fit(&crate::Affine::default(), BitWidth::new(2).unwrap()).unwrap();
        assert_eq!((params.scale, params.zero_point), (1.0, 0));
        assert!((params.offset + 0.986_930_9).abs() < 1e-6, "{params:?}");
        let params = observer.fit(&crate::Symmetric {}, BitWidth::new(2).unwrap()).unwrap();
        assert_eq!((params.scale, params.zero_point), (1.5, 0));
        assert!((-0.5..0.5).contains(&params.offset), "{params:?}");
    }

    #[test]
    fn settings_outside_their_ranges_and_tables_are_refused() {
        let bits = BitWidth::new(4).unwrap();
        let refused = |rule: &Hqq, grid: &dyn Grid| {
            let mut observer = rule.observer();
            observer.observe(&[1.0, 2.0]).unwrap();
            observer.fit(grid, bits).unwrap_err().to_string()
        };
        let (rule, affine) = (Hqq::default(), crate::Affine::default());
        assert_eq!(
            refused(&Hqq { exponent: 0.0, ..rule.clone() }, &affine),
            "`exponent` is 0, expected a number above 0 and at most 1"
        );
        assert_eq!(
            refused(&Hqq { beta: f32::NAN, ..rule.clone() }, &affine),
            "`beta` is NaN, expected a finite number above 0"
        );
        assert_eq!(
            refused(&Hqq { kappa: 0.5, ..rule.clone() }, &affine),
            "`kappa` is 0.5, expected a number from 1 to 2"
        );
        assert_eq!(
            refused(&rule, &crate::Nf4 {}),
            "the range `hqq` is for integer codes, and this grid has none"
        );
    }
}
