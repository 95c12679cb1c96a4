//! The inner loops of fake quantisation: one pass that divides, rounds, clips and multiplies back.
//!
//! Each gives the bits of [`Codes::quantize`], at any vector width: division is by $s$, never a
//! product with $1/s$, and nothing is contracted. The search in a table has no branch. A pass also
//! says whether all it read was finite.

mod derivatives;

use multiversion::multiversion;

pub(crate) use derivatives::derivatives;

use crate::{Codes, Extent, Levels, Params};

/// The levels of a width, made ready for the loops.
pub(crate) enum Kernel {
    /// The integers between two ends.
    Integers { min: f32, max: f32 },
    /// Levels in ascending order.
    Table(Box<Table>),
}

/// The most levels of a table.
const MAX_LEVELS: usize = 256;

/// The levels of a table and the borders between them, filled up with the last level and infinity.
pub(crate) struct Table {
    /// The place of `u` is the number of borders that it is above.
    borders: [f32; MAX_LEVELS],
    levels: [f32; MAX_LEVELS],
    len: usize,
}

impl Kernel {
    /// `None` for a table of no levels or more than 256.
    pub(crate) fn new(codes: &Codes) -> Option<Self> {
        match &codes.levels {
            Levels::Integers { min, max } => {
                Some(Self::Integers { min: *min as f32, max: *max as f32 })
            }
            levels => Some(Self::Table(Box::new(Table::new(levels)?))),
        }
    }
}

/// The parameters of the values of a pass.
#[derive(Clone, Copy)]
pub(crate) enum Shared<'a> {
    /// One set for each run of values, the last of a line of runs perhaps short.
    Runs { params: &'a [Params], line: usize, run: usize },
    /// One set for each value of a row, the same for all rows.
    Columns(&'a Columns),
}

/// [`Params`] by column.
pub(crate) struct Columns {
    scales: Vec<f32>,
    zero_points: Vec<f32>,
    offsets: Vec<f32>,
    /// Whether zero points and offsets are all 0.
    is_plain: bool,
}

fn is_plain(params: &[Params]) -> bool {
    params.iter().all(|it| it.zero_point == 0 && it.offset == 0.0)
}

impl Columns {
    pub(crate) fn new(params: &[Params]) -> Self {
        Self {
            is_plain: is_plain(params),
            scales: params.iter().map(|it| it.scale).collect(),
            zero_points: params.iter().map(|it| it.zero_point as f32).collect(),
            offsets: params.iter().map(|it| it.offset).collect(),
        }
    }
}

/// Fake-quantises `values` to `out`, of the same length; whether all values were finite.
pub(crate) fn quantize(kernel: &Kernel, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    let is_plain = match shared {
        Shared::Runs { params, .. } => is_plain(params),
        Shared::Columns(columns) => columns.is_plain,
    };
    match kernel {
        Kernel::Integers { min, max } if is_plain => plain(*min, *max, shared, values, out),
        Kernel::Integers { min, max } => shifted(*min, *max, shared, values, out),
        Kernel::Table(table) if table.len <= 4 => small_table(table, shared, values, out),
        Kernel::Table(table) if table.len <= 16 => table_of_16(table, shared, values, out),
        Kernel::Table(table) => large_table(table, shared, values, out),
    }
}

/// Integers without zero point or offset.
#[multiversion(targets = "simd")]
fn plain(min: f32, max: f32, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    sweep(shared, values, out, |x, scale, _, _| {
        // A negative zero becomes zero, as in an integer.
        ((x / scale).round_ties_even() + 0.0).clamp(min, max) * scale
    })
}

#[multiversion(targets = "simd")]
fn shifted(min: f32, max: f32, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    sweep(shared, values, out, |x, scale, zero_point, offset| {
        let q = ((x - offset) / scale).round_ties_even() + zero_point;
        (q.clamp(min, max) - zero_point) * scale + offset
    })
}

#[multiversion(targets = "simd")]
fn small_table(table: &Table, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    let scan = table.scan::<4>();
    sweep(shared, values, out, |x, scale, _, offset| scan((x - offset) / scale) * scale + offset)
}

#[multiversion(targets = "simd")]
fn table_of_16(table: &Table, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    let scan = table.scan::<16>();
    sweep(shared, values, out, |x, scale, _, offset| scan((x - offset) / scale) * scale + offset)
}

#[multiversion(targets = "simd")]
fn large_table(table: &Table, shared: Shared, values: &[f32], out: &mut [f32]) -> bool {
    sweep(shared, values, out, |x, scale, _, offset| {
        table.search((x - offset) / scale) * scale + offset
    })
}

impl Table {
    /// `None` for integers, and for no levels or more than 256.
    pub(crate) fn new(codes: &Levels) -> Option<Self> {
        let levels = codes.table()?;
        let last = *levels.last().filter(|_| levels.len() <= MAX_LEVELS)?;
        let mut table = Self {
            borders: [f32::INFINITY; MAX_LEVELS],
            levels: [last; MAX_LEVELS],
            len: levels.len(),
        };
        table.levels[..levels.len()].copy_from_slice(levels);
        for (place, pair) in levels.windows(2).enumerate() {
            let exact = codes.border(pair[0], pair[1]);
            // Of f32, those above the exact border are those above this one ...
            let below = exact as f32;
            let below = if f64::from(below) > exact { below.next_down() } else { below };
            // ... and a value on it belongs to the even place.
            let is_tie_up = place % 2 == 1 && f64::from(below) >= exact;
            table.borders[place] = if is_tie_up { below.next_down() } else { below };
        }
        Some(table)
    }

    /// From `u` to the level it has of the first `LEVELS`: every border is looked at. The levels are
    /// copied, for the compiler to keep them in registers.
    #[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
    #[inline(always)]
    fn scan<const LEVELS: usize>(&self) -> impl Fn(f32) -> f32 + use<LEVELS> {
        let levels: [f32; LEVELS] = std::array::from_fn(|place| self.levels[place]);
        let borders: [f32; LEVELS] = std::array::from_fn(|place| self.borders[place]);
        #[inline(always)]
        move |u| {
            let mut level = levels[0];
            for place in 1..LEVELS {
                level = if u > borders[place - 1] { levels[place] } else { level };
            }
            level
        }
    }

    /// The level of `u`, by bisection.
    #[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
    #[inline(always)]
    pub(crate) fn search(&self, u: f32) -> f32 {
        let mut place = 0;
        let mut half = MAX_LEVELS / 2;
        while half > 0 {
            place += if u > self.borders[(place + half - 1) % MAX_LEVELS] { half } else { 0 };
            half /= 2;
        }
        self.levels[place % MAX_LEVELS]
    }
}

/// `out = f(x, scale, zero point, offset)` for every value.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn sweep(
    shared: Shared,
    values: &[f32],
    out: &mut [f32],
    f: impl Fn(f32, f32, f32, f32) -> f32,
) -> bool {
    let mut top = 0; // bits of the largest magnitude; NaN and infinities are above all others
    match shared {
        Shared::Runs { params, line, run } => {
            let runs = values.chunks(line).zip(out.chunks_mut(line));
            let runs = runs.flat_map(|(x, out)| x.chunks(run).zip(out.chunks_mut(run)));
            for ((x, out), params) in runs.zip(params) {
                let Params { scale, zero_point, offset } = *params;
                for (x, out) in x.iter().zip(out) {
                    top = top.max(x.abs().to_bits());
                    *out = f(*x, scale, zero_point as f32, offset);
                }
            }
        }
        Shared::Columns(Columns { scales, zero_points, offsets, .. }) => {
            let cols = scales.len();
            for (x, out) in values.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
                let (zero_points, offsets) = (&zero_points[..cols], &offsets[..cols]);
                let shared = scales.iter().zip(zero_points).zip(offsets);
                for ((x, out), ((scale, zero_point), offset)) in x.iter().zip(out).zip(shared) {
                    top = top.max(x.abs().to_bits());
                    *out = f(*x, *scale, *zero_point, *offset);
                }
            }
        }
    }
    top < f32::INFINITY.to_bits()
}

