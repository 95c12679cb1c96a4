//! The inner loop of the MSE search: the error of one candidate over a slice, many values at a time.
//!
//! # Definition
//! With $u = (x - o) / s$, the reciprocal of $s$ taken once, the sum over a slice of
//! $|u - r(\operatorname{clamp}(u, a, b))|^p$, where $r$ rounds half to even, or is the identity for the
//! error that is due to clipping alone. The ends $a$ and $b$ are integers, so that it does not matter
//! whether the clamp precedes the rounding.
//!
//! Partial sums run in lanes, value $i$ of a block of 4,096 in lane $i \bmod 64$, and are folded in
//! halves; blocks are added in `f64`. Every instruction set gives the same bits.

use multiversion::multiversion;

/// Partial sums.
const LANES: usize = 64;

/// Values added up in f32: they stay in the first cache while several candidates pass over them.
const BLOCK: usize = 4_096;

/// $1.5 \cdot 2^{23}$: added and taken away again, it leaves a number below $2^{22}$ rounded half to even.
const ROUND: f32 = 12_582_912.0;

/// Codes laid over the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// $s$.
    pub(super) scale: f32,
    /// $o$.
    pub(super) offset: f32,
    /// $a$ and $b$, integers of at most $2^{22}$.
    pub(super) ends: (f32, f32),
}

/// The error of each line: the sum over `values` of $|x - \hat x|^p$.
pub(super) fn errors(values: &[f32], lines: &[Line], p: f32) -> Vec<f64> {
    let block = if p == 2.0 { squares::<true> } else { powers::<true> };
    sums(values, lines, p, block)
}

/// The part of the error of a line that is due to clipping.
pub(super) fn clipped(values: &[f32], line: Line, p: f32) -> f64 {
    let block = if p == 2.0 { squares::<false> } else { powers::<false> };
    sums(values, &[line], p, block)[0]
}

fn sums(
    values: &[f32],
    lines: &[Line],
    p: f32,
    block: impl Fn(&[f32], Line, f32) -> f32,
) -> Vec<f64> {
    let mut sums = vec![0.0; lines.len()];
    for values in values.chunks(BLOCK) {
        for (sum, &line) in sums.iter_mut().zip(lines) {
            *sum += f64::from(block(values, line, p));
        }
    }
    for (sum, line) in sums.iter_mut().zip(lines) {
        let scale = f64::from(line.scale);
        *sum *= if p == 2.0 { scale * scale } else { scale.powf(f64::from(p)) };
    }
    sums
}

#[multiversion(targets = "simd")]
fn squares<const CODES: bool>(values: &[f32], line: Line, _p: f32) -> f32 {
    let inverse = 1.0 / line.scale;
    lanes(values, |x| {
        let d = deviation::<CODES>(x, inverse, line);
        d * d
    })
}

#[multiversion(targets = "simd")]
fn powers<const CODES: bool>(values: &[f32], line: Line, p: f32) -> f32 {
    let inverse = 1.0 / line.scale;
    lanes(values, |x| power(deviation::<CODES>(x, inverse, line).abs(), p))
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn lanes(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += term(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += term(x);
    }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        half /= 2;
    }
    lanes[0]
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn deviation<const CODES: bool>(x: f32, inverse: f32, line: Line) -> f32 {
    let u = (x - line.offset) * inverse;
    // Two comparisons, in the order of the instructions, where `clamp` would watch for a NaN.
    let c = if u > line.ends.0 { u } else { line.ends.0 };
    let c = if c < line.ends.1 { c } else { line.ends.1 };
    u - if CODES { (c + ROUND) - ROUND } else { c }
}

/// $d^p = 2^{p \log_2 d}$ for $d \ge 0$, to some parts in $10^6$; 0 where it is below $10^{-37}$.
///
/// $\log_2$ is the exponent plus $\frac{2}{\ln 2} \operatorname{artanh} \frac{m-1}{m+1}$ of the mantissa
/// $m \in [\sqrt{1/2}, \sqrt 2)$, to the seventh power; $2^t$ is Taylor's series, to the sixth.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[expect(clippy::cast_possible_wrap, reason = "bit patterns")]
#[expect(clippy::cast_sign_loss, reason = "bit patterns")]
#[inline(always)]
fn power(d: f32, p: f32) -> f32 {
    const ROOT_HALF: i32 = 0x3f35_04f3;
    const LN_2: f32 = std::f32::consts::LN_2;
    let bits = d.to_bits() as i32;
    let exponent = (bits - ROOT_HALF) >> 23;
    let m = f32::from_bits((bits - (exponent << 23)) as u32);
    let y = (m - 1.0) / (m + 1.0);
    let y2 = y * y;
    let artanh = y * (1.0 + y2 * (1.0 / 3.0 + y2 * (0.2 + y2 * (1.0 / 7.0))));
    let t = p * (exponent as f32 + 2.0 / LN_2 * artanh);
    let t = if t > -125.0 { t } else { -125.0 };
    let t = if t < 125.0 { t } else { 125.0 };
    let whole = t + ROUND;
    let x = (t - (whole - ROUND)) * LN_2;
    let taylor = 1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0));
    let taylor = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * taylor)));
    let shift = (whole.to_bits() as i32 - ROUND.to_bits() as i32) << 23;
    if t > -125.0 { f32::from_bits((taylor.to_bits() as i32 + shift) as u32) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Codes, Levels, Mask, Params};

    #[test]
    fn powers_are_those_of_the_library() {
        for p in [0.5, 1.0, 2.0, 2.4, 3.7] {
            for k in -60..20 {
                for d in [1.0_f32, 1.1, 1.4, 1.42, 1.999].map(|m| m * 2.0_f32.powi(k)) {
                    let exact = f64::from(d).powf(f64::from(p));
                    if (1e-37..1e37).contains(&exact) {
                        let error = f64::from(power(d, p)) / exact - 1.0;
                        assert!(error.abs() < 2e-5, "{d}^{p}: {error}");
                    }
                }
            }
            assert_eq!(power(0.0, p), 0.0);
        }
    }

    /// Against the grid's own arithmetic, in lengths around the lanes and the blocks.
    #[test]
    fn errors_are_those_of_the_codes() {
        let codes = Codes { levels: Levels::Integers { min: -3, max: 4 }, mask: Mask::Rounded };
        let params = Params { scale: 0.37, zero_point: 0, offset: 0.21 };
        let line = Line { scale: 0.37, offset: 0.21, ends: (-3.0, 4.0) };
        for len in [0, 1, 63, 64, 65, 4_096, 9_000] {
            let mut values = vec![0.0; len];
            Key::from_seed(4).fill_normal(0, &mut values);
            for p in [2.0, 2.4] {
                let error = |y: fn(&Codes, f32, &Params) -> f32| -> f64 {
                    let distance = |&x: &f32| f64::from(x) - f64::from(y(&codes, x, &params));
                    values.iter().map(|x| distance(x).abs().powf(f64::from(p))).sum()
                };
                let exact = error(|codes, x, params| codes.quantize(x, params));
                let fast = errors(&values, &[line, line], p);
                assert_eq!(fast[0], fast[1]);
                assert!((fast[0] - exact).abs() <= 2e-5 * exact, "{len}, {p}: {fast:?}, {exact}");
                let exact = error(|_, x, _| x.clamp(0.21 - 3.0 * 0.37, 0.21 + 4.0 * 0.37));
                let fast = clipped(&values, line, p);
                assert!((fast - exact).abs() <= 2e-5 * exact, "{len}, {p}: {fast}, {exact}");
            }
        }
    }
}
