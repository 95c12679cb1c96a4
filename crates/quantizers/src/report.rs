//! What quantisation did to a matrix.

use serde::{Deserialize, Serialize};

use crate::quantizer::check_finite;
use crate::{Codes, Params, Quantizer, QuantizerError, Shift};

/// Bits that a scale counts: those of fp16.
const SCALE_BITS: f64 = 16.0;

/// A matrix against its quantised self.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distortion {
    /// The largest number of different codes that the values of one group took.
    pub levels: usize,
    /// $10 \log_{10} (\sum x^2 / \sum (x - \hat x)^2)$ in dB; infinite without any error, minus infinity
    /// if zeros alone became something.
    pub sqnr_db: f64,
    /// $\lVert x - \hat x \rVert / \lVert x \rVert$; 0 without any error, infinite if zeros alone
    /// became something.
    pub relative_error: f64,
    /// Fraction of values that are 0 once quantised.
    pub zeros: f64,
    /// Fraction of values whose gradient the straight-through estimator stops: those that lie beyond
    /// the end of the codes.
    pub clipped: f64,
    /// Bits of a code, and of scales, zero points and offsets spread over the values. A scale or offset
    /// counts 16 bits, as deployments store it, although values here are computed with that of `f32`; a
    /// zero point counts those of a code. Zero points count if the grid has them, offsets if the grid
    /// has them or the range made one.
    pub bits_per_value: f64,
}

