//! A matrix cut into the passes of the kernel, for as many cores as there are.

use rayon::prelude::*;

use crate::granularity::Layout;
use crate::kernel::{Columns, Kernel, Shared};
use crate::{Codes, Groups, Params, kernel};

/// Values that one task reads and writes.
const TASK: usize = 1 << 16;

/// Fake-quantises `values` to `out`; whether all values were finite.
///
/// The slices have the length of the matrix, `params` that of its groups.
pub(super) fn quantize(
    codes: &Codes,
    groups: &Groups,
    params: &[Params],
    values: &[f32],
    out: &mut [f32],
) -> bool {
    let Some(kernel) = Kernel::new(codes) else {
        let slow = |(index, (out, &x)): (usize, (&mut f32, &f32))| {
            *out = codes.quantize(x, &params[groups.group(index)]);
            x.is_finite()
        };
        return out.iter_mut().zip(values).enumerate().map(slow).fold(true, |all, it| all & it);
    };
    if values.is_empty() {
        return true;
    }
    match groups.layout() {
        // A long run: the same parameters for all its tasks.
        Layout::Runs { line, run } if line == run && line > TASK => {
            let lines = values.chunks(line).zip(out.chunks_mut(line)).zip(params);
            lines.fold(true, |all, ((x, out), params)| {
                let params = std::slice::from_ref(params);
                let tasks = x.par_chunks(TASK).zip(out.par_chunks_mut(TASK));
                let of_task = |(x, out): (&[f32], &mut [f32])| {
                    let (line, run) = (x.len(), x.len());
                    kernel::quantize(&kernel, Shared::Runs { params, line, run }, x, out)
                };
                all & tasks.map(of_task).reduce(|| true, |a, b| a & b)
            })
        }
        Layout::Runs { line, run } => {
            let lines = (TASK / line).max(1);
            let params = params.par_chunks(lines * line.div_ceil(run));
            let values = values.par_chunks(lines * line);
            let tasks = values.zip(out.par_chunks_mut(lines * line)).zip(params);
            let of_task = |((x, out), params): ((&[f32], &mut [f32]), &[Params])| {
                kernel::quantize(&kernel, Shared::Runs { params, line, run }, x, out)
            };
            tasks.map(of_task).reduce(|| true, |a, b| a & b)
        }
        Layout::Columns { height } => {
            let cols = groups.shape()[1];
            let band = height * cols;
            let bands = values.par_chunks(band).zip(out.par_chunks_mut(band));
            let task = (TASK / cols).max(1) * cols;
            let of_band = |((x, out), params): ((&[f32], &mut [f32]), &[Params])| {
                let columns = Columns::new(params);
                let tasks = x.par_chunks(task).zip(out.par_chunks_mut(task));
                let of_task = |(x, out): (&[f32], &mut [f32])| {
                    kernel::quantize(&kernel, Shared::Columns(&columns), x, out)
                };
                tasks.map(of_task).reduce(|| true, |a, b| a & b)
            };
            bands.zip(params.par_chunks(cols)).map(of_band).reduce(|| true, |a, b| a & b)
        }
    }
}
