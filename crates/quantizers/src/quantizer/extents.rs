//! The extremes of every group of a matrix, in one pass along the memory.

use rayon::prelude::*;

use crate::granularity::Layout;
use crate::{Extent, Groups, kernel};

/// Values that one task reads.
const TASK: usize = 1 << 18;

/// Columns whose extremes stay in the first cache.
const STRIP: usize = 1 << 12;

/// The extremes of every group; `None` if a value is not finite. There is at least one value.
pub(super) fn of_groups(groups: &Groups, values: &[f32]) -> Option<Vec<Extent>> {
    match groups.layout() {
        // A long run: several tasks for each.
        Layout::Runs { line, run } if line == run && line > TASK => {
            values.chunks(line).map(of_run).collect()
        }
        Layout::Runs { line, run } => {
            let tasks = values.par_chunks((TASK / line).max(1) * line);
            let extents = tasks.map(|lines| kernel::run_extents(lines, line, run));
            Some(extents.collect::<Option<Vec<_>>>()?.concat())
        }
        Layout::Columns { height } => {
            let cols = groups.shape()[1];
            let bands = values.par_chunks(height * cols);
            let extents = bands.map(|band| of_columns(band, cols)).collect::<Option<Vec<_>>>()?;
            let pairs = extents.iter().flat_map(|(low, high)| low.iter().zip(high));
            Some(pairs.map(|(&low, &high)| Extent { low, high }).collect())
        }
    }
}

fn of_run(run: &[f32]) -> Option<Extent> {
    let parts = run.par_chunks(TASK).map(kernel::extent).collect::<Option<Vec<_>>>()?;
    let merge = |a: Extent, b: Extent| Extent { low: a.low.min(b.low), high: a.high.max(b.high) };
    parts.into_iter().reduce(merge)
}

/// The smallest and the largest values of each column.
fn of_columns(rows: &[f32], cols: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let of_task = |rows: &[f32]| {
        let (mut low, mut high) = (vec![f32::INFINITY; cols], vec![f32::NEG_INFINITY; cols]);
        let strips = low.chunks_mut(STRIP).zip(high.chunks_mut(STRIP));
        let is_finite = strips.enumerate().fold(true, |all, (strip, (low, high))| {
            all & kernel::column_extents(&rows[strip * STRIP..], cols, low, high)
        });
        is_finite.then_some((low, high))
    };
    let height = (rows.len() / cols).div_ceil(rayon::current_num_threads());
    let height = height.next_multiple_of(kernel::ROWS).max(TASK / cols);
    let tasks = rows.par_chunks(height * cols).map(of_task);
    let merge = |(mut low, mut high): (Vec<f32>, Vec<f32>), (other_low, other_high)| {
        low.iter_mut().zip::<Vec<f32>>(other_low).for_each(|(a, b)| *a = a.min(b));
        high.iter_mut().zip::<Vec<f32>>(other_high).for_each(|(a, b)| *a = a.max(b));
        Some((low, high))
    };
    tasks.try_reduce_with(merge)?
}
