//! The range of least expected error over a histogram, for calibration over many batches.
//!
//! # Definition
//! Bins are the intervals from $k\,2^e$ to $(k + 1)\,2^e$, at most 2,048 of them, where $e$ is the least
//! exponent, from the 24th bit of the largest magnitude on, with which they hold all values so far. When
//! the range grows, neighbours merge in pairs. So the bins are a function of the values alone: two
//! halves of a batch, in either order, leave exactly what the whole batch leaves.
//!
//! With the values spread evenly over their bins, the range is the one of the search
//! (`range/search.rs`) with the least $\sum (x - \hat x)^2$ for the levels that the grid has at the
//! width asked for. Below one bin a step costs $s^2/12$ a value.
//!
//! # Reference
//! `torch.ao.quantization.HistogramObserver` of PyTorch 2.15, in its aim.
//!
//! # Notes on the reference implementation
//! It counts levels by the type of the codes, 256, not by their range, and so chooses much too wide a range for
//! codes of ±7. It resamples its bins when the range grows, so that the order of the batches matters.

use serde::{Deserialize, Serialize};

use super::cells::{self, Moments};
use super::min_max::{extremes, widest};
use super::search::{BATCH, Loss, search};
use super::{Observer, Range};
use crate::{BitWidth, Codes, Extent, Grid, Levels, Params, QuantizerError};

/// Least error over 2,048 bins: 16 kB, however many values.
///
/// ```toml
/// [range]
/// kind = "histogram"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Histogram {}

/// Bins at most; at least 2, for a negative and a positive value are never in the same one.
const BINS: i64 = 2_048;

#[derive(Debug, Clone, PartialEq, Default)]
struct Counts {
    extent: Option<Extent>,
    /// $e$, where there is an extent.
    exponent: i32,
    /// $k$ of the first bin.
    first: i64,
    bins: Vec<u64>,
}

impl Range for Histogram {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Counts::default())
    }
}

impl Observer for Counts {
    #[expect(clippy::cast_sign_loss, reason = "no bin is below the first")]
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        let Some(extent) = widest(self.extent, extremes(values)?) else { return Ok(()) };
        self.cover(extent);
        let inverse = 2.0_f64.powi(-self.exponent);
        for &x in values {
            self.bins[(place(x, inverse) - self.first) as usize] += 1;
        }
        Ok(())
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        let extent = self.extent.ok_or(QuantizerError::NothingSeen)?;
        search(&Density::new(self), extent, grid, bits)
    }
}

impl Counts {
    /// Makes room for `extent`, which holds the one so far.
    #[expect(clippy::cast_sign_loss, reason = "no bin is below the first")]
    fn cover(&mut self, extent: Extent) {
        if self.extent == Some(extent) {
            return;
        }
        let mut exponent = (exponent(extent.magnitude()) - 23).max(-149);
        let (first, last) = loop {
            let inverse = 2.0_f64.powi(-exponent);
            let ends = (place(extent.low, inverse), place(extent.high, inverse));
            if ends.1 - ends.0 < BINS {
                break ends;
            }
            exponent += 1;
        };
        let mut bins = vec![0; (last - first + 1) as usize];
        for (place, &count) in (self.first..).zip(&self.bins) {
            if count > 0 {
                // An arithmetic shift rounds down, as `place` does.
                let merged = place >> (exponent - self.exponent).min(63);
                bins[(merged - first) as usize] += count;
            }
        }
        *self = Self { extent: Some(extent), exponent, first, bins };
    }
}

/// The bin of `x`; with at most 24 bits and a sign it is exact.
fn place(x: f32, inverse: f64) -> i64 {
    (f64::from(x) * inverse).floor() as i64
}

/// $\lfloor \log_2 x \rfloor$ of a number that is not negative; far below any where it is 0.
fn exponent(x: f32) -> i32 {
    (f64::from(x).to_bits() >> 52) as i32 - 1_023
}

/// The counts, each spread evenly over its bin.
struct Density<'a> {
    width: f64,
    low: f64,
    counts: &'a [u64],
    /// `[bins + 1]`: the moments below the edges.
    edges: Vec<[f64; 3]>,
}

impl<'a> Density<'a> {
    fn new(counts: &'a Counts) -> Self {
        let width = 2.0_f64.powi(counts.exponent);
        let low = counts.first as f64 * width;
        let mut below = [0.0; 3];
        let mut edges = vec![below];
        for (bin, &count) in counts.bins.iter().enumerate() {
            let from = low + bin as f64 * width;
            below = add(below, part(count, width, from, from + width));
            edges.push(below);
        }
        Self { width, low, counts: &counts.bins, edges }
    }
}

/// The moments of a bin between two places in it.
fn part(count: u64, width: f64, from: f64, to: f64) -> [f64; 3] {
    let density = count as f64 / width;
    let (mean, half) = (0.5 * (from + to), 0.5 * (to - from));
    let mass = 2.0 * half * density;
    [mass, mass * mean, mass * (mean * mean + half * half / 3.0)]
}

fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

impl Moments for Density<'_> {
    #[expect(clippy::cast_sign_loss, reason = "clamped to the bins")]
    fn below(&self, t: f64) -> [f64; 3] {
        let bins = self.counts.len();
        let place = ((t - self.low) / self.width).clamp(0.0, bins as f64);
        let bin = place as usize;
        let Some(&count) = self.counts.get(bin) else { return self.edges[bins] };
        let from = self.low + bin as f64 * self.width;
        add(self.edges[bin], part(count, self.width, from, t.max(from)))
    }
}

