//! The inner loops of the searches: the error of one candidate over a slice, many values at a time.
//!
//! # Definition
//! With $u = (x - o) / s$, the reciprocal of $s$ taken once, the sum over a slice of
//! * $|u - \operatorname{round}(\operatorname{clamp}(u, a, b))|^p$ for integer codes, where $a$ and $b$ are
//!   integers, so that it does not matter whether the clamp precedes the rounding;
//! * $|u - l_k|^p$ for a table, of the level $k$ that $u$ has;
//! * $|u - \operatorname{clamp}(u, a, b)|^p$ for the error that is due to clipping alone.
//!
//! Partial sums run in lanes, value $i$ of a block of 4,096 in lane $i \bmod 32$, and are folded in
//! halves; blocks are added in `f64`. Every instruction set gives the same bits.

use multiversion::multiversion;

use super::search::BATCH;
use crate::kernel::Table;
use crate::{Codes, Levels, Params};

/// Partial sums.
const LANES: usize = 32;

/// Values added up in f32: they stay in the first cache while several candidates pass over them.
const BLOCK: usize = 4_096;

/// $1.5 \cdot 2^{23}$: added to a number below $2^{22}$, it leaves the nearest integer in the last bits.
const ROUND: f32 = 12_582_912.0;

/// Codes laid over the values.
#[derive(Debug, Clone, Copy)]
struct Line {
    inverse: f32,
    offset: f32,
    /// $a$ and $b$.
    ends: (f32, f32),
}

impl Line {
    fn new(codes: &Codes, params: &Params) -> Self {
        let ends = match &codes.levels {
            Levels::Integers { min, max } => {
                ((min - params.zero_point) as f32, (max - params.zero_point) as f32)
            }
            Levels::Table(levels) | Levels::Logarithms(levels) => {
                (levels[0], levels[levels.len() - 1])
            }
        };
        Self { inverse: 1.0 / params.scale, offset: params.offset, ends }
    }
}

/// The error of each candidate, at most [`BATCH`]: the sum over `values` of $|x - \hat x|^p$.
pub(super) fn errors(values: &[f32], codes: &Codes, candidates: &[Params], p: f32) -> [f64; BATCH] {
    match &codes.levels {
        Levels::Integers { .. } => sums(values, codes, candidates, p, distances::<true>),
        Levels::Table(levels) if levels.len() <= SMALL => {
            let mut padded = [levels[0]; SMALL];
            padded[..levels.len()].copy_from_slice(levels);
            sums(values, codes, candidates, p, |x, line, p| to_small_table(x, &padded, line, p))
        }
        levels => match Table::new(levels) {
            Some(table) => {
                sums(values, codes, candidates, p, |x, line, p| to_table(x, &table, line, p))
            }
            None => sums(values, codes, candidates, p, |x, line, p| to_levels(x, codes, line, p)),
        },
    }
}

/// The part of a candidate's error that is due to clipping.
pub(super) fn clipped(values: &[f32], codes: &Codes, candidate: &Params, p: f32) -> f64 {
    sums(values, codes, &[*candidate], p, distances::<false>)[0]
}

fn sums(
    values: &[f32],
    codes: &Codes,
    candidates: &[Params],
    p: f32,
    block: impl Fn(&[f32], Line, f32) -> f32,
) -> [f64; BATCH] {
    let mut sums = [0.0; BATCH];
    for values in values.chunks(BLOCK) {
        for (sum, params) in sums.iter_mut().zip(candidates) {
            *sum += f64::from(block(values, Line::new(codes, params), p));
        }
    }
    for (sum, params) in sums.iter_mut().zip(candidates) {
        let scale = f64::from(params.scale);
        *sum *= if is_square(p) { scale * scale } else { scale.powf(f64::from(p)) };
    }
    sums
}

#[expect(clippy::float_cmp, reason = "the setting, not a result")]
fn is_square(p: f32) -> bool {
    p == 2.0
}

fn distances<const CODES: bool>(values: &[f32], line: Line, p: f32) -> f32 {
    match (is_square(p), line.offset == 0.0) {
        (true, true) => squares::<CODES, false>(values, line),
        (true, false) => squares::<CODES, true>(values, line),
        (false, _) => powers::<CODES>(values, line, p),
    }
}

