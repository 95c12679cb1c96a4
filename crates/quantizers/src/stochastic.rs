//! Quantised gradients: identity forward, quantised backward.
//!
//! # Definition
//! Dynamic, with $Q = 2^{b-1} - 1$, $s = \max |g| / Q$ of the gradient at hand and $u$ uniform on [0, 1),
//! $$ q = \lfloor g / s + u \rfloor, \qquad Q(g) = q\,s. $$
//! Nothing is clipped, hence $\mathbb E\,Q(g) = g$; the variance is $s^2 f (1 - f)$ with $f$ the fraction
//! of $g/s$, at most $s^2/4$. Zero stays zero, and the largest magnitude itself.
//!
//! Calibrated, with a frozen scale: to the nearest code, ties to even, and clipped to the outermost
//! ones. Its error is at most half as large and not zero on average.
//!
//! # Reference
//! Y. Fu et al., *CPT: Efficient Deep Neural Network Training via Cyclic Precision*, ICLR 2021,
//! arXiv:2101.09868; stochastic rounding after S. Gupta et al., ICML 2015, arXiv:1502.02551.
//!
//! # Notes on the reference implementation
//! CPT has an affine grid from the smallest to the largest value, where zero has no code of its own. Here
//! the grid is symmetric. The scale is an `f64` without a floor: gradients may be small.

use counter_rng::Key;
use rayon::prelude::*;

use crate::range::extremes;
use crate::{BitWidth, Grid, Params, QuantizerError, Symmetric};

/// Values quantised by one task.
const CHUNK: usize = 1 << 14;

/// How the gradient that passes a point backwards is quantised, on the [`Symmetric`] grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GradientQuantizer {
    /// With the scale of each gradient, and stochastic rounding by the words of this key.
    Dynamic(Key),
    /// With a calibrated scale, to the nearest code.
    Calibrated(Params),
}

impl GradientQuantizer {
    /// Quantises the `gradient`, `[n]`, of backward pass number `pass` in place: every pass draws other
    /// words, and the same pass the same on any number of threads. 32 bits leave it as it is.
    ///
    /// # Errors
    /// [`QuantizerError::NotFinite`], [`QuantizerError::GridWidth`] outside 2 to 16 bits, or
    /// [`QuantizerError::Params`] for a calibrated scale that is none.
    pub fn quantize(
        &self,
        gradient: &mut [f32],
        bits: BitWidth,
        pass: u64,
    ) -> Result<(), QuantizerError> {
        if bits.is_full() {
            return Ok(());
        }
        let codes = Symmetric {}.codes(bits)?;
        let Some(extent) = extremes(gradient)? else { return Ok(()) };
        match self {
            Self::Dynamic(key) if extent.magnitude() > 0.0 => {
                let greatest = (codes.count() / 2) as f64;
                let scale = f64::from(extent.magnitude()) / greatest;
                let key = key.index(pass);
                gradient.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, gradient)| {
                    let mut words = key.words((chunk * CHUNK) as u64);
                    for g in gradient {
                        let places = (f64::from(*g) / scale).clamp(-greatest, greatest);
                        *g = (round(places, words.uniform()) * scale) as f32;
                    }
                });
            }
            Self::Dynamic(_) => {} // all zero
            Self::Calibrated(params) if !codes.can_have(params) => {
                return Err(QuantizerError::Params { group: 0, params: *params });
            }
            Self::Calibrated(params) => gradient.par_chunks_mut(CHUNK).for_each(|gradient| {
                for g in gradient {
                    *g = codes.quantize(*g, params);
                }
            }),
        }
        Ok(())
    }
}

