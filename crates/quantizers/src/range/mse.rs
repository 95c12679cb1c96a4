//! The range of least error over the values themselves.
//!
//! # Definition
//! Of the candidates of the search (`range/search.rs`), all ranges from the extremes of the values
//! inwards, the one with the least $\sum |x - \hat x|^p$ on the grid and at the width asked for.
//!
//! # Reference
//! R. Banner et al., NeurIPS 2019, arXiv:1810.05723, for the idea; the candidates
//! $T = (1 - i/100) \max |x|$, $i < 80$, and $p = 2.4$ are those of the GPTQ code (E. Frantar et al.,
//! ICLR 2023, arXiv:2210.17323).
//!
//! # Notes on the reference implementation
//! It stops at a fifth of the largest magnitude, too early for heavy tails at 2 bits, and does not
//! refine; its exponent is fixed.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::search::{BATCH, Loss, search};
use super::{Observer, Range, kernel};
use crate::{BitWidth, Codes, Grid, Params, QuantizerError};

/// Least error by search. Keeps every value it is shown, 4 bytes each; where that is too much, the
/// `histogram` rule does the same on bins.
///
/// ```toml
/// [range]
/// kind = "mse"
/// exponent = 2.0
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mse {
    /// $p$, above 0 and at most 16. 2.4 weighs large errors more.
    pub exponent: f32,
}

impl Default for Mse {
    fn default() -> Self {
        Self { exponent: 2.0 }
    }
}

impl Range for Mse {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Errors { exponent: self.exponent, kept: Kept::default() })
    }
}

struct Errors {
    exponent: f32,
    kept: Kept,
}

impl Observer for Errors {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.kept.observe(values)
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        let p = self.exponent;
        if !(p > 0.0 && p <= 16.0) {
            let expected = "a number above 0 and at most 16";
            return Err(QuantizerError::Setting { name: "exponent", value: p.into(), expected });
        }
        search(&Values { values: self.kept.values(), p }, self.kept.extent()?, grid, bits)
    }
}

/// Every value, by the vector kernel.
struct Values<'a> {
    values: &'a [f32],
    p: f32,
}

