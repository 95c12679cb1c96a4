//! A spectrum beside those of its matrix with all entries permuted.
//!
//! # Definition
//! A permutation keeps every entry and destroys what their places say. The law of Marchenko and Pastur
//! is fitted to a permuted spectrum (five pooled, if one has fewer than 100 eigenvalues); its spikes are
//! *traps*: entries too large for their kind. The distance is the root of the Jensen-Shannon divergence
//! (natural logarithm) between the sorted eigenvalues, each list divided by its sum; it and the largest
//! eigenvalue to compare with are those of the first permutation.
//!
//! # Notes on the reference implementation
//! WeightWatcher permutes by NumPy's global generator; we by a key. Numbers agree in distribution only,
//! and those of a matrix of low rank scatter with the permutation: report several. It draws one more
//! permutation for the distance: each column has the same distribution without. Permuted spectra are
//! computed in `f32`: what chance decides needs no more.

use counter_rng::Key;

use crate::spectrum::rough_eigenvalues;
use crate::{MarchenkoPastur, Mode, Spectrum, SpectrumError, Weights};

/// Fewer eigenvalues than these are pooled over [`POOLED`] permutations.
const FEW: usize = 100;
/// Permutations that are pooled.
const POOLED: u64 = 5;

/// What permuting the entries changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Randomized {
    /// Largest eigenvalue of the permuted matrices that the law is fitted to: `max_rand_eval`.
    pub largest: f64,
    /// Jensen-Shannon distance of the spectra: `rand_distance`; NaN if all entries are zero.
    pub distance: f64,
    /// Largest eigenvalue permuted over that unpermuted: `ww_softrank`.
    pub soft_rank: f64,
    /// Largest eigenvalue unpermuted less that permuted: `ww_maxdist`.
    pub excess: f64,
    /// The law of the permuted spectrum; its spikes are the traps.
    pub bulk: Option<MarchenkoPastur>,
}

impl Randomized {
    /// Compares `spectrum`, that of `weights`, with those of permutations drawn from `key`.
    ///
    /// # Errors
    /// As [`Spectrum::from_weights`].
    pub fn new(
        weights: &Weights,
        spectrum: &Spectrum,
        key: &Key,
        mode: Mode,
    ) -> Result<Self, SpectrumError> {
        let replica = |i| rough_eigenvalues(&weights.permuted(&key.index(i)));
        let first = replica(0)?;
        let largest = first.last().copied().unwrap_or(0.0);
        let mut pooled = first.clone();
        if pooled.len() < FEW {
            for i in 1..POOLED {
                pooled.extend(replica(i)?);
            }
            pooled.sort_unstable_by(f64::total_cmp);
        }
        Ok(Self {
            largest: pooled.last().copied().unwrap_or(0.0),
            distance: jensen_shannon(spectrum.eigenvalues(), &first),
            soft_rank: largest / spectrum.largest(),
            excess: spectrum.largest() - largest,
            bulk: MarchenkoPastur::fit(
                &pooled,
                spectrum.larger_side(),
                spectrum.smaller_side(),
                mode,
            ),
        })
    }
}

/// Root of the Jensen-Shannon divergence, in nats, of two lists divided by their sums.
fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let [p_sum, q_sum] = [p, q].map(|list| list.iter().sum::<f64>());
    let term = |share: f64, mean: f64| if share == 0.0 { 0.0 } else { share * (share / mean).ln() };
    let divergence = |(p, q): (&f64, &f64)| {
        let (p, q) = (p / p_sum, q / q_sum);
        let mean = f64::midpoint(p, q);
        f64::midpoint(term(p, mean), term(q, mean))
    };
    p.iter().zip(q).map(divergence).sum::<f64>().abs().sqrt() // rounding may leave -1e-17
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Route;

    #[test]
    fn the_distance_by_hand() {
        assert!(jensen_shannon(&[1.0, 3.0], &[2.0, 6.0]).abs() < 1e-8);
        // (1, 0) and (0, 1): ln 2.
        let far = jensen_shannon(&[4.0, 0.0], &[0.0, 1.0]);
        assert!((far - 2.0_f64.ln().sqrt()).abs() < 1e-15);
        assert!(jensen_shannon(&[0.0], &[0.0]).is_nan());
    }

    #[test]
    fn two_planted_entries_are_two_traps() {
        let mut values = vec![0.0; 300 * 200];
        Key::from_seed(1).fill_normal(0, &mut values);
        (values[1234], values[40_000]) = (60.0, -45.0);
        let weights = Weights::matrix(&values, [300, 200]).unwrap();
        let spectrum = Spectrum::from_weights(&weights, Route::Gram).unwrap();
        for seed in 0..3 {
            let key = Key::from_seed(seed);
            let random = Randomized::new(&weights, &spectrum, &key, Mode::Strict).unwrap();
            assert_eq!(random.bulk.unwrap().spikes, 2);
        }
    }

    #[test]
    fn entries_without_order_are_as_near_as_the_reference_says() {
        // 128 x 128 of variance 1/128: distance .0113 (.0018), largest 3.81 (.09), sigma 1.008 (.001).
        let mut values = vec![0.0; 128 * 128];
        Key::from_seed(2).fill_normal(0, &mut values);
        let values: Vec<f32> = values.iter().map(|x| x / 128.0_f32.sqrt()).collect();
        let weights = Weights::matrix(&values, [128, 128]).unwrap();
        let spectrum = Spectrum::from_weights(&weights, Route::Gram).unwrap();
        let key = Key::from_seed(3);
        let random = Randomized::new(&weights, &spectrum, &key, Mode::Compat).unwrap();
        assert!((random.distance - 0.0113).abs() < 5.0 * 0.0018, "{random:?}");
        assert!((random.largest - 3.81).abs() < 5.0 * 0.09, "{random:?}");
        assert!((random.bulk.unwrap().sigma - 1.008).abs() < 0.01, "{random:?}");
    }
}