/// $\lfloor x + u \rfloor$ for $u$ in [0, 1), without the rounding of the sum.
/// $|x|$ is at most $2^{15}$, so that a cast takes the place of `floor`, which is a call of libm on
/// machines without SSE 4.1.
fn round(x: f64, u: f64) -> f64 {
    let towards_zero = f64::from(x as i32);
    let below = if towards_zero > x { towards_zero - 1.0 } else { towards_zero };
    if u >= 1.0 - (x - below) { below + 1.0 } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    fn normal(len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(5).fill_normal(0, &mut values);
        values
    }

    fn dynamic() -> GradientQuantizer {
        GradientQuantizer::Dynamic(Key::from_seed(9).derive("gradient"))
    }

    #[test]
    fn stochastic_rounding_is_unbiased_and_has_the_stated_variance() {
        const DRAWS: u64 = 4_096;
        for (bits, size) in [(8, 1.0), (4, 1e-12), (2, 1e30)] {
            let gradient: Vec<f32> = normal(256).iter().map(|g| g * size).collect();
            let largest = gradient.iter().fold(0.0_f32, |all, g| all.max(g.abs()));
            let scale = f64::from(largest) / f64::from((1 << (bits - 1)) - 1);
            let mut errors = vec![(0.0, 0.0); gradient.len()]; // sums of the error and its square
            for pass in 0..DRAWS {
                let mut quantized = gradient.clone();
                dynamic().quantize(&mut quantized, width(bits), pass).unwrap();
                for (errors, (q, g)) in errors.iter_mut().zip(quantized.iter().zip(&gradient)) {
                    let error = (f64::from(*q) - f64::from(*g)) / scale;
                    assert!(error.abs() < 1.0 + 1e-5, "{bits} bits: {error} steps");
                    *errors = (errors.0 + error, errors.1 + error * error);
                }
            }
            let draws = DRAWS as f64;
            let (mut deviations, mut counted) = (0.0, 0.0);
            let mut exceed = 0;
            for (&g, (sum, squares)) in gradient.iter().zip(errors) {
                let places = f64::from(g) / scale;
                let fraction = places - places.floor();
                let variance = fraction * (1.0 - fraction);
                // In standard errors, after the rounding of the product to f32 (2^-24 of 127 steps).
                let mean = ((sum / draws).abs() - 1e-5).max(0.0);
                if variance > 1e-3 {
                    let deviation = mean / (variance / draws).sqrt();
                    exceed += usize::from(deviation > 4.0);
                    deviations += deviation * deviation;
                    counted += 1.0;
                } else {
                    assert!(mean < 20.0 / draws, "{mean}"); // expected: at most 4 of 4,096 draws
                }
                // A squared error is f^2 or (1 - f)^2: standard deviation |1 - 2f| sqrt(f (1 - f)), at
                // most 1/4, and that of its mean 1/256; five of them.
                assert!((squares / draws - variance).abs() < 5.0 / 256.0, "{squares}, {variance}");
            }
            // At most 256 elements with probability 6.3e-5 each: two or more once in 8,000 seeds.
            assert!(exceed <= 1, "{bits} bits: {exceed}");
            // A chi-squared variable over its degrees of freedom; five standard deviations.
            let spread = 5.0 * f64::sqrt(2.0 / counted);
            assert!((deviations / counted - 1.0).abs() < spread, "{deviations} of {counted}");
        }
    }

    #[test]
    fn zero_and_the_largest_stay_and_nothing_is_clipped() {
        let gradient = [0.0, -0.0, 3.0, -3.0, 1e-20, 0.0];
        for (bits, pass) in [2, 3, 8, 16].into_iter().flat_map(|b| (0..200).map(move |p| (b, p))) {
            let mut found = gradient;
            dynamic().quantize(&mut found, width(bits), pass).unwrap();
            assert_eq!((found[..4].to_vec(), found[5]), (vec![0.0, 0.0, 3.0, -3.0], 0.0));
        }
        let mut zeros = [0.0; 3];
        dynamic().quantize(&mut zeros, width(8), 0).unwrap();
        assert_eq!(zeros, [0.0; 3]);
        dynamic().quantize(&mut [], width(8), 0).unwrap();
    }

    #[test]
    fn a_sum_that_would_round_up_does_not() {
        // 127 + (1 - 2^-53) is 128 in f64.
        let u = 1.0 - 2f64.powi(-53);
        assert_eq!(127.0 + u, 128.0);
        assert_eq!(round(127.0, u), 127.0);
        // (x, u, floor(x + u))
        for (x, u, expected) in
            [(2.25, 0.74, 2.0), (2.25, 0.75, 3.0), (-2.25, 0.24, -3.0), (-2.25, 0.25, -2.0)]
        {
            assert_eq!(round(x, u), expected, "{x} + {u}");
        }
    }

    #[test]
    fn passes_differ_and_threads_do_not_matter() {
        let quantized = |pass, threads| {
            let mut gradient = normal(3 * CHUNK + 11);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| dynamic().quantize(&mut gradient, width(4), pass).unwrap());
            gradient
        };
        assert_eq!(quantized(3, 1), quantized(3, 2));
        assert_ne!(quantized(3, 1), quantized(4, 1));
    }

    #[test]
    fn a_calibrated_scale_rounds_to_nearest_and_clips() {
        let calibrated = GradientQuantizer::Calibrated(Params::scale(0.5));
        let mut gradient = [0.0, 0.24, 0.25, 0.75, -0.8, 100.0, -100.0];
        calibrated.quantize(&mut gradient, width(8), 0).unwrap();
        assert_eq!(gradient, [0.0, 0.0, 0.0, 1.0, -1.0, 63.5, -63.5]);
    }

    #[test]
    fn a_calibrated_scale_may_be_as_small_as_gradients_are() {
        let gradient = normal(2_000);
        let codes_at = |factor: f32| {
            let gradient: Vec<f32> = gradient.iter().map(|g| g * factor).collect();
            let extent = extremes(&gradient).unwrap().unwrap();
            let params = Symmetric {}.params(extent, width(8)).unwrap();
            let mut quantized = gradient;
            GradientQuantizer::Calibrated(params).quantize(&mut quantized, width(8), 0).unwrap();
            quantized.iter().map(|g| g / params.scale).collect::<Vec<_>>()
        };
        let expected = codes_at(1.0);
        assert!(expected.iter().filter(|&&code| code != 0.0).count() > 1_900);
        assert_eq!(codes_at(2.0_f32.powi(-30)), expected); // 9.3e-10
    }

    #[test]
    fn a_calibrated_scale_that_is_none_is_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let calibrated = GradientQuantizer::Calibrated(Params::scale(scale));
            let error = calibrated.quantize(&mut [0.1], width(8), 0).unwrap_err();
            assert!(matches!(error, QuantizerError::Params { group: 0, .. }), "{error}");
        }
    }

    #[test]
    fn extremes_are_finite_full_width_is_the_identity_and_the_rest_is_refused() {
        for size in [f32::from_bits(1), f32::MIN_POSITIVE, 1e30, f32::MAX] {
            let mut gradient = [size, -size / 3.0, 0.0];
            dynamic().quantize(&mut gradient, width(8), 0).unwrap();
            assert!(gradient[0] == size && gradient[1].abs() <= size, "{gradient:?}");
        }
        let mut gradient = [0.1, f32::NAN];
        dynamic().quantize(&mut gradient, BitWidth::FULL, 0).unwrap();
        assert!(gradient[0] == 0.1 && gradient[1].is_nan());
        for quantizer in [dynamic(), GradientQuantizer::Calibrated(Params::scale(1.0))] {
            let error = |bits| {
                quantizer.quantize(&mut [0.1, f32::NAN], width(bits), 0).unwrap_err().to_string()
            };
            assert_eq!(error(8), "value 1 is NaN, expected a finite number");
            assert_eq!(error(1), "the grid `symmetric` has no codes of 1 bits, expected 2 to 16");
        }
    }
}
