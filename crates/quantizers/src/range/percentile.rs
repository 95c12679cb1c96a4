//! The range that leaves out a given share of the values.
//!
//! # Definition
//! With the values in order and $h = (n - 1)\,q$, the $q$-quantile is $x_{\lfloor h \rfloor}$ and its
//! successor, interpolated at the fraction of $h$. For a share $p$, in percent, inside the range:
//! * `magnitude`: $T$ is the $p/100$-quantile of $|x|$; the range is that of the values, clipped to
//!   $\pm T$;
//! * `each`: from the $(1 - p/100)/2$-quantile of $x$ to the $(1 + p/100)/2$-quantile.
//!
//! # Reference
//! H. Wu et al., *Integer quantization for deep learning inference*, 2020, arXiv:2004.09602, section
//! 5.3; interpolation as in `numpy.quantile`. Quantiles come from the few values beyond them, or from a
//! selection, not from a sort.

use multiversion::multiversion;
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Observer, Range};
use crate::{BitWidth, Extent, Grid, Params, QuantizerError};

/// A percentile. Keeps every value it is shown, 4 bytes each: for a long calibration take the
/// `histogram` rule.
///
/// ```toml
/// [range]
/// kind = "percentile"
/// percent = 99.9
/// tails = "magnitude"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Percentile {
    /// $p$, the share of values inside the range: above 0 and at most 100.
    pub percent: f64,
    /// Where the others lie.
    pub tails: Tails,
}

/// Which tails a percentile cuts off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tails {
    /// The largest magnitudes.
    #[default]
    Magnitude,
    /// Half of the share at each end.
    Each,
}

impl Default for Percentile {
    fn default() -> Self {
        Self { percent: 99.9, tails: Tails::Magnitude }
    }
}

impl Range for Percentile {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Quantiles { rule: self.clone(), kept: Kept::default() })
    }
}

struct Quantiles {
    rule: Percentile,
    kept: Kept,
}

impl Quantiles {
    fn extent(&self) -> Result<Extent, QuantizerError> {
        let p = self.rule.percent;
        if !(p > 0.0 && p <= 100.0) {
            let expected = "a number above 0 and at most 100";
            return Err(QuantizerError::Setting { name: "percent", value: p, expected });
        }
        let (whole, p) = (self.kept.extent()?, p / 100.0);
        Ok(match self.rule.tails {
            Tails::Magnitude => {
                let mut magnitudes: Vec<i32> =
                    self.kept.values().iter().map(|x| key(x.abs())).collect();
                let t = quantile(&mut magnitudes, p);
                Extent { low: whole.low.max(-t), high: whole.high.min(t) }
            }
            Tails::Each => {
                let mut keys: Vec<i32> = self.kept.values().iter().map(|&x| key(x)).collect();
                let low = quantile(&mut keys, 0.5 * (1.0 - p));
                Extent { low, high: quantile(&mut keys, 0.5 * (1.0 + p)) }
            }
        })
    }
}

impl Observer for Quantiles {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.kept.observe(values)
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        grid.params(self.extent()?, bits)
    }
}

/// An integer in the order of the values: `f32::total_cmp` as a number. Its own inverse in bits.
#[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "bit patterns")]
fn key(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

#[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "bit patterns")]
fn value(key: i32) -> f64 {
    f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32).into()
}

/// The `q`-quantile of at least one value, whose keys are reordered.
#[expect(clippy::cast_sign_loss, reason = "between 0 and the last place")]
fn quantile(keys: &mut [i32], q: f64) -> f32 {
    let last = keys.len() - 1;
    let place = (last as f64 * q).min(last as f64);
    let floor = place.floor() as usize;
    let next = (floor + 1).min(last);
    let [below, above] = if last - floor < FEW {
        let top = largest(keys, last - floor + 1);
        [top[last - floor], top[last - next]]
    } else if next < FEW {
        let turned: Vec<i32> = keys.iter().map(|key| !key).collect();
        let top = largest(&turned, next + 1);
        [!top[floor], !top[next]]
    } else {
        let (_, &mut below, above) = keys.select_nth_unstable(floor);
        [below, above.iter().min().map_or(below, |&above| above)]
    }
    .map(value);
    (below + (above - below) * place.fract()) as f32
}

/// How many of the largest keys are found one by one.
const FEW: usize = 32;

/// The `count` largest keys, at most [`FEW`], the largest first. Few blocks of values hold one that is
/// among the largest so far.
#[multiversion(targets = "simd")]
fn largest(keys: &[i32], count: usize) -> [i32; FEW] {
    let mut top = [i32::MIN; FEW];
    for block in keys.chunks(64) {
        if block.iter().fold(i32::MIN, |all, &key| all.max(key)) > top[count - 1] {
            for &key in block {
                if key > top[count - 1] {
                    let place = top[..count].partition_point(|&larger| larger >= key);
                    top.copy_within(place..count - 1, place + 1);
                    top[place] = key;
                }
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;

    fn extent(values: &[f32], percent: f64, tails: Tails) -> Extent {
        let mut kept = Kept::default();
        kept.observe(values).unwrap();
        Quantiles { rule: Percentile { percent, tails }, kept }.extent().unwrap()
    }

    #[test]
    fn quantiles_are_interpolated() {
        // numpy.quantile([0, 1, 2, 3, 4], [.5, .9]) = 2, 3.6
        let values = [-4.0, 1.0, -0.0, 3.0, 2.0];
        let quantile = |p| extent(&values, p, Tails::Magnitude);
        assert_eq!(quantile(50.0), Extent { low: -2.0, high: 2.0 });
        assert_eq!(quantile(90.0), Extent { low: -3.6, high: 3.0 });
        assert_eq!(quantile(100.0), Extent { low: -4.0, high: 3.0 });
        // numpy.quantile([-4, 0, 1, 2, 3], [.05, .95]) = -3.2, 2.8
        assert_eq!(extent(&values, 90.0, Tails::Each), Extent { low: -3.2, high: 2.8 });
        assert_eq!(extent(&[0.0, 5.0], 50.0, Tails::Magnitude), Extent { low: 0.0, high: 2.5 });
        assert_eq!(extent(&[7.0], 50.0, Tails::Each), Extent { low: 7.0, high: 7.0 });
    }

    #[test]
    #[expect(clippy::cast_sign_loss, reason = "a place")]
    fn a_selection_finds_what_a_sort_finds() {
        let mut values = vec![0.0; 1_003];
        Key::from_seed(3).fill_normal(0, &mut values);
        values[500..520].fill(2.5); // ties
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        for p in [1.0_f64, 37.5, 90.0, 93.7, 93.8, 94.0, 99.0, 99.9, 99.999, 100.0] {
            let at = |q: f64| {
                let h = 1_002.0 * q;
                let k = h.floor() as usize;
                let next = f64::from(sorted[(k + 1).min(1_002)]);
                (f64::from(sorted[k]) + (next - f64::from(sorted[k])) * h.fract()) as f32
            };
            let expected =
                Extent { low: at(0.5 * (1.0 - p / 100.0)), high: at(0.5 * (1.0 + p / 100.0)) };
            assert_eq!(extent(&values, p, Tails::Each), expected, "{p}");
        }
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for percent in [0.0, -1.0, 100.1, f64::NAN] {
            let mut observer = Percentile { percent, tails: Tails::Each }.observer();
            observer.observe(&[1.0]).unwrap();
            let error = observer.fit(&crate::Symmetric {}, BitWidth::new(4).unwrap()).unwrap_err();
            let text = format!("`percent` is {percent}, expected a number above 0 and at most 100");
            assert_eq!(error.to_string(), text);
        }
    }
}
