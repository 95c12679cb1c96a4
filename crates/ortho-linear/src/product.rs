//! The sparse products on the host.
//!
//! # Definition
//! For a matrix $O$ with entries $o_{ij}$ on a pattern $M$:
//!
//! | product | for | is |
//! |---|---|---|
//! | [`add_product`](Pattern::add_product) | forward | $y \mathrel{+}= \alpha\, x O$ |
//! | [`add_transposed_product`](Pattern::add_transposed_product) | the gradient of $x$ | $x \mathrel{+}= \alpha\, y O^\top$ |
//! | [`sampled_product`](Pattern::sampled_product) | the gradient of $O$ | $\alpha\, (x^\top y)_{ij}$ on $M$ |
//!
//! Tokens are taken in blocks in which those of an input lie side by side, so that an entry is one product
//! of a number and a vector. Of the results, a line of cache of each token is written at a time. A sum is
//! over the entries of its channel in their order (`sampled_product`: over tokens), wherever blocks and
//! channels are computed: neither the number of threads nor that of tokens changes a bit of it.
//!
//! # Reference
//! Balance by entries and not by rows: S. Kim et al., *SqueezeLLM*, ICML 2024, arXiv:2306.07629.

use std::cell::Cell;
use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use crate::matrix::check_len;
use crate::{Alpha, Indices, OrthoError, Pattern};

/// Outputs that are written at a time: a line of cache of each token.
const COLUMNS: usize = 16;

/// Tokens of a block where there are many: two lines of cache of each input.
const MANY: usize = 32;

/// Tokens of a block where there are few.
const FEW: usize = 8;

/// Runs of channels for each thread, so that a slow one is made up for.
const RUNS_PER_THREAD: usize = 4;