#[multiversion(targets = "simd")]
fn squares<const CODES: bool, const OFFSET: bool>(values: &[f32], line: Line) -> f32 {
    lanes(values, |x| {
        let d = deviation::<CODES, OFFSET>(x, line);
        d * d
    })
}

#[multiversion(targets = "simd")]
fn powers<const CODES: bool>(values: &[f32], line: Line, p: f32) -> f32 {
    lanes(values, |x| power(deviation::<CODES, true>(x, line).abs(), p))
}

/// Levels of a table that fit the registers.
const SMALL: usize = 16;

#[multiversion(targets = "simd")]
fn to_small_table(values: &[f32], levels: &[f32; SMALL], line: Line, p: f32) -> f32 {
    let distance = |x: f32| {
        let u = (x - line.offset) * line.inverse;
        let mut least = f32::INFINITY;
        for level in levels {
            let distance = (u - level).abs();
            least = if distance < least { distance } else { least };
        }
        least
    };
    if is_square(p) {
        lanes(values, |x| distance(x) * distance(x))
    } else {
        lanes(values, |x| power(distance(x), p))
    }
}

#[multiversion(targets = "simd")]
fn to_table(values: &[f32], table: &Table, line: Line, p: f32) -> f32 {
    let distance = |x: f32| {
        let u = (x - line.offset) * line.inverse;
        (u - table.search(u)).abs()
    };
    if is_square(p) {
        lanes(values, |x| distance(x) * distance(x))
    } else {
        lanes(values, |x| power(distance(x), p))
    }
}

/// Any number of levels.
fn to_levels(values: &[f32], codes: &Codes, line: Line, p: f32) -> f32 {
    lanes(values, |x| {
        let u = (x - line.offset) * line.inverse;
        power((u - codes.quantize(u, &Params::scale(1.0))).abs(), p)
    })
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn lanes(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let [sum] = lanes_of(values, |x| [term(x)]);
    sum
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn lanes_of<const N: usize>(values: &[f32], term: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0; LANES]; N];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in block.iter().enumerate() {
            let terms = term(x);
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        let terms = term(x);
        for (lanes, term) in lanes.iter_mut().zip(terms) {
            lanes[lane] += term;
        }
    }
    let mut sums = [0.0; N];
    for (sum, lanes) in sums.iter_mut().zip(&mut lanes) {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        *sum = lanes[0];
    }
    sums
}

/// What an iteration of half-quadratic quantisation works with.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfQuadratic {
    /// What is taken off the values, and the reciprocal of the scale of the rest.
    pub(super) low: f32,
    pub(super) inverse: f32,
    /// $z$ of the rest.
    pub(super) zero_point: f32,
    /// $q_{min}$ and $q_{max}$.
    pub(super) ends: (f32, f32),
    pub(super) beta: f32,
    /// $p$.
    pub(super) exponent: f32,
}

/// The sums of $|x - r|$ and of $q - (x - e) \bar s$.
pub(super) fn half_quadratic(values: &[f32], step: HalfQuadratic) -> [f64; 2] {
    values.chunks(BLOCK).fold([0.0; 2], |sum, values| {
        let block = half_quadratic_block(values, step);
        [sum[0] + f64::from(block[0]), sum[1] + f64::from(block[1])]
    })
}

