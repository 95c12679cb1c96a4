//! The pass that a straight-through estimator needs: value, mask and $d$ of every value at once.
//!
//! Inside the mask, $f(u) - u$ is $(s f(u) - (x - o)) / s$ with the numerator in `f64`, where the product
//! is exact: at a code of 255 it still has all its digits.

use multiversion::multiversion;

use super::{Columns, Kernel, Shared, Table};
use crate::{Codes, Derivatives, Levels, Mask, Params, ScaleRule};

/// Values that are written at once.
const BLOCK: usize = 64;

impl Derivatives<'_> {
    /// Writes the first `len` values of `block`, which are few enough to be in the registers or the first
    /// cache, and goes on behind them.
    #[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
    #[inline(always)]
    fn append(&mut self, block: &[[f32; BLOCK]; 3], len: usize) {
        for (out, block) in
            [&mut self.values, &mut self.mask, &mut self.scale].into_iter().zip(block)
        {
            let out = out.split_off_mut(..len).unwrap_or_default();
            out.copy_from_slice(&block[..len]);
        }
    }
}

/// What is made of a level.
#[derive(Clone, Copy)]
struct Rule {
    /// The ends of the mask.
    ends: (f32, f32),
    /// Whether it is the rounded code that must lie between them, not $u$.
    is_rounded: bool,
    /// $d$ inside is `error` $(f(u) - u)$ + `level` $f(u)$, of factors 0 and 1.
    error: f32,
    level: f32,
}

impl Rule {
    fn new(codes: &Codes, rule: ScaleRule) -> Self {
        let (error, level) = match rule {
            ScaleRule::Rounding => (1.0, 0.0),
            ScaleRule::Level => (0.0, 1.0),
            ScaleRule::Clipping => (0.0, 0.0),
        };
        let (ends, is_rounded) = match (codes.mask, &codes.levels) {
            (Mask::Between(low, high), _) => ((low, high), false),
            (Mask::Rounded, Levels::Integers { min, max }) => ((*min as f32, *max as f32), true),
            (Mask::Rounded, Levels::Table(levels) | Levels::Logarithms(levels)) => {
                ((levels[0], levels[levels.len() - 1]), false)
            }
        };
        Self { ends, is_rounded, error, level }
    }

    /// Value, mask and $d$ of `x` whose level is `level`, if `tested` is what the mask looks at.
    #[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
    #[inline(always)]
    fn apply(self, x: f32, scale: f32, offset: f32, level: f32, tested: f32) -> [f32; 3] {
        let passes = self.ends.0 <= tested && tested <= self.ends.1;
        let [wide, wide_scale, wide_level] = [x - offset, scale, level].map(f64::from);
        let error = (wide_level * wide_scale - wide) as f32 / scale;
        let inside = self.error * error + self.level * level;
        let followed = if passes { inside } else { level };
        [level * scale + offset, if passes { 1.0 } else { 0.0 }, followed]
    }
}

/// Value, mask and $d$ of `values`; whether all were finite.
pub(crate) fn derivatives(
    kernel: &Kernel,
    codes: &Codes,
    rule: ScaleRule,
    shared: Shared,
    values: &[f32],
    out: Derivatives,
) -> bool {
    let rule = Rule::new(codes, rule);
    match kernel {
        Kernel::Integers { min, max } => of_integers((*min, *max), rule, shared, values, out),
        Kernel::Table(table) if table.len <= 16 => of_small_table(table, rule, shared, values, out),
        Kernel::Table(table) => of_large_table(table, rule, shared, values, out),
    }
}

#[multiversion(targets = "simd")]
fn of_integers(
    (min, max): (f32, f32),
    rule: Rule,
    shared: Shared,
    values: &[f32],
    out: Derivatives,
) -> bool {
    sweep(shared, values, out, |x, scale, zero_point, offset| {
        let u = (x - offset) / scale;
        let q = u.round_ties_even() + zero_point; // 0, not -0, without a zero point
        let tested = if rule.is_rounded { q } else { u };
        rule.apply(x, scale, offset, q.clamp(min, max) - zero_point, tested)
    })
}

#[multiversion(targets = "simd")]
fn of_small_table(
    table: &Table,
    rule: Rule,
    shared: Shared,
    values: &[f32],
    out: Derivatives,
) -> bool {
    let scan = table.scan::<16>();
    sweep(shared, values, out, |x, scale, _, offset| {
        let u = (x - offset) / scale;
        rule.apply(x, scale, offset, scan(u), u)
    })
}

#[multiversion(targets = "simd")]
fn of_large_table(
    table: &Table,
    rule: Rule,
    shared: Shared,
    values: &[f32],
    out: Derivatives,
) -> bool {
    sweep(shared, values, out, |x, scale, _, offset| {
        let u = (x - offset) / scale;
        rule.apply(x, scale, offset, table.search(u), u)
    })
}

/// `f(x, scale, zero point, offset)` of every value, to three slices; whether all values were finite.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn sweep(
    shared: Shared,
    values: &[f32],
    mut out: Derivatives,
    f: impl Fn(f32, f32, f32, f32) -> [f32; 3],
) -> bool {
    let mut top = 0; // as in `super::sweep`
    match shared {
        Shared::Runs { params, line, run } => {
            let runs = values.chunks(line).flat_map(|line| line.chunks(run));
            for (x, params) in runs.zip(params) {
                let Params { scale, zero_point, offset } = *params;
                let zero_point = zero_point as f32;
                for x in x.chunks(BLOCK) {
                    let mut block = [[0.0; BLOCK]; 3];
                    let [a, b, c] = &mut block;
                    for (((&x, a), b), c) in x.iter().zip(a).zip(b).zip(c) {
                        top = top.max(x.abs().to_bits());
                        [*a, *b, *c] = f(x, scale, zero_point, offset);
                    }
                    out.append(&block, x.len());
                }
            }
        }
        Shared::Columns(Columns { scales, zero_points, offsets, .. }) => {
            for x in values.chunks_exact(scales.len()) {
                let shared = scales.chunks(BLOCK).zip(zero_points.chunks(BLOCK));
                let shared = shared.zip(offsets.chunks(BLOCK));
                for (x, ((scales, zero_points), offsets)) in x.chunks(BLOCK).zip(shared) {
                    let mut block = [[0.0; BLOCK]; 3];
                    let [a, b, c] = &mut block;
                    let shared = scales.iter().zip(zero_points).zip(offsets);
                    for ((((&x, a), b), c), ((s, z), o)) in
                        x.iter().zip(a).zip(b).zip(c).zip(shared)
                    {
                        top = top.max(x.abs().to_bits());
                        [*a, *b, *c] = f(x, *s, *z, *o);
                    }
                    out.append(&block, x.len());
                }
            }
        }
    }
    top < f32::INFINITY.to_bits()
}