impl Loss for Values<'_> {
    fn errors(&self, codes: &Codes, candidates: &[Params]) -> [f64; BATCH] {
        kernel::errors(self.values, codes, candidates, self.p)
    }

    fn clipped(&self, codes: &Codes, candidate: &Params) -> f64 {
        kernel::clipped(self.values, codes, candidate, self.p)
    }

    fn fine_step(&self, codes: &Codes) -> Option<f32> {
        let most = if codes.levels.table().is_some() { 16 } else { usize::MAX };
        match self.values.len() / codes.count().min(most) {
            0..2 => Some(0.25),
            2..16 => Some(0.5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;
    use crate::{Affine, Lsq, MinMax, Nf4, Percentile, Symmetric, Tails};

    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Key::from_seed(seed).fill_normal(0, &mut values);
        values
    }

    fn fit(range: &dyn Range, values: &[f32], grid: &dyn Grid, bits: u8) -> Params {
        let mut observer = range.observer();
        observer.observe(values).unwrap();
        observer.fit(grid, BitWidth::new(bits).unwrap()).unwrap()
    }

    fn error(values: &[f32], grid: &dyn Grid, bits: u8, params: &Params, p: f64) -> f64 {
        let codes = grid.codes(BitWidth::new(bits).unwrap()).unwrap();
        let distance = |x: f32| f64::from(x) - f64::from(codes.quantize(x, params));
        values.iter().map(|&x| distance(x).abs().powf(p)).sum()
    }

    fn gain(before: f64, after: f64) -> f64 {
        10.0 * (before / after).log10()
    }

    /// The quantiles of the normal distribution at the middles of `len` equal parts.
    fn quantiles(len: u32) -> Vec<f32> {
        let normal = Normal::standard();
        let at = |i| normal.inverse_cdf((f64::from(i) + 0.5) / f64::from(len)) as f32;
        (0..len).map(at).collect()
    }

    /// The clips are minima of the integrals of the error over the cells, for p = 2 and p = 2.4, and the
    /// decibels their value for p = 2. The parts end at 4.3 standard deviations, which 8 bits notice.
    #[test]
    fn clips_of_the_normal_distribution() {
        let values = quantiles(1 << 16);
        let power: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        for (bits, clip, clip_of_24, decibels, tolerance) in [
            (2, 1.2240, None, 7.21, 0.01),
            (3, 1.9523, Some(2.07), 13.29, 0.01),
            (4, 2.4739, Some(2.63), 18.90, 0.01),
            (5, 2.8987, Some(3.09), 24.33, 0.01),
            (8, 3.9205, Some(4.21), 40.54, 0.2),
        ] {
            let top = f32::from((1_i16 << (bits - 1)) - 1);
            let params = fit(&Mse::default(), &values, &Symmetric {}, bits);
            assert!((params.scale * top - clip).abs() < 0.02, "{bits}: {params:?}");
            let found = gain(power, error(&values, &Symmetric {}, bits, &params, 2.0));
            assert!((found - decibels).abs() < tolerance, "{bits}: {found}");
            let found = fit(&Mse { exponent: 2.4 }, &values, &Symmetric {}, bits).scale * top;
            let tolerance = if bits < 8 { 0.02 } else { 0.11 }; // the parts end near 4.21
            let is_close = |clip: f32| (found - clip).abs() < tolerance;
            assert!(clip_of_24.is_none_or(is_close), "{bits}: {found}");
        }
    }

    /// One code more below zero: its best scale and decibels, by the same integrals.
    #[test]
    fn the_best_scale_of_sixteen_levels_around_zero() {
        let values = quantiles(1 << 16);
        let power: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let grid = Lsq::default();
        let params = fit(&Mse::default(), &values, &grid, 4);
        assert!((params.scale - 0.3386).abs() < 0.002, "{params:?}");
        let found = gain(power, error(&values, &grid, 4, &params, 2.0));
        assert!((found - 19.26).abs() < 0.01, "{found}");
    }

    #[test]
    fn gains_over_the_whole_range() {
        let values = normal(2, 60_000);
        for (bits, decibels) in [(4, 3.8), (5, 2.6)] {
            let [whole, best] = [&MinMax {} as &dyn Range, &Mse::default()].map(|range| {
                let params = fit(range, &values, &Symmetric {}, bits);
                error(&values, &Symmetric {}, bits, &params, 2.0)
            });
            let found = gain(whole, best);
            assert!((found - decibels).abs() < 0.2, "{bits}: {found}"); // by the largest of a sample
        }
    }

    /// Rows of normal values, of their cubes and of shifted squares. Never worse than the whole range;
    /// against a clip that happens to hit one of the many minima, .02 dB are granted.
    #[test]
    fn no_percentile_is_better_on_any_row() {
        let grids: [&dyn Grid; 3] = [&Symmetric {}, &Affine::default(), &Nf4 {}];
        for (seed, len) in (0..48).zip([64, 100, 768, 1_000].into_iter().cycle()) {
            let shape = [|x: f32| x, |x: f32| x.powi(3), |x: f32| x * x - 0.2][seed as usize % 3];
            let row: Vec<f32> = normal(seed, len).into_iter().map(shape).collect();
            for (grid, bits) in
                [2, 3, 4, 5, 8].iter().flat_map(|&bits| grids.map(|grid| (grid, bits)))
            {
                if grid.codes(BitWidth::new(bits).unwrap()).is_err() {
                    continue;
                }
                let of =
                    |range: &dyn Range| error(&row, grid, bits, &fit(range, &row, grid, bits), 2.0);
                let best = of(&Mse::default());
                assert!(best <= (1.0 + 1e-5) * of(&MinMax {}), "{seed}, {bits}");
                for percent in [90.0, 95.0, 99.0, 99.5, 99.9, 99.99] {
                    for tails in [Tails::Magnitude, Tails::Each] {
                        let loss = gain(best, of(&Percentile { percent, tails }));
                        assert!(loss < 0.02, "{seed}, {len}, {bits}, {percent}, {tails:?}: {loss}");
                    }
                }
            }
        }
    }

    /// One value in 2,000 of 100 standard deviations: the best range at 2 bits is some hundredths of the
    /// largest magnitude, below the fifth where a list of 80 candidates would end.
    #[test]
    fn the_search_goes_on_below_a_fifth_of_the_range() {
        let mut values = normal(5, 20_000);
        values[7] = 100.0;
        let params = fit(&Mse { exponent: 1.0 }, &values, &Symmetric {}, 2);
        assert!((1.0..1.6).contains(&params.scale), "{params:?}");
    }

    #[test]
    fn an_exponent_that_is_none_is_refused() {
        for exponent in [0.0, -1.0, f32::NAN, 17.0] {
            let mut observer = Mse { exponent }.observer();
            observer.observe(&[1.0]).unwrap();
            let error = observer.fit(&Symmetric {}, BitWidth::new(4).unwrap()).unwrap_err();
            let text =
                format!("`exponent` is {exponent}, expected a number above 0 and at most 16");
            assert_eq!(error.to_string(), text);
        }
    }
}
