//! The gradients of a whole matrix, whatever its granularity.
//!
//! # Definition
//! Those of `learned.rs`, with the sums over each group: values, mask $m$ and $d$ come from one pass along
//! the memory. With $g$ the gradient at the output, those of scale, zero point and offset of a group are
//! $\sum g d$, $-s \sum g (1 - m)$ and $\sum g (1 - m)$. A library with automatic differentiation
//! needs no more than the pass: it broadcasts $s$ over its group and gives it the derivative $d$.

use rayon::prelude::*;

use super::{Quantizer, check_len, not_finite, sweep};
use crate::granularity::Layout;
use crate::{Groups, Params, QuantizerError, ScaleRule};

/// What a straight-through estimator needs of a matrix: slices `[rows * cols]` that
/// [`Quantizer::derivatives_into`] fills.
#[derive(Debug)]
pub struct Derivatives<'a> {
    /// $\hat x$.
    pub values: &'a mut [f32],
    /// $\partial \hat x / \partial x$: 1 where the gradient passes, 0 elsewhere. That by the offset of
    /// the group is 1 less this, by the zero point $-s$ times as much.
    pub mask: &'a mut [f32],
    /// $d = \partial \hat x / \partial s$, by the scale of the group.
    pub scale: &'a mut [f32],
}

/// The gradients of a matrix and of the parameters of its groups.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixGradients {
    /// Of the values, `[rows * cols]`.
    pub input: Vec<f32>,
    /// Of the scales, `[groups]`.
    pub scale: Vec<f64>,
    /// Of the zero points, `[groups]`.
    pub zero_point: Vec<f64>,
    /// Of the offsets, `[groups]`.
    pub offset: Vec<f64>,
}

impl MatrixGradients {
    /// With $G$ = `factor` for all but the values.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for sums in [&mut self.scale, &mut self.zero_point, &mut self.offset] {
            for sum in sums {
                *sum *= factor;
            }
        }
        self
    }
}

impl Quantizer {
    /// Value and derivatives of every one of `values`, `[rows, cols]`. At 32 bits the values, 1 and 0.
    ///
    /// # Errors
    /// As [`fake_quantize_into`](Self::fake_quantize_into).
    pub fn derivatives_into(
        &self,
        values: &[f32],
        shape: [usize; 2],
        params: &[Params],
        rule: ScaleRule,
        out: Derivatives<'_>,
    ) -> Result<(), QuantizerError> {
        let groups = self.checked_groups(values.len(), shape)?;
        for len in [out.values.len(), out.mask.len(), out.scale.len()] {
            check_len(len, shape)?;
        }
        if self.bits.is_full() {
            out.values.copy_from_slice(values);
            out.mask.fill(1.0);
            out.scale.fill(0.0);
            return Ok(());
        }
        let (codes, params) = self.codes_for(&groups, params)?;
        let Derivatives { values: quantized, mask, scale } = out;
        let out = Derivatives { values: &mut *quantized, mask, scale };
        if sweep::derivatives(&codes, &groups, &params, rule, values, out) {
            self.round(quantized);
            Ok(())
        } else {
            Err(not_finite(values))
        }
    }

