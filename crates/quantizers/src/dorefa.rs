//! Weights of `DoReFa`: squashed by a hyperbolic tangent to [-1, 1], then rounded.
//!
//! # Definition
//! With $t = \tanh w$, $M = \max |t|$ over the tensor and $n = 2^b - 1$,
//! $$ r = \frac{t}{2 M} + \frac12, \qquad \hat w = \frac2n \operatorname{round}(n r) - 1; \qquad
//!    \hat w = \operatorname{sign}(w)\,\operatorname{mean} |w| \ \text{ at 1 bit}: $$
//! $2^b$ levels, without a zero. The gradient passes the rounding as it is and follows tangent and
//! maximum: with $g$ that of $\hat w$,
//! $$ \frac{\partial L}{\partial w_i} = (1 - t_i^2) \Bigl( \frac{g_i}{M}
//!    {} - \frac{[\,|t_i| = M\,]\,\operatorname{sign} t_i}{M^2} \sum_k g_k t_k \Bigr), $$
//! the second term shared by those that attain the maximum. At 1 bit it is $g$, the mean held.
//!
//! # Not a grid
//! A [`Grid`](crate::Grid) is levels around $s$: what it makes of $x$ is near $x$, of $2x$ is twice as much,
//! and of its own levels is themselves. This is none of it: $\hat w$ fills [-1, 1] whatever the
//! size of $w$, the levels depend on $w$ through a tangent, and level 7/15 of 4 bits goes to 9/15. There is no
//! range to choose and no scale to learn. Its activations need nothing of the kind: clipped to [0, 1] and
//! rounded, they are [`Pact`](crate::Pact) with the scale $1 / (2^b - 1)$.
//!
//! # Reference
//! S. Zhou et al., *DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low Bitwidth
//! Gradients*, 2016, arXiv:1606.06160; code: tensorpack, `examples/DoReFa-Net/dorefa.py`.
//!
//! # Notes on the reference implementation
//! At 1 bit it gives zero a third value, 0; here zero is positive. $M$ of a tensor
//! of zeros is [`LEAST_SCALE`], so that it has values and a gradient.

use crate::quantizer::check_finite;
use crate::{BitWidth, LEAST_SCALE, QuantizerError};

/// $\hat w$ of `weights`, `[n]`, one tensor: at most $2^b$ values. At 32 bits the weights, bit for bit.
///
/// # Errors
/// [`QuantizerError::NotFinite`].
pub fn quantize(weights: &[f32], bits: BitWidth) -> Result<Vec<f32>, QuantizerError> {
    if bits.is_full() {
        return Ok(weights.to_vec());
    }
    check_finite(weights)?;
    if bits.get() == 1 {
        let sum: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
        let mean = (sum / weights.len().max(1) as f64) as f32;
        return Ok(weights.iter().map(|&w| if w < 0.0 { -mean } else { mean }).collect());
    }
    let greatest = f64::from((1_u32 << bits.get()) - 1);
    let largest = largest_tangent(weights);
    let level = |&w: &f32| {
        let r = f64::from(w).tanh() / (2.0 * largest) + 0.5;
        (2.0 * (greatest * r).round_ties_even() / greatest - 1.0) as f32
    };
    Ok(weights.iter().map(level).collect())
}

/// The gradient of `weights`, `[n]`, from `output`, `[n]`, that of their quantised values.
///
/// # Errors
/// [`QuantizerError::NotFinite`] for a weight.
///
/// # Panics
/// If the lengths differ.
pub fn gradient(
    weights: &[f32],
    bits: BitWidth,
    output: &[f32],
) -> Result<Vec<f32>, QuantizerError> {
    assert_eq!(weights.len(), output.len(), "one gradient a weight");
    if bits.is_full() {
        return Ok(output.to_vec());
    }
    check_finite(weights)?;
    if bits.get() == 1 {
        return Ok(output.to_vec());
    }
    let largest = largest_tangent(weights);
    let pairs = || weights.iter().map(|&w| f64::from(w).tanh()).zip(output);
    let along: f64 = pairs().map(|(t, &g)| f64::from(g) * t).sum();
    let count = pairs().filter(|(t, _)| t.abs() >= largest).count().max(1) as f64;
    let of_weight = |(t, &g): (f64, &f32)| {
        let of_maximum =
            if t.abs() >= largest { t.signum() * along / (largest * count) } else { 0.0 };
        ((1.0 - t * t) * (f64::from(g) - of_maximum) / largest) as f32
    };
    Ok(pairs().map(of_weight).collect())
}