impl Loss for Density<'_> {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> [f64; BATCH] {
        let error = |params: &Params| {
            let step = f64::from(params.scale);
            if step < self.width && matches!(codes.levels, Levels::Integers { .. }) {
                let (low, high) = cells::ends(codes, params);
                let inside = self.below(high)[0] - self.below(low)[0];
                cells::clipped(self, (low, high)) + inside * step * step / 12.0
            } else {
                cells::squared_error(self, codes, params)
            }
        };
        let mut errors = [0.0; BATCH];
        errors.iter_mut().zip(candidates).for_each(|(it, params)| *it = error(params));
        errors
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        cells::clipped(self, cells::ends(codes, candidate))
    }

    fn fine_step(&self, _: &Codes) -> Option<f32> {
        None // spread over bins
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Affine, Symmetric};

    fn normal(len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(6).fill_normal(0, &mut values);
        values
    }

    fn counts(batches: &[&[f32]]) -> Counts {
        let mut counts = Counts::default();
        for batch in batches {
            counts.observe(batch).unwrap();
        }
        counts
    }

    #[test]
    fn halves_in_either_order_leave_what_the_whole_leaves() {
        let mut values = normal(4_000);
        values[..500].iter_mut().for_each(|x| *x *= 1e-9);
        values[3_000..].iter_mut().for_each(|x| *x = 1e3 * *x - 7.0);
        let (a, b) = values.split_at(1_000);
        let whole = counts(&[&values]);
        assert_eq!(whole, counts(&[a, b]));
        assert_eq!(whole, counts(&[b, &[], a]));
        let each: Vec<&[f32]> = values.chunks(1).collect();
        assert_eq!(whole, counts(&each));
        assert!((1_024..=2_048).contains(&whole.bins.len()));
        assert_eq!(whole.bins.iter().sum::<u64>(), 4_000);
    }

    #[test]
    fn bins_of_one_value_are_as_narrow_as_f32() {
        for x in [0.0, 1.0, -3.5, 1e30, f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let counts = counts(&[&[x]]);
            assert_eq!(counts.bins, [1], "{x}");
            assert_eq!(counts.first as f64 * 2.0_f64.powi(counts.exponent), f64::from(x));
        }
        // 0 and 1 are 2,048 bins of 2^-11 apart, one too many; -1 and 1 the same once more.
        assert_eq!(counts(&[&[0.0, 1.0]]).exponent, -10);
        assert_eq!(counts(&[&[-1.0, 1.0]]).exponent, -9);
    }

    #[test]
    fn moments_within_a_bin_are_those_of_even_density() {
        // 3 values from 0 to 2^-10, 1 in the bin of 1.
        let counts = counts(&[&[0.0, 0.0, 1e-4, 1.0]]);
        let density = Density::new(&counts);
        let w = 2.0_f64.powi(-10);
        let [s0, s1, s2] = density.below(w / 2.0);
        assert_eq!((s0, s1), (1.5, 1.5 * w / 4.0));
        assert!((s2 - 1.5 * w * w / 12.0).abs() < 1e-15); // the mean of x^2 up to a is a^2 / 3
        assert_eq!(density.below(-1.0), [0.0; 3]);
        assert_eq!(density.below(0.5)[0], 3.0);
        assert_eq!(density.below(f64::INFINITY)[0], 4.0);
    }

    /// Of codes to 7, not of the 256 that fit their type: 2.48 standard deviations, 18.85 dB.
    #[test]
    fn the_range_is_for_the_levels_there_are() {
        let values = normal(100_000);
        let bits = BitWidth::new(4).unwrap();
        let params = counts(&[&values]).fit(&Symmetric {}, bits).unwrap();
        let clip = 7.0 * params.scale;
        assert!((clip - 2.48).abs() < 0.04, "{clip}");
        let codes = Symmetric {}.codes(bits).unwrap();
        let distance = |&x: &f32| f64::from(x) - f64::from(codes.quantize(x, &params));
        let error: f64 = values.iter().map(|x| distance(x).powi(2)).sum();
        let power: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let decibels = 10.0 * (power / error).log10();
        assert!((decibels - 18.88).abs() < 0.05, "{decibels}");
    }

    /// Expected errors against those of the values, from steps of many bins to many steps in a bin.
    #[test]
    fn expected_errors_are_those_of_the_values() {
        let values = normal(100_000);
        let counts = counts(&[&values]);
        let density = Density::new(&counts);
        for (bits, extent) in [2, 4, 8, 10, 12].iter().flat_map(|&bits| {
            [(-3.0, 3.0), (-1.0, 2.5)].map(|(low, high)| (bits, Extent { low, high }))
        }) {
            let bits = BitWidth::new(bits).unwrap();
            let (codes, params) = (
                Affine::default().codes(bits).unwrap(),
                Affine::default().params(extent, bits).unwrap(),
            );
            let distance = |&x: &f32| f64::from(x) - f64::from(codes.quantize(x, &params));
            let exact: f64 = values.iter().map(|x| distance(x).powi(2)).sum();
            let expected = density.errors(&codes, &[params])[0];
            assert!((expected / exact - 1.0).abs() < 0.01, "{bits}: {expected}, {exact}");
            let (low, high) = cells::ends(&codes, &params);
            let clip = |&x: &f32| (f64::from(x) - f64::from(x).clamp(low, high)).powi(2);
            let exact: f64 = values.iter().map(clip).sum();
            let expected = density.clipped(&codes, &params);
            assert!((expected / exact - 1.0).abs() < 0.01, "{bits}: {expected}, {exact}");
        }
    }
}
