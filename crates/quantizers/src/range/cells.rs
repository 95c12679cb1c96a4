//! The squared error of any levels, from sums of powers of the values below a threshold.
//!
//! # Definition
//! With $S_j(t)$ the sum of $x^j$ over the values below $t$, the level $v$ whose cell reaches from $t$
//! to $t'$ costs
//! $$ \Delta S_2 - 2 v\,\Delta S_1 + v^2\,\Delta S_0, \qquad \Delta S_j = S_j(t') - S_j(t), $$
//! where cells end halfway between two levels, or where rounding changes sides. A candidate costs as many look-ups as it has levels,
//! however many values there are.

use crate::{Codes, Levels, Params};

/// What is known of values: the sums of their powers 0, 1 and 2 below any threshold.
pub(super) trait Moments {
    /// $S_0(t), S_1(t), S_2(t)$; the totals at infinity.
    fn below(&self, t: f64) -> [f64; 3];
}

/// The sum of $(x - \hat x)^2$.
pub(super) fn squared_error(moments: &impl Moments, codes: &Codes, params: &Params) -> f64 {
    let (scale, offset) = (f64::from(params.scale), f64::from(params.offset));
    match &codes.levels {
        Levels::Integers { min, max } => {
            let value = |q: i32| f64::from(q - params.zero_point) * scale + offset;
            sum(moments, (*min..=*max).map(|q| (value(q), value(q) + 0.5 * scale)))
        }
        Levels::Table(levels) | Levels::Logarithms(levels) => {
            let above = levels[1..].iter().chain(levels.last());
            let cell = |(&level, &above)| {
                let border = codes.levels.border(level, above);
                (f64::from(level) * scale + offset, border * scale + offset)
            };
            sum(moments, levels.iter().zip(above).map(cell))
        }
    }
}

/// The same for levels in ascending order, each with the end of its cell, the last of which is not used.
fn sum(moments: &impl Moments, cells: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut sum = 0.0;
    let mut below = [0.0; 3];
    let mut cells = cells.peekable();
    while let Some((level, end)) = cells.next() {
        let end = if cells.peek().is_some() { end } else { f64::INFINITY };
        let threshold = moments.below(end);
        sum += cost(level, below, threshold);
        below = threshold;
    }
    sum
}

/// The sum of squared distances from the interval between `low` and `high`.
pub(super) fn clipped(moments: &impl Moments, (low, high): (f64, f64)) -> f64 {
    cost(low, [0.0; 3], moments.below(low))
        + cost(high, moments.below(high), moments.below(f64::INFINITY))
}

/// The least and the greatest value that codes stand for.
pub(super) fn ends(codes: &Codes, params: &Params) -> (f64, f64) {
    let (low, high) = match &codes.levels {
        Levels::Integers { min, max } => (*min, *max),
        Levels::Table(levels) | Levels::Logarithms(levels) => {
            (0, i32::try_from(levels.len() - 1).unwrap_or(i32::MAX))
        }
    };
    (f64::from(codes.value(low, params)), f64::from(codes.value(high, params)))
}

fn cost(level: f64, from: [f64; 3], to: [f64; 3]) -> f64 {
    let [s0, s1, s2] = [0, 1, 2].map(|j| to[j] - from[j]);
    (s2 - 2.0 * level * s1 + level * level * s0).max(0.0)
}
