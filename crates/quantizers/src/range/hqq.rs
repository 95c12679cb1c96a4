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
//! of $|x - r|$ no longer falls. The zero point is not an integer: it becomes an offset,
//! $\hat x = q s - z s$ with $s = 1/\bar s$.
//!
//! The threshold $|x|^{p-1}/\beta$ is in the units of the values: a multiple of them does not have the
//! multiple of the range.
//!
//! # Reference
//! H. Badri and A. Shaji, *Half-quadratic quantization of large machine learning models*, 2023;
//! mobiusml/hqq, `hqq/core/optimize.py`.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Observer, Range};
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
    pub exponent: f64,
    /// $\beta$ at first, above 0.
    pub beta: f64,
    /// $\kappa$, at least 1.
    pub kappa: f64,
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

struct HalfQuadratic {
    rule: Hqq,
    kept: Kept,
}

impl Hqq {
    fn check(&self) -> Result<(), QuantizerError> {
        for (name, value, within, expected) in [
            (
                "exponent",
                self.exponent,
                self.exponent > 0.0 && self.exponent <= 1.0,
                "a number above 0 and at most 1",
            ),
            (
                "beta",
                self.beta,
                self.beta > 0.0 && self.beta.is_finite(),
                "a finite number above 0",
            ),
            (
                "kappa",
                self.kappa,
                self.kappa >= 1.0 && self.kappa.is_finite(),
                "a finite number of at least 1",
            ),
        ] {
            if !within {
                return Err(QuantizerError::Setting { name, value, expected });
            }
        }
        Ok(())
    }

    /// The zero points, from the first to the last.
    fn zero_points(&self, values: &[f32], inverse: f64, start: f64, ends: (f64, f64)) -> Vec<f64> {
        let (mut zs, mut z) = (vec![start], start);
        let (mut beta, mut least) = (self.beta, f64::INFINITY);
        for _ in 0..self.iterations {
            let (mut distance, mut sum) = (0.0, 0.0);
            for x in values.iter().map(|&x| f64::from(x)) {
                let q = (x * inverse + z).round_ties_even().clamp(ends.0, ends.1);
                let error = x - (q - z) / inverse;
                let size = error.abs();
                distance += size;
                let shrunk =
                    (size - size.powf(self.exponent - 1.0) / beta).max(0.0).copysign(error);
                sum += q - (x - shrunk) * inverse;
            }
            if distance >= least {
                break;
            }
            least = distance;
            beta *= self.kappa;
            z = sum / values.len() as f64;
            zs.push(z);
        }
        zs
    }
}

impl Observer for HalfQuadratic {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.kept.observe(values)
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        self.rule.check()?;
        let extent = self.kept.extent()?;
        let Levels::Integers { min, max } = grid.codes(bits)?.levels else {
            return Err(QuantizerError::NotIntegers { range: "hqq" });
        };
        let (min, max) = (f64::from(min), f64::from(max));
        let (low, high) = (f64::from(extent.low), f64::from(extent.high));
        let scale = ((high - low) / (max - min)).max(LEAST_SCALE.into()) as f32;
        let inverse = 1.0 / f64::from(scale);
        let zs =
            self.rule.zero_points(self.kept.values(), inverse, min - low * inverse, (min, max));
        let z = zs[zs.len() - 1];
        Ok(Params { scale, zero_point: 0, offset: (-z * f64::from(scale)) as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_points_of_the_reference() {
        let w = [-1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.3, 2.0];
        for bits in [2, 3] {
            let max = f64::from((1 << bits) - 1);
            let zs = Hqq::default().zero_points(&w, max / 3.0, max / 3.0, (0.0, max));
            eprintln!("{zs:?}");
        }
    }
}
