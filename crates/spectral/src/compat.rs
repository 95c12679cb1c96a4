//! WeightWatcher's power-law fit, to the letter of 0.7.7.
//!
//! # Definition
//! As [`KsFit`](crate::KsFit), with its thresholds: eigenvalues above $10^{-5}$, whatever their scale;
//! every tail of two or more is a candidate. Of fewer than 20 eigenvalues, candidates are the tails of
//! at least 8 with $S_i > 10^{-12}$, of exponent $1 + (n - 1)/S_i$; without any, the whole list; without
//! spread in it, exponent 0 at distance 1.
//!
//! `clip_xmax` drops the largest $k = 2, \dots, 9$ eigenvalues until the exponent is smaller by more
//! than one, or at most two. It then makes up to three more fits, ignores their results, and fails if
//! one had fewer than two points.
//!
//! # Reference
//! `WW_powerlaw.py` and `fit_clipped_powerlaw` of WeightWatcher 0.7.7 (Apache-2.0).

use crate::power_law::{KsScratch, PowerLaw};

/// Eigenvalues up to this do not take part.
const THRESHOLD: f64 = 1e-5;
/// Fewer values than these follow the rule for few.
const FEW: usize = 20;
/// Smallest tail of few values.
const FEW_TAIL: usize = 8;
/// With fewer values than these a layer fails.
const FEWEST: usize = 2;

/// A fit, and what was clipped for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clipped {
    /// The fit taken.
    pub fit: PowerLaw,
    /// How many fingers it is without, one fewer than the eigenvalues that were dropped.
    pub fingers: usize,
    /// The exponent before anything was dropped.
    pub raw_alpha: f64,
}

/// WeightWatcher's fit of ascending `eigenvalues`; none where it has status `failed`.
pub fn fit(eigenvalues: &[f64]) -> Option<PowerLaw> {
    fit_positive(above_threshold(eigenvalues), &mut KsScratch::default())
}

/// The same with `fix_fingers = clip_xmax`.
pub fn fit_clipped(eigenvalues: &[f64]) -> Option<Clipped> {
    let values = above_threshold(eigenvalues);
    let mut scratch = KsScratch::default();
    let mut without =
        |k: usize| fit_positive(&values[..values.len().saturating_sub(k)], &mut scratch);
    let raw = without(0)?;
    let mut clipped = Clipped { fit: raw, fingers: 0, raw_alpha: raw.alpha };
    let (mut dropped, mut last) = (0, raw);
    for k in 2..=9 {
        (dropped, last) = (k, without(k)?);
        if last.alpha + 1.0 < raw.alpha {
            clipped = Clipped { fit: last, fingers: k - 1, ..clipped };
            break;
        }
        if last.alpha <= 2.0 {
            break;
        }
    }
    for k in dropped + 1..=dropped + 3 {
        if (without(k)?.alpha - last.alpha).abs() > 1.0 {
            break;
        }
    }
    Some(clipped)
}

fn above_threshold(eigenvalues: &[f64]) -> &[f64] {
    &eigenvalues[eigenvalues.partition_point(|&x| x <= THRESHOLD)..]
}

fn fit_positive(values: &[f64], scratch: &mut KsScratch) -> Option<PowerLaw> {
    if values.len() < FEWEST {
        return None;
    }
    scratch.prepare(values);
    for i in 0..values.len() - 1 {
        let (n, spread) = ((values.len() - i) as f64, scratch.spread[i]);
        scratch.decay.push(if values.len() >= FEW {
            n / spread
        } else if values.len() - i >= FEW_TAIL && spread > 1e-12 {
            (n - 1.0) / spread
        } else {
            f64::NAN
        });
    }
    if scratch.decay.iter().all(|decay| decay.is_nan()) {
        let spread = scratch.spread[0];
        if spread <= 1e-12 {
            scratch.decay[0] = -1.0;
            return Some(scratch.power_law(values, 0, 1.0));
        }
        scratch.decay[0] = (values.len() - 1) as f64 / spread;
    }
    let (i, distance) = scratch.least_distance()?;
    Some(scratch.power_law(values, i, distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_have_an_infinite_exponent_and_count_as_a_success() {
        let tied = fit(&[1.0; 50]).unwrap();
        assert!(tied.alpha.is_infinite() && tied.sigma.is_infinite());
        assert_eq!((tied.distance.to_bits(), tied.tail), (0.5_f64.to_bits(), 2));
        let few = fit(&[1.0; 9]).unwrap(); // sigma = -1/sqrt 9
        assert_eq!((few.alpha, few.sigma, few.distance), (0.0, -1.0 / 3.0, 1.0));
    }

    #[test]
    fn the_threshold_has_a_scale() {
        assert_eq!(fit(&[1e-5; 30]), None);
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[1e-6, 1e-6, 1.0]), None);
        assert!(fit(&[1e-6, 1.0, 2.0]).is_some());
    }

    #[test]
    fn of_few_values_the_whole_list_is_a_candidate() {
        // 1, e: S = 1, n - 1 = 1, alpha = 2; deviation |1 - 1/e - 1/2|.
        let law = fit(&[1.0, std::f64::consts::E]).unwrap();
        assert!((law.alpha - 2.0).abs() < 1e-15);
        assert!((law.distance - (0.5 - (-1.0_f64).exp())).abs() < 1e-15);
    }

    #[test]
    fn clipping_fails_for_want_of_points_it_does_not_use() {
        let values: Vec<f64> = (10..20).map(f64::from).collect();
        assert!(fit(&values).is_some());
        assert_eq!(fit_clipped(&values), None);
    }
}