/// The smallest and the largest value, or `None` if one is not finite or there is none.
#[multiversion(targets = "simd")]
pub(crate) fn extent(values: &[f32]) -> Option<Extent> {
    extent_of(values)
}

/// The extents of all runs of values, the last of a line of runs perhaps short; `None` if one is not
/// finite.
#[multiversion(targets = "simd")]
pub(crate) fn run_extents(values: &[f32], line: usize, run: usize) -> Option<Vec<Extent>> {
    let mut extents = Vec::with_capacity(values.len() / run);
    for line in values.chunks(line) {
        for run in line.chunks(run) {
            extents.push(extent_of(run)?);
        }
    }
    Some(extents)
}

#[inline(always)]
fn extent_of(values: &[f32]) -> Option<Extent> {
    const LANES: usize = 16;
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut top = [0; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            low[lane] = lower(block[lane], low[lane]);
            high[lane] = higher(block[lane], high[lane]);
            top[lane] = top[lane].max(block[lane].abs().to_bits());
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        low[lane] = lower(x, low[lane]);
        high[lane] = higher(x, high[lane]);
        top[lane] = top[lane].max(x.abs().to_bits());
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            low[lane] = lower(low[lane], low[lane + half]);
            high[lane] = higher(high[lane], high[lane + half]);
            top[lane] = top[lane].max(top[lane + half]);
        }
        half /= 2;
    }
    let is_finite = top[0] < f32::INFINITY.to_bits();
    (is_finite && !values.is_empty()).then_some(Extent { low: low[0], high: high[0] })
}

/// Rows that are read together, to load and store the extremes of a column once for all of them.
pub(crate) const ROWS: usize = 8;

/// Widens each column's `low` and `high` to the values of its rows; whether all were finite.
///
/// Rows of `values` are `stride` apart, the columns are the first `low.len()` of each.
#[multiversion(targets = "simd")]
pub(crate) fn column_extents(
    values: &[f32],
    stride: usize,
    low: &mut [f32],
    high: &mut [f32],
) -> bool {
    let cols = low.len();
    let mut rows = values.chunks(stride).map(|row| &row[..cols]);
    let mut top = 0;
    while rows.len() >= ROWS {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|_| rows.next().unwrap_or(&[]));
        top = top.max(widen(rows, low, high));
    }
    for row in rows {
        top = top.max(widen([row], low, high));
    }
    top < f32::INFINITY.to_bits()
}

/// Widens `low` and `high` to the values of some rows; the bits of their largest magnitude.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn widen<const N: usize>(rows: [&[f32]; N], low: &mut [f32], high: &mut [f32]) -> u32 {
    let mut top = 0;
    let cols = low.len();
    let (rows, high) = (rows.map(|row| &row[..cols]), &mut high[..cols]);
    for col in 0..cols {
        let (mut least, mut greatest) = (low[col], high[col]);
        for row in rows {
            least = lower(row[col], least);
            greatest = higher(row[col], greatest);
            top = top.max(row[col].abs().to_bits());
        }
        (low[col], high[col]) = (least, greatest);
    }
    top
}

/// The smaller of two, `b` if one is NaN: one instruction, unlike `f32::min`.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn lower(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger of two, `b` if one is NaN.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