    /// The gradients of `values`, `[rows, cols]`, and of `params`, with $G = 1$, from the gradient
    /// `output`, `[rows, cols]`, at the quantised values. $d$ is an `f32`, sums are in `f64`, the same on
    /// any number of threads; an infinite or NaN gradient is passed on. At 32 bits there are no groups.
    ///
    /// # Errors
    /// As [`fake_quantize_into`](Self::fake_quantize_into).
    pub fn gradients(
        &self,
        values: &[f32],
        shape: [usize; 2],
        params: &[Params],
        rule: ScaleRule,
        output: &[f32],
    ) -> Result<MatrixGradients, QuantizerError> {
        check_len(output.len(), shape)?;
        let [mut input, mut mask, mut scale] = [0; 3].map(|_| vec![0.0; values.len()]);
        let out = Derivatives { values: &mut input, mask: &mut mask, scale: &mut scale };
        self.derivatives_into(values, shape, params, rule, out)?;
        let sums = if self.bits.is_full() {
            Vec::new()
        } else {
            sums(&self.groups(shape)?, |index| {
                let gradient = f64::from(output[index]);
                let stopped = if mask[index] == 0.0 { gradient } else { 0.0 };
                [gradient * f64::from(scale[index]), stopped]
            })
        };
        for ((input, &output), mask) in input.iter_mut().zip(output).zip(mask) {
            *input = if mask == 0.0 { 0.0 } else { output };
        }
        let zero_point = |(params, sums): (&Params, &[f64; 2])| -f64::from(params.scale) * sums[1];
        Ok(MatrixGradients {
            input,
            zero_point: params.iter().zip(&sums).map(zero_point).collect(),
            scale: sums.iter().map(|it| it[0]).collect(),
            offset: sums.iter().map(|it| it[1]).collect(),
        })
    }
}

/// Columns that one task sums.
const STRIP: usize = 64;

