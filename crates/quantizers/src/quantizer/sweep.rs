//! A matrix cut into the passes of the kernel, for as many cores as there are.

use rayon::prelude::*;

use crate::granularity::Layout;
use crate::kernel::{Columns, Kernel, Shared};
use crate::{Codes, Derivatives, Groups, Params, ScaleRule, kernel};

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
    run(groups, params, values, [out], |shared, values, [out]| {
        kernel::quantize(&kernel, shared, values, out)
    })
}

/// Value, mask and $d$ of `values`; whether all values were finite.
pub(super) fn derivatives(
    codes: &Codes,
    groups: &Groups,
    params: &[Params],
    rule: ScaleRule,
    values: &[f32],
    out: Derivatives,
) -> bool {
    let Derivatives { values: quantized, mask, scale } = out;
    let Some(kernel) = Kernel::new(codes) else {
        let mut all_finite = true;
        let out = quantized.iter_mut().zip(mask).zip(scale);
        for (index, (((y, mask), scale), &x)) in out.zip(values).enumerate() {
            let params = &params[groups.group(index)];
            let (passes, followed) = rule.derivative(codes, params, x);
            *y = codes.quantize(x, params);
            (*mask, *scale) = (f32::from(u8::from(passes)), followed as f32);
            all_finite &= x.is_finite();
        }
        return all_finite;
    };
    run(groups, params, values, [quantized, mask, scale], |shared, x, [values, mask, scale]| {
        let out = Derivatives { values, mask, scale };
        kernel::derivatives(&kernel, codes, rule, shared, x, out)
    })
}

/// Runs `pass` over all parts of the matrix, with the same parts of `out`; whether it was true of all.
fn run<'a, const N: usize>(
    groups: &Groups,
    params: &[Params],
    values: &'a [f32],
    out: [&'a mut [f32]; N],
    pass: impl Fn(Shared, &[f32], [&mut [f32]; N]) -> bool + Sync,
) -> bool {
    if values.is_empty() {
        return true;
    }
    let cols = groups.shape()[1];
    let columns: Vec<Columns> = match groups.layout() {
        Layout::Columns { .. } => params.par_chunks(cols).map(Columns::new).collect(),
        Layout::Runs { .. } => Vec::new(),
    };
    let mut rest = out;
    let mut tasks = Vec::new();
    let mut add = |shared, values: &'a [f32]| {
        let out = rest.each_mut().map(|it| it.split_off_mut(..values.len()).unwrap_or_default());
        tasks.push((shared, values, out));
    };
    match groups.layout() {
        // A long run: the same parameters for all its tasks.
        Layout::Runs { line, run } if line == run && line > TASK => {
            for (values, params) in values.chunks(line).zip(params.chunks(1)) {
                for values in values.chunks(TASK) {
                    let (line, run) = (values.len(), values.len());
                    add(Shared::Runs { params, line, run }, values);
                }
            }
        }
        Layout::Runs { line, run } => {
            let lines = (TASK / line).max(1);
            let params = params.chunks(lines * line.div_ceil(run));
            for (values, params) in values.chunks(lines * line).zip(params) {
                add(Shared::Runs { params, line, run }, values);
            }
        }
        Layout::Columns { height } => {
            for (band, columns) in values.chunks(height * cols).zip(&columns) {
                for values in band.chunks((TASK / cols).max(1) * cols) {
                    add(Shared::Columns(columns), values);
                }
            }
        }
    }
    let of_task = |(shared, values, out)| pass(shared, values, out);
    tasks.into_par_iter().map(of_task).reduce(|| true, |a, b| a & b)
}