thread_local! {
    /// Of a block, `[inputs, lanes]`; kept, so that a product allocates nothing.
    static TILE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// With a tile of `len` numbers, whatever they are.
fn with_tile(len: usize, work: impl FnOnce(&mut [f32])) {
    let mut tile = TILE.take(); // not borrowed: `work` may come to wait for another block
    if tile.len() < len {
        tile.resize(len, 0.0);
    }
    work(&mut tile[..len]);
    TILE.set(tile);
}

/// Tokens of a block.
fn lanes(tokens: usize) -> usize {
    match tokens {
        0..=1 => 1,
        2..=FEW => FEW,
        _ => MANY,
    }
}

impl Pattern {
    /// $y \mathrel{+}= \alpha\, x O$. At $\alpha = 0$, $y$ is left as it is.
    ///
    /// # Shapes
    /// - values: `[entries]`
    /// - x: `[tokens, d_in]`
    /// - y: `[tokens, d_out]`
    ///
    /// # Errors
    /// [`OrthoError::Length`].
    pub fn add_product(
        &self,
        values: &[f32],
        x: &[f32],
        tokens: usize,
        alpha: Alpha,
        y: &mut [f32],
    ) -> Result<(), OrthoError> {
        let [d_in, d_out] = self.shape();
        self.check(values, x, y, tokens)?;
        if alpha == Alpha::BASE || values.is_empty() {
            return Ok(());
        }
        let stream = Stream { pattern: self, values, alpha: alpha.get() };
        let lanes = lanes(tokens);
        let threads = rayon::current_num_threads();
        let runs = self.runs(threads.div_ceil(tokens.div_ceil(lanes).max(1)));
        let blocks = x.par_chunks(lanes * d_in).zip(y.par_chunks_mut(lanes * d_out));
        blocks.for_each(|(x, y)| {
            with_tile(d_in * lanes, |tile| {
                load(x, d_in, lanes, tile);
                let mut rows: Vec<&mut [f32]> = y.chunks_exact_mut(d_out).collect();
                if let [run] = &runs[..] {
                    return add_run(stream, run.clone(), tile, lanes, &mut rows);
                }
                let parts: Vec<_> =
                    runs.iter().map(|run| (run, cut(&mut rows, run.len()))).collect();
                let tile = &*tile;
                parts.into_par_iter().for_each(|(run, mut rows)| {
                    add_run(stream, run.clone(), tile, lanes, &mut rows);
                });
            });
        });
        Ok(())
    }

    /// $x \mathrel{+}= \alpha\, y O^\top$.
    ///
    /// # Shapes
    /// - values: `[entries]`
    /// - x: `[tokens, d_in]`
    /// - y: `[tokens, d_out]`
    ///
    /// # Errors
    /// [`OrthoError::Length`].
    pub fn add_transposed_product(
        &self,
        values: &[f32],
        y: &[f32],
        tokens: usize,
        alpha: Alpha,
        x: &mut [f32],
    ) -> Result<(), OrthoError> {
        let [d_in, d_out] = self.shape();
        self.check(values, x, y, tokens)?;
        let stream = Stream { pattern: self, values, alpha: alpha.get() };
        let lanes = lanes(tokens);
        let blocks = y.par_chunks(lanes * d_out).zip(x.par_chunks_mut(lanes * d_in));
        blocks.for_each(|(y, x)| {
            with_tile(d_in * lanes, |tile| {
                tile.fill(0.0);
                let mut rows: Vec<&mut [f32]> = x.chunks_exact_mut(d_in).collect();
                add_transposed_block(stream, y, tile, lanes, &mut rows);
            });
        });
        Ok(())
    }

    /// $\alpha\, (x^\top y)_{ij}$ for every entry, in their order.
    ///
    /// # Shapes
    /// - x: `[tokens, d_in]`
    /// - y: `[tokens, d_out]`
    /// - output: `[entries]`
    ///
    /// # Errors
    /// [`OrthoError::Length`].
    pub fn sampled_product(
        &self,
        x: &[f32],
        y: &[f32],
        tokens: usize,
        alpha: Alpha,
    ) -> Result<Vec<f32>, OrthoError> {
        let [d_in, d_out] = self.shape();
        let mut values = vec![0.0; self.indices().len()];
        self.check(&values, x, y, tokens)?;
        let blocks = |rows: &[f32], width: usize| {
            let mut blocks = vec![0.0; tokens.div_ceil(MANY) * width * MANY]; // [blocks, width, lanes]
            let tiles = blocks.par_chunks_exact_mut(width * MANY);
            tiles.zip(rows.par_chunks(width * MANY)).for_each(|(tile, rows)| {
                load(rows, width, MANY, tile);
            });
            blocks
        };
        let (x, y) = (blocks(x, d_in), blocks(y, d_out));
        let mut rest = &mut values[..];
        let mut parts = Vec::new();
        for run in self.runs(RUNS_PER_THREAD * rayon::current_num_threads()) {
            let entries = self.entries(run.start).start..self.entries(run.end - 1).end;
            let part = rest.split_off_mut(..entries.len()).unwrap_or_default();
            parts.push((run, part));
        }
        parts.into_par_iter().for_each(|(run, part)| {
            sample_run(self, run, &x, &y, alpha.get(), part);
        });
        Ok(values)
    }

    /// The lengths of all against the shape.
    fn check(&self, values: &[f32], x: &[f32], y: &[f32], tokens: usize) -> Result<(), OrthoError> {
        let [d_in, d_out] = self.shape();
        check_len("`values`", values.len(), self.indices().len())?;
        check_len("`x`", x.len(), tokens.saturating_mul(d_in))?;
        check_len("`y`", y.len(), tokens.saturating_mul(d_out))
    }

    /// All channels in about `count` runs with equally many entries each; a channel that has more than its share
    /// is in a run of its own, or ends one, and channels without entries may be one more.
    fn runs(&self, count: usize) -> Vec<Range<usize>> {
        let d_out = self.shape()[1];
        let share = self.indices().len().div_ceil(count).max(1);
        let (mut runs, mut start) = (Vec::new(), 0);
        for row in 0..d_out {
            if self.entries(start).start + share <= self.entries(row).end {
                runs.push(start..row + 1);
                start = row + 1;
            }
        }
        if start < d_out {
            runs.push(start..d_out);
        }
        runs
    }
}

/// The next `len` columns of every row.
fn cut<'a>(rows: &mut [&'a mut [f32]], len: usize) -> Vec<&'a mut [f32]> {
    rows.iter_mut().map(|row| row.split_off_mut(..len).unwrap_or_default()).collect()
}

/// The entries and what they are multiplied with.
#[derive(Clone, Copy)]
struct Stream<'a> {
    pattern: &'a Pattern,
    values: &'a [f32],
    alpha: f32,
}

impl Stream<'_> {
    /// Calls `entry` with the input and value of each entry of a channel.
    #[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
    #[inline(always)]
    fn each(&self, channel: usize, mut entry: impl FnMut(usize, f32)) {
        let entries = self.pattern.entries(channel);
        let values = &self.values[entries.clone()];
        match self.pattern.indices() {
            Indices::U16(indices) => {
                indices[entries].iter().zip(values).for_each(|(&i, &v)| entry(i.into(), v));
            }
            Indices::U32(indices) => {
                indices[entries].iter().zip(values).for_each(|(&i, &v)| entry(i as usize, v));
            }
        }
    }
}

/// Rows of `width` numbers, at most as many as lanes, as a tile `[width, lanes]`.
fn load(rows: &[f32], width: usize, lanes: usize, tile: &mut [f32]) {
    match lanes {
        1 => tile.copy_from_slice(rows),
        FEW => load_columns(rows, width, 0, tile.as_chunks_mut::<FEW>().0),
        _ => load_columns(rows, width, 0, tile.as_chunks_mut::<MANY>().0),
    }
}