/// The sums of `term` over the places of each group, in the order of the places.
fn sums(groups: &Groups, term: impl Fn(usize) -> [f64; 2] + Sync) -> Vec<[f64; 2]> {
    let [rows, cols] = groups.shape();
    let add = |sum: &mut [f64; 2], index| {
        let term = term(index);
        *sum = [sum[0] + term[0], sum[1] + term[1]];
    };
    let mut sums = vec![[0.0; 2]; groups.count()];
    match groups.layout() {
        _ if sums.is_empty() => {}
        Layout::Runs { line, run } => {
            let runs = line.div_ceil(run);
            sums.par_iter_mut().enumerate().for_each(|(group, sum)| {
                let start = group / runs * line + group % runs * run;
                let end = (start + run).min((group / runs + 1) * line);
                (start..end).for_each(|index| add(sum, index));
            });
        }
        Layout::Columns { height } => {
            sums.par_chunks_mut(cols).enumerate().for_each(|(band, sums)| {
                sums.par_chunks_mut(STRIP).enumerate().for_each(|(strip, sums)| {
                    for row in band * height..(band * height + height).min(rows) {
                        for (place, sum) in sums.iter_mut().enumerate() {
                            add(sum, row * cols + strip * STRIP + place);
                        }
                    }
                });
            });
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::grid_conformance::grids;
    use crate::{BitWidth, Gradients, Operand};

    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    const RULES: [ScaleRule; 3] = [ScaleRule::Rounding, ScaleRule::Level, ScaleRule::Clipping];

    /// Every grid, width and granularity with clipped values, against one group at a time.
    #[test]
    fn a_matrix_has_the_gradients_of_its_groups() {
        let (rows, cols) = (14, 90);
        let (values, output) = (normal(1, rows * cols), normal(2, rows * cols));
        for (granularity, operand) in [
            ("tensor", Operand::Weight),
            ("channel", Operand::Weight),
            ("group:5:pad", Operand::Weight),
            ("channel:0", Operand::TransposedWeight),
            ("group:70:pad", Operand::Activation),
            ("token", Operand::Activation),
        ] {
            for (grid, bits) in
                grids().iter().flat_map(|grid| [1, 2, 4, 8].map(|bits| (grid, bits)))
            {
                let bits = BitWidth::new(bits).unwrap();
                let Ok(codes) = grid.as_dyn().codes(bits) else { continue };
                let quantizer = Quantizer {
                    bits,
                    granularity: granularity.parse().unwrap(),
                    operand,
                    grid: grid.clone(),
                    ..Quantizer::default()
                };
                let mut params = quantizer.fit(&values, [rows, cols]).unwrap();
                for (group, params) in params.iter_mut().enumerate() {
                    params.scale *= [0.5, 0.9][group % 2];
                    params.offset += [0.0, 0.1][group % 2];
                }
                let groups = quantizer.groups([rows, cols]).unwrap();
                for rule in RULES {
                    let found =
                        quantizer.gradients(&values, [rows, cols], &params, rule, &output).unwrap();
                    assert_eq!(found.scale.len(), groups.count());
                    for (group, params) in params.iter().enumerate() {
                        let places: Vec<usize> =
                            (0..values.len()).filter(|&it| groups.group(it) == group).collect();
                        let of = |from: &[f32]| places.iter().map(|&it| from[it]).collect();
                        let [x, g]: [Vec<f32>; 2] = [of(&values), of(&output)];
                        let expected = Gradients::new(&codes, params, rule, &x, &g).unwrap();
                        let name = format!("{} {bits}, {granularity}, {rule:?}", grid.name());
                        let input: Vec<f32> = of(&found.input);
                        assert_eq!(input, expected.input, "{name}");
                        let bound: f64 = g.iter().map(|it| f64::from(it.abs())).sum();
                        let greatest = f64::from(codes.ends().1.max(1)); // of d, but for a table
                        let close = |a: f64, b: f64| (a - b).abs() <= 1e-7 * bound * greatest;
                        assert!(close(found.scale[group], expected.scale), "{name}");
                        assert!(close(found.zero_point[group], expected.zero_point), "{name}");
                        assert!(close(found.offset[group], expected.offset), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn derivatives_by_hand() {
        // Columns with s = 1 and 2, codes of +-7: u = 2.3, 9 and -1.25, -7.75.
        let quantizer = Quantizer { bits: BitWidth::new(4).unwrap(), ..Quantizer::default() };
        let params = [Params::scale(1.0), Params::scale(2.0)];
        let mut out = [[f32::NAN; 4]; 3];
        let [values, mask, scale] = out.each_mut();
        let out_of = Derivatives { values, mask, scale };
        let x = [2.3, -2.5, 9.0, -15.5];
        quantizer.derivatives_into(&x, [2, 2], &params, ScaleRule::Rounding, out_of).unwrap();
        assert_eq!(out[0], [2.0, -2.0, 7.0, -14.0]);
        assert_eq!(out[1], [1.0, 1.0, 0.0, 0.0]); // -7.75 rounds to -8
        assert_eq!(out[2], [2.0 - 2.3, -1.0 + 1.25, 7.0, -7.0]);
        let found = quantizer.gradients(&x, [2, 2], &params, ScaleRule::Rounding, &[1.0; 4]);
        let found = found.unwrap().scaled(0.5);
        assert_eq!(found.input, [1.0, 1.0, 0.0, 0.0]);
        assert_eq!((found.scale[1], &found.offset[..]), (0.5 * (0.25 - 7.0), &[0.5, 0.5][..]));
        assert_eq!(found.zero_point, [-0.5, -1.0]);
    }

    #[test]
    fn full_width_passes_everything_and_what_does_not_fit_is_refused() {
        let quantizer = Quantizer { bits: BitWidth::FULL, ..Quantizer::default() };
        let (x, rule) = ([0.5, f32::NAN], ScaleRule::Level);
        let found = quantizer.gradients(&x, [1, 2], &[], rule, &[3.0, 4.0]).unwrap();
        assert_eq!((&found.input[..], found.scale.len()), (&[3.0, 4.0][..], 0));
        let quantizer = Quantizer::default();
        let params = [Params::scale(1.0); 2];
        let error = quantizer.gradients(&[0.5; 2], [1, 2], &params, rule, &[1.0]).unwrap_err();
        assert_eq!(error, QuantizerError::Shape { len: 1, shape: [1, 2] });
        let error = quantizer.gradients(&x, [1, 2], &params, rule, &[1.0; 2]).unwrap_err();
        assert!(matches!(error, QuantizerError::NotFinite { index: 1, .. }), "{error}");
        let none = quantizer.gradients(&[], [0, 2], &[], rule, &[]).unwrap();
        assert_eq!((none.input.len(), none.scale.len()), (0, 0));
    }
}