impl Distortion {
    /// [`sqnr_db`](Self::sqnr_db) and [`relative_error`](Self::relative_error) of the sums of $x^2$ and of
    /// $(x - \hat x)^2$.
    pub fn sqnr_and_error(signal: f64, noise: f64) -> (f64, f64) {
        if noise == 0.0 {
            (f64::INFINITY, 0.0)
        } else if signal == 0.0 {
            (f64::NEG_INFINITY, f64::INFINITY)
        } else {
            (10.0 * (signal / noise).log10(), (noise / signal).sqrt())
        }
    }
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
        let (codes, params) = self.codes_for(&groups, params)?;
        check_finite(values)?;
        let sums = groups.map(values, |group, values| {
            let value = |code| {
                let value = codes.value(code, &params[group]);
                self.emulate.map_or(value, |half| half.round(value))
            };
            Sums::of(&codes, &params[group], value, values)
        });
        let sums = sums.into_iter().fold(Sums::default(), Sums::add);
        let len = values.len().max(1) as f64;
        let (sqnr_db, relative_error) = Distortion::sqnr_and_error(sums.signal, sums.noise);
        let bits = f64::from(self.bits.get());
        let has_zero_points = codes.shift == Some(Shift::ZeroPoint);
        let has_offsets =
            codes.shift == Some(Shift::Offset) || params.iter().any(|it| it.offset != 0.0);
        let zero_point = if has_zero_points { bits } else { 0.0 };
        let offset = if has_offsets { SCALE_BITS } else { 0.0 };
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
    fn of(codes: &Codes, params: &Params, value: impl Fn(i32) -> f32, values: &[f32]) -> Self {
        let mut seen = vec![0_u64; codes.count().div_ceil(64)];
        let first = codes.ends().0;
        let mut sums = Sums::default();
        for &x in values {
            let code = codes.code(x, params);
            let quantized = value(code);
            let place = code.abs_diff(first);
            seen[place as usize / 64] |= 1 << (place % 64);
            sums.signal += f64::from(x).powi(2);
            sums.noise += (f64::from(x) - f64::from(quantized)).powi(2);
            sums.zeros += usize::from(quantized == 0.0);
            sums.clipped += usize::from(!codes.passes(x, params));
        }
        let levels = seen.iter().map(|it| it.count_ones() as usize).sum();
        Sums { levels, ..sums }
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

#[cfg(test)]
mod tests {
    use crate::{Affine, BitWidth, Distortion, LsqPlus, Params, Quantizer};

    #[test]
    fn a_matrix_by_hand() {
        // Columns 4 1.2 .4 -1.6 and 1 -1 0 0; s = 4/1 and 1/1 at 2 bits: 4 0 0 0 and themselves.
        let values = [4.0, 1.0, 1.2, -1.0, 0.4, 0.0, -1.6, 0.0];
        let bits = BitWidth::new(2).unwrap();
        let quantizer = Quantizer { bits, ..Quantizer::default() };
        let params = quantizer.fit(&values, [4, 2]).unwrap();
        let report = quantizer.distortion(&values, [4, 2], &params).unwrap();
        let (signal, noise) = (16.0 + 1.44 + 0.16 + 2.56 + 2.0, 1.44 + 0.16 + 2.56);
        assert!((report.sqnr_db - 10.0 * f64::log10(signal / noise)).abs() < 1e-5);
        assert!((report.relative_error - f64::sqrt(noise / signal)).abs() < 1e-6);
        let rest = (report.levels, report.zeros, report.clipped, report.bits_per_value);
        assert_eq!(rest, (3, 5.0 / 8.0, 0.0, 2.0 + 2.0 * 16.0 / 8.0));
        // With half the scale of the first column, 4 is a step and a half beyond the end.
        let params = [Params::scale(2.0), params[1]];
        let report = quantizer.distortion(&values, [4, 2], &params).unwrap();
        assert_eq!(report.clipped, 1.0 / 8.0);
        let affine = Quantizer { grid: Affine::default().into(), ..quantizer };
        let params = affine.fit(&values, [4, 2]).unwrap();
        let report = affine.distortion(&values, [4, 2], &params).unwrap();
        assert_eq!(report.bits_per_value, 2.0 + 2.0 * (16.0 + 2.0) / 8.0);
    }

    #[test]
    fn what_a_grid_can_shift_is_counted_also_where_it_is_zero() {
        let values = [1.0, 0.5, -1.0, 0.0];
        let count = |quantizer: &Quantizer, params: Params| {
            quantizer.distortion(&values, [4, 1], &[params]).unwrap().bits_per_value
        };
        let symmetric = Quantizer::default();
        let affine = Quantizer { grid: Affine::default().into(), ..Quantizer::default() };
        let lsq_plus = Quantizer { grid: LsqPlus {}.into(), ..Quantizer::default() };
        let scale = Params::scale(0.01);
        assert_eq!(count(&symmetric, scale), 8.0 + 16.0 / 4.0);
        assert_eq!(count(&affine, scale), 8.0 + (16.0 + 8.0) / 4.0);
        assert_eq!(count(&lsq_plus, scale), 8.0 + (16.0 + 16.0) / 4.0);
        // As half-quadratic quantisation makes them.
        assert_eq!(count(&symmetric, Params { offset: 0.1, ..scale }), 8.0 + (16.0 + 16.0) / 4.0);
    }

    #[test]
    fn zeros_that_became_something_are_nothing_but_error() {
        let quantizer = Quantizer { grid: LsqPlus {}.into(), ..Quantizer::default() };
        let params = [Params { scale: 1e-9, zero_point: 0, offset: 1e-8 + 0.5e-9 }];
        let report = quantizer.distortion(&[0.0; 4], [4, 1], &params).unwrap();
        let found = (report.sqnr_db, report.relative_error, report.zeros);
        assert_eq!(found, (f64::NEG_INFINITY, f64::INFINITY, 0.0));
        assert_eq!(Distortion::sqnr_and_error(100.0, 1.0), (20.0, 0.1));
    }

    #[test]
    fn no_error_and_no_value() {
        let quantizer = Quantizer::default();
        let params = quantizer.fit(&[0.0; 4], [2, 2]).unwrap();
        let Distortion { sqnr_db, relative_error, zeros, levels, .. } =
            quantizer.distortion(&[0.0; 4], [2, 2], &params).unwrap();
        assert_eq!((sqnr_db, relative_error, zeros, levels), (f64::INFINITY, 0.0, 1.0, 1));
        let report = quantizer.distortion(&[], [0, 2], &[]).unwrap();
        assert_eq!((report.levels, report.zeros, report.bits_per_value), (0, 0.0, 8.0));
    }
}
