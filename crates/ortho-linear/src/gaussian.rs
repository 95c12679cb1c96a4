//! What clipping, rounding and extracting do to a normal distribution, in closed form.
//!
//! # Definition
//! For a standard normal variable with density $\varphi$ and upper tail $Q$, and a threshold $c$ in standard
//! deviations, relative errors are roots of shares of the variance:
//! * clipping to $[-c, c]$: $e(c) = \sqrt{2\,[(1 + c^2)\,Q(c) - c\,\varphi(c)]}$;
//! * extracting what is beyond $c$: $\sqrt{2\,[Q(c) + c\,\varphi(c)]}$, the root of its energy;
//! * rounding to multiples of $c/q$ up to $\pm c$: the integral of $(x - \hat x)^2 \varphi(x)$, a sum over
//!   the cells of $\int_l^u (x - a)^2 \varphi = (1 + a^2)\,(Q(l) - Q(u)) - (u\varphi(u) - l\varphi(l)) +
//!   2a\,(\varphi(u) - \varphi(l))$.
//!
//! The shortcut of adding clipping and $c/(q\sqrt{12})$ in quadrature overstates 4 bits, since what is
//! clipped is not rounded.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// $\varphi(x)$.
fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// $Q(x)$.
fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * FRAC_1_SQRT_2)
}

/// The share of a normal distribution beyond $\pm c$.
pub fn share_beyond(c: f64) -> f64 {
    2.0 * tail(c)
}

/// The threshold $c$ beyond which a share `p`, above 0 and at most 1, of a normal distribution lies on
/// both sides; NaN of other shares.
pub fn threshold(p: f64) -> f64 {
    if !(p > 0.0 && p <= 1.0) {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if share_beyond(middle) > p { low = middle } else { high = middle }
    }
    high
}

/// $e(c)$, the relative error of clipping to $\pm c$ standard deviations.
pub fn clip_error(c: f64) -> f64 {
    (2.0 * ((1.0 + c * c) * tail(c) - c * density(c))).max(0.0).sqrt()
}

/// The relative error of setting what is beyond $\pm c$ standard deviations to zero.
pub fn extract_error(c: f64) -> f64 {
    (2.0 * (tail(c) + c * density(c))).sqrt()
}

/// The relative error of rounding to multiples of `c / levels` and clipping to $\pm c$.
pub fn rounding_error(c: f64, levels: u32) -> f64 {
    (unclipped_error(c, levels).powi(2) + clip_error(c).powi(2)).sqrt()
}

/// The same over what is within $\pm c$ alone: of a sample whose largest magnitude is $c$.
pub fn unclipped_error(c: f64, levels: u32) -> f64 {
    let step = c / f64::from(levels);
    let cell = |level: u32| {
        let a = f64::from(level) * step;
        let (l, u) = ((a - 0.5 * step).max(0.0), (a + 0.5 * step).min(c));
        let mass = tail(l) - tail(u);
        (1.0 + a * a) * mass - (u * density(u) - l * density(l))
            + 2.0 * a * (density(u) - density(l))
    };
    (2.0 * (0..=levels).map(cell).sum::<f64>()).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative errors in percent, as printed.
    fn is(found: f64, percent: f64, digits: f64) {
        assert!((100.0 * found - percent).abs() <= 0.5 * digits, "{found} {percent}");
    }

    #[test]
    fn extracting_and_clamping_the_largest() {
        for (p, c, energy, extract, clamp) in [
            (0.0005, 3.481, 0.70, 8.36, 0.778),
            (0.001, 3.291, 1.27, 11.27, 1.148),
            (0.005, 2.807, 4.86, 22.04, 2.876),
            (0.01, 2.576, 8.45, 29.07, 4.310),
            (0.05, 1.960, 27.91, 52.83, 11.390),
            (0.1, 1.645, 43.93, 66.28, 17.683),
        ] {
            let found = threshold(p);
            assert!((found - c).abs() < 0.001, "{found} {c}");
            is(extract_error(found), extract, 0.011);
            is(extract_error(found).powi(2), energy, 0.011);
            is(clip_error(found), clamp, 0.0011);
        }
        is(share_beyond(3.0), 0.270, 0.001);
        is(share_beyond(4.0), 0.0063, 0.0001);
        is(extract_error(3.0), 17.12, 0.011);
        is(clip_error(3.0), 2.017, 0.0011);
        // Fences at q3 + k (q3 - q1) with q3 = .67449: 2.698 and 3.372.
        for (k, percent) in [(1.5, 0.698), (2.0, 0.0745), (3.0, 0.0002)] {
            is(share_beyond(0.674_489_750_2 * (1.0 + 2.0 * k)), percent, 0.001);
        }
        assert!(threshold(1.0).abs() < 1e-12 && threshold(0.0).is_nan());
    }

    /// The widening search of the published rule goes the wrong way.
    #[test]
    fn lower_percentiles_clip_more() {
        for (percentile, percent) in
            [(0.90, 17.68), (0.85, 23.09), (0.80, 28.05), (0.75, 32.74), (0.70, 37.28)]
        {
            is(clip_error(threshold(1.0 - percentile)), percent, 0.011);
        }
    }

    #[test]
    fn steps_and_clip() {
        for (p, int8, int4) in [
            (0.10, 17.686, 18.818),
            (0.05, 11.398, 13.850),
            (0.01, 4.349, 11.416),
            (0.005, 2.945, 11.901),
            (0.001, 1.370, 13.612),
        ] {
            let c = threshold(p);
            is(rounding_error(c, 127), int8, 0.0011);
            is(rounding_error(c, 7), int4, 0.0011);
        }
        is(rounding_error(3.0, 127), 2.129, 0.0011);
        is(rounding_error(3.0, 7), 12.519, 0.0011);
        // The largest of 64 to 589,824 values, without clipping: close to c / (q sqrt 12).
        for (c, int8) in [(2.596, 0.598), (3.626, 0.827), (4.896, 1.114)] {
            is(unclipped_error(c, 127), int8, 0.03);
        }
        is(unclipped_error(3.626, 7), 15.01, 0.3);
    }
}