#[multiversion(targets = "simd")]
fn half_quadratic_block(values: &[f32], step: HalfQuadratic) -> [f32; 2] {
    let HalfQuadratic { low, inverse, zero_point, ends, beta, exponent } = step;
    let (scale, weight) = (1.0 / inverse, 1.0 / beta);
    lanes_of(values, |x| {
        let u = (x - low) * inverse;
        let q = u + zero_point;
        let q = if q > ends.0 { q } else { ends.0 };
        let q = if q < ends.1 { q } else { ends.1 };
        let q = q.round_ties_even();
        let error = (u - (q - zero_point)) * scale;
        let size = error.abs();
        let shrunk = size - power(size, exponent - 1.0) * weight;
        let shrunk = if shrunk > 0.0 { shrunk.copysign(error) } else { 0.0 };
        [size, q - u + shrunk * inverse]
    })
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn deviation<const CODES: bool, const OFFSET: bool>(x: f32, line: Line) -> f32 {
    let u = if OFFSET { (x - line.offset) * line.inverse } else { x * line.inverse };
    // Two comparisons, in the order of the instructions, where `clamp` would watch for a NaN.
    let c = if u > line.ends.0 { u } else { line.ends.0 };
    let c = if c < line.ends.1 { c } else { line.ends.1 };
    u - if CODES { c.round_ties_even() } else { c }
}

/// $d^p = 2^{p \log_2 d}$ for $d \ge 0$, to some parts in $10^6$ between $10^{-37}$ and $10^{37}$; 0 below.
///
/// $\log_2$ is the exponent plus $\frac{2}{\ln 2} \operatorname{artanh} \frac{m-1}{m+1}$ of the mantissa
/// $m \in [\sqrt{1/2}, \sqrt 2)$, to the seventh power; $2^t$ is Taylor's series, to the sixth.
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
        for p in [-0.3_f32, 0.5, 1.0, 2.0, 2.4, 3.7] {
            for k in -60..20 {
                for d in [1.0_f32, 1.1, 1.4, 1.42, 1.999].map(|m| m * 2.0_f32.powi(k)) {
                    let exact = f64::from(d).powf(f64::from(p));
                    if (1e-37..1e37).contains(&exact) {
                        let error = f64::from(power(d, p)) / exact - 1.0;
                        assert!(error.abs() < 2e-5, "{d}^{p}: {error}");
                    }
                }
            }
            assert!(p < 0.0 || power(0.0, p) < 1e-18, "{p}");
        }
    }

    /// Against the grid's own arithmetic, in lengths around the lanes and the blocks.
    #[test]
    fn errors_are_those_of_the_codes() {
        let integers = Levels::Integers { min: -3, max: 4 };
        let table = Levels::Table(vec![-2.0, -0.5, 0.0, 0.25, 1.5]);
        let of = |n| Levels::Table((0..n).map(|k| 0.1 * (k - n / 2) as f32).collect());
        let params = |offset| Params { scale: 0.37, zero_point: 0, offset };
        for (levels, params, ends) in [
            (integers.clone(), params(0.0), (-3.0 * 0.37, 4.0 * 0.37)),
            (integers, params(0.21), (0.21 - 3.0 * 0.37, 0.21 + 4.0 * 0.37)),
            (table, params(0.21), (0.21 - 2.0 * 0.37, 0.21 + 1.5 * 0.37)),
            (of(40), params(0.21), (0.21 - 2.0 * 0.37, 0.21 + 1.9 * 0.37)),
            (of(400), params(0.21), (0.21 - 20.0 * 0.37, 0.21 + 19.9 * 0.37)),
        ] {
            let codes = Codes::new(levels, Mask::Rounded);
            for (len, p) in
                [0, 1, 31, 63, 64, 65, 4_096, 9_000].iter().flat_map(|&it| [(it, 2.0), (it, 2.4)])
            {
                let mut values = vec![0.0; len];
                Key::from_seed(4).fill_normal(0, &mut values);
                let error = |y: &dyn Fn(f32) -> f32| -> f64 {
                    let distance = |&x: &f32| (f64::from(x) - f64::from(y(x))).abs();
                    values.iter().map(|x| distance(x).powf(f64::from(p))).sum()
                };
                let exact = error(&|x| codes.quantize(x, &params));
                let fast = errors(&values, &codes, &[params, params], p);
                assert_eq!(fast[0], fast[1]);
                assert!((fast[0] - exact).abs() <= 2e-5 * exact, "{len}, {p}: {fast:?}, {exact}");
                let exact = error(&|x| x.clamp(ends.0, ends.1));
                let fast = clipped(&values, &codes, &params, p);
                assert!((fast - exact).abs() <= 2e-5 * exact, "{len}, {p}: {fast}, {exact}");
            }
        }
    }
}