/// Columns from `first` on of rows of `width` numbers. Never a part of a caller that is compiled for wide
/// vectors: it would gather numbers one row apart, which takes longer than to move them one by one.
#[inline(never)]
fn load_columns<const L: usize>(rows: &[f32], width: usize, first: usize, tile: &mut [[f32; L]]) {
    for (part, tile) in tile.chunks_mut(COLUMNS).enumerate() {
        let start = first + part * COLUMNS;
        for (lane, row) in (0..L).zip(rows.chunks_exact(width)) {
            for (column, &x) in tile.iter_mut().zip(&row[start..]) {
                column[lane] = x;
            }
        }
    }
}

/// Adds $\alpha$ times a tile to columns from `first` on. Not for wide vectors, as [`load_columns`].
#[inline(never)]
fn add_columns<const L: usize>(
    tile: &[[f32; L]],
    alpha: f32,
    first: usize,
    rows: &mut [&mut [f32]],
) {
    for (lane, row) in (0..L).zip(rows) {
        for (y, column) in row[first..].iter_mut().zip(tile) {
            *y += alpha * column[lane];
        }
    }
}

/// Adds the products of a run of channels to `rows`, their part of each token's outputs.
#[multiversion(targets = "simd")]
fn add_run(
    stream: Stream<'_>,
    run: Range<usize>,
    x: &[f32],
    lanes: usize,
    rows: &mut [&mut [f32]],
) {
    match lanes {
        1 => add_channels::<1>(stream, run, x.as_chunks().0, rows),
        FEW => add_channels::<FEW>(stream, run, x.as_chunks().0, rows),
        _ => add_channels::<MANY>(stream, run, x.as_chunks().0, rows),
    }
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn add_channels<const L: usize>(
    stream: Stream<'_>,
    run: Range<usize>,
    x: &[[f32; L]],
    rows: &mut [&mut [f32]],
) {
    let mut sums = [[0.0; L]; COLUMNS];
    for first in run.clone().step_by(COLUMNS) {
        let end = run.end.min(first + COLUMNS);
        for (channel, out) in (first..end).zip(&mut sums) {
            let mut sum = [0.0; L];
            stream.each(channel, |input, value| {
                for (sum, x) in sum.iter_mut().zip(&x[input]) {
                    *sum += value * x;
                }
            });
            *out = sum;
        }
        add_columns(&sums[..end - first], stream.alpha, first - run.start, rows);
    }
}

/// Adds the products of a block with the transposed matrix to `rows`, by way of `sums`, a tile of zeros.
#[multiversion(targets = "simd")]
fn add_transposed_block(
    stream: Stream<'_>,
    y: &[f32],
    sums: &mut [f32],
    lanes: usize,
    rows: &mut [&mut [f32]],
) {
    match lanes {
        1 => add_inputs::<1>(stream, y, sums.as_chunks_mut().0, rows),
        FEW => add_inputs::<FEW>(stream, y, sums.as_chunks_mut().0, rows),
        _ => add_inputs::<MANY>(stream, y, sums.as_chunks_mut().0, rows),
    }
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn add_inputs<const L: usize>(
    stream: Stream<'_>,
    y: &[f32],
    sums: &mut [[f32; L]],
    rows: &mut [&mut [f32]],
) {
    let [_, d_out] = stream.pattern.shape();
    let mut columns = [[0.0; L]; COLUMNS];
    for first in (0..d_out).step_by(COLUMNS) {
        let end = d_out.min(first + COLUMNS);
        load_columns(y, d_out, first, &mut columns[..end - first]);
        for (channel, y) in (first..end).zip(&columns) {
            stream.each(channel, |input, value| {
                for (sum, y) in sums[input].iter_mut().zip(y) {
                    *sum += value * y;
                }
            });
        }
    }
    for (part, sums) in sums.chunks(COLUMNS).enumerate() {
        add_columns(sums, stream.alpha, part * COLUMNS, rows);
    }
}

/// The sampled product of a run of channels.
#[multiversion(targets = "simd")]
fn sample_run(
    pattern: &Pattern,
    run: Range<usize>,
    x: &[f32],
    y: &[f32],
    alpha: f32,
    values: &mut [f32],
) {
    let [d_in, d_out] = pattern.shape();
    let (x, y): (&[[f32; MANY]], &[[f32; MANY]]) = (x.as_chunks().0, y.as_chunks().0);
    let places = run.flat_map(|channel| pattern.entries(channel).map(move |it| (channel, it)));
    for ((channel, entry), value) in places.zip(values) {
        let input = pattern.indices().get(entry) as usize;
        let mut sums = [0.0; MANY];
        for (x, y) in x.chunks_exact(d_in).zip(y.chunks_exact(d_out)) {
            for ((sum, x), y) in sums.iter_mut().zip(&x[input]).zip(&y[channel]) {
                *sum += x * y;
            }
        }
        *value = alpha * sums.iter().sum::<f32>();
    }
}

#[cfg(test)]
mod tests;
