//! What quantisation did to a matrix.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::quantizer::check_finite;
use crate::{Codes, Params, Quantizer, QuantizerError};

/// Bits in which a scale is stored: fp16.
const SCALE_BITS: f64 = 16.0;

/// A matrix against its quantised self.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distortion {
    /// The largest number of different codes that the values of one group took.
    pub levels: usize,
    /// $10 \log_{10} (\sum x^2 / \sum (x - \hat x)^2)$ in dB; infinite without any error.
    pub sqnr_db: f64,
    /// $\lVert x - \hat x \rVert / \lVert x \rVert$; 0 without any error.
    pub relative_error: f64,
    /// Fraction of values that became 0.
    pub zeros: f64,
    /// Fraction of values whose gradient the straight-through estimator stops: those that lie beyond
    /// the end of the codes.
    pub clipped: f64,
    /// Bits of a code, and of scales and zero points spread over the values. A scale counts 16 bits;
    /// where there is one that is not 0, a zero point counts those of a code and an offset 16.
    pub bits_per_value: f64,
}

impl Quantizer {
    /// What quantising the matrix `values`, `[rows, cols]` in row-major order, with `params` does.
    ///
    /// # Errors
    /// As [`codes`](Self::codes): there is nothing to report at 32 bits.
    pub fn distortion(
        &self,
        values: &[f32],
        shape: [usize; 2],
        params: &[Params],
    ) -> Result<Distortion, QuantizerError> {
        let groups = self.checked_groups(values.len(), shape)?;
        let codes = self.codes_for(&groups, params)?;
        check_finite(values)?;
        let sums = groups.map(values, |group, values| Sums::of(&codes, &params[group], values));
        let sums = sums.into_iter().fold(Sums::default(), Sums::add);
        let len = values.len().max(1) as f64;
        let (sqnr_db, relative_error) = if sums.noise > 0.0 {
            (10.0 * (sums.signal / sums.noise).log10(), (sums.noise / sums.signal).sqrt())
        } else {
            (f64::INFINITY, 0.0)
        };
        let bits = f64::from(self.bits.get());
        let zero_point = if params.iter().any(|it| it.zero_point != 0) { bits } else { 0.0 };
        let offset = if params.iter().any(|it| it.offset != 0.0) { SCALE_BITS } else { 0.0 };
        Ok(Distortion {
            levels: sums.levels,
            sqnr_db,
            relative_error,
            zeros: sums.zeros as f64 / len,
            clipped: sums.clipped as f64 / len,
            bits_per_value: bits + (SCALE_BITS + zero_point + offset) * params.len() as f64 / len,
        })
    }
}

/// Sums over values.
#[derive(Default, Clone, Copy)]
struct Sums {
    levels: usize,
    signal: f64,
    noise: f64,
    zeros: usize,
    clipped: usize,
}

impl Sums {
    /// Those over a group.
    fn of(codes: &Codes, params: &Params, values: &[f32]) -> Self {
        let mut seen = HashSet::new();
        let mut sums = Sums::default();
        for &x in values {
            let code = codes.code(x, params);
            let quantized = codes.value(code, params);
            seen.insert(code);
            sums.signal += f64::from(x).powi(2);
            sums.noise += (f64::from(x) - f64::from(quantized)).powi(2);
            sums.zeros += usize::from(quantized == 0.0);
            sums.clipped += usize::from(!codes.passes(x, params));
        }
        Sums { levels: seen.len(), ..sums }
    }

    fn add(self, other: Self) -> Self {
        Self {
            levels: self.levels.max(other.levels),
            signal: self.signal + other.signal,
            noise: self.noise + other.noise,
            zeros: self.zeros + other.zeros,
            clipped: self.clipped + other.clipped,
        }
    }
}