/// $M$.
fn largest_tangent(weights: &[f32]) -> f64 {
    let largest = weights.iter().fold(0.0_f32, |all, w| all.max(w.abs()));
    let least = if largest > 0.0 { f32::MIN_POSITIVE } else { LEAST_SCALE };
    f64::from(largest).tanh().max(least.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use counter_rng::Key;

    use super::*;

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    #[test]
    fn two_and_three_bits_by_hand() {
        let w = [-1.0, -0.3, 0.0, 0.2, 0.8];
        // t = -.7616, -.2913, 0, .1974, .6640, over 2 x .7616, and .5: r = 0, .309, .5, .630, .936
        // 3 r = 0, .93, 1.5, 1.89, 2.81; 7 r = 0, 2.16, 3.5, 4.41, 6.55: ties to 2 and to 4
        let third = 1.0 / 3.0;
        assert_eq!(quantize(&w, width(2)).unwrap(), [-1.0, -third, third, third, 1.0]);
        let at_3_bits = [-1.0, -3.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0, 1.0];
        assert_eq!(quantize(&w, width(3)).unwrap(), at_3_bits);
        assert_eq!(quantize(&[-1.0, 0.5, 0.0, -0.5], width(1)).unwrap(), [-0.5, 0.5, 0.5, -0.5]);
    }

    #[test]
    fn a_level_need_not_stay() {
        let levels: Vec<f32> = (0..16_u8).map(|q| f32::from(q) * 2.0 / 15.0 - 1.0).collect();
        let again = quantize(&levels, width(4)).unwrap();
        assert!((levels[11] - 7.0 / 15.0).abs() < 1e-6 && (again[11] - 9.0 / 15.0).abs() < 1e-6);
    }

    #[test]
    fn at_most_two_to_the_b_values_finite_and_the_identity_at_full_width() {
        let mut normal = vec![0.0; 3_000];
        Key::from_seed(6).fill_normal(0, &mut normal);
        let map = |f: &dyn Fn(f32) -> f32| normal.iter().map(|&x| f(x)).collect::<Vec<_>>();
        for weights in [normal.clone(), map(&|_| 0.0), map(&|x| x * 1e30), map(&|x| x * 1e-30)] {
            for bits in 1..=8 {
                let found = quantize(&weights, width(bits)).unwrap();
                let distinct: HashSet<u32> = found.iter().map(|x| x.to_bits()).collect();
                assert!(distinct.len() <= 1 << bits && found.iter().all(|x| x.is_finite()));
                let found = gradient(&weights, width(bits), &normal).unwrap();
                assert!(found.iter().all(|x| x.is_finite()));
            }
        }
        assert_eq!(quantize(&normal, BitWidth::FULL).unwrap(), normal);
        assert_eq!(gradient(&normal, BitWidth::FULL, &normal).unwrap(), normal);
        assert!(quantize(&[], width(1)).unwrap().is_empty());
    }

    #[test]
    fn the_gradient_is_the_derivative_of_the_surrogate() {
        // Without the rounding, w_hat = t/M; the maximum is attained once.
        let w = [-1.0_f32, -0.3, 0.0, 0.2, 0.8];
        let g = [0.7_f32, -1.0, 2.0, 0.5, 1.5];
        let loss = |w: &[f64]| -> f64 {
            let t: Vec<f64> = w.iter().map(|w| w.tanh()).collect();
            let largest = t.iter().fold(0.0_f64, |all, t| all.max(t.abs()));
            t.iter().zip(g).map(|(t, g)| f64::from(g) * t / largest).sum()
        };
        let found = gradient(&w, width(4), &g).unwrap();
        for (place, found) in found.into_iter().enumerate() {
            let at = |h: f64| {
                let mut w = w.map(f64::from);
                w[place] += h;
                loss(&w)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((f64::from(found) - expected).abs() < 1e-6, "{place}: {found}, {expected}");
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for bits in [1, 4] {
            let error = quantize(&[0.0, f32::NAN], width(bits)).unwrap_err().to_string();
            assert_eq!(error, "value 1 is NaN, expected a finite number");
            let error = gradient(&[0.0, f32::INFINITY], width(bits), &[0.0; 2]).unwrap_err();
            assert!(matches!(error, QuantizerError::NotFinite { index: 1, .. }));
        }
    }
}
