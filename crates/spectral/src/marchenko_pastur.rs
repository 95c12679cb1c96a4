//! The bulk of a spectrum as that of random entries: a fit of the Marchenko-Pastur law.
//!
//! # Definition
//! The eigenvalues are scaled to mean one, $e = c\lambda$, and so is the random matrix that they are
//! compared with: entries of variance $\sigma^2$. Its density, with $Q = N/M$, is
//! $$ \rho(x) = \frac{Q}{2\pi\sigma^2 x} \sqrt{(b - x)(x - a)}, \qquad
//!    a, b = \sigma^2 (1 \mp Q^{-1/2})^2, $$
//! and $\sigma$ minimises the squared distance from a kernel density estimate of $e$ (triangles of half
//! width .1) at those of 1,000 points where that exceeds .01: first on a grid, then by the simplex of
//! Nelder and Mead. A $\sigma$ is infeasible if its edges $a$, $b$ do not enclose the mode, or $b$ is
//! beyond the estimate. A square matrix is fitted by its singular values, against
//! $\sqrt{4\sigma^2 - x^2}/(\pi\sigma^2)$.
//!
//! # Reference
//! V. A. Marchenko, L. A. Pastur (1967); the fit is WeightWatcher's `mp_fit`.
//!
//! # Notes on the reference implementation
//! It writes $\sqrt{4 - x^2}$ for a square matrix, kept in [`Mode::Compat`]. It estimates the density
//! again for every $\sigma$. If no $\sigma$ is feasible it returns the first of its grid: here too,
//! marked.

use std::f64::consts::PI;

use crate::Mode;

/// Half width of a kernel.
const HALF_WIDTH: f64 = 0.1;
/// Points of the density estimate.
const POINTS: usize = 1_000;
/// Points of less density do not count.
const LEAST_DENSITY: f64 = 0.01;
/// Stands for the distance at every point if $\sigma$ is infeasible.
const INFEASIBLE: f64 = 1_000.0;

/// A fitted Marchenko-Pastur law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarchenkoPastur {
    /// Standard deviation of the entries of the scaled matrix: `sigma_mp`.
    pub sigma: f64,
    /// Lower edge of the bulk, in units of the eigenvalues.
    pub bulk_min: f64,
    /// Upper edge of the bulk, in units of the eigenvalues.
    pub bulk_max: f64,
    /// Upper edge over the largest eigenvalue: `mp_softrank`.
    pub soft_rank: f64,
    /// Eigenvalues beyond the upper edge and its fluctuation.
    pub spikes: usize,
    /// $\sqrt c$: `W_scale`.
    pub scale: f64,
    /// Whether any $\sigma$ was feasible; if not, all but `scale` is meaningless.
    pub feasible: bool,
}

impl MarchenkoPastur {
    /// Fits ascending `eigenvalues` of an `larger` by `smaller` matrix, or of several such matrices;
    /// none if they are all zero, or too spread for an estimate of their density.
    pub fn fit(eigenvalues: &[f64], larger: usize, smaller: usize, mode: Mode) -> Option<Self> {
        let sum: f64 = eigenvalues.iter().sum();
        let square = eigenvalues.len() as f64 / sum;
        if !(square.is_finite() && square > 0.0) {
            return None;
        }
        let max = square * eigenvalues.last()?;
        let spread = (smaller as f64 / larger as f64).sqrt(); // Q^(-1/2)
        let scaled = eigenvalues.iter().map(|x| square * x);
        let density = if larger == smaller {
            Density::estimate(&scaled.map(f64::sqrt).collect::<Vec<_>>())?
        } else {
            Density::estimate(&scaled.collect::<Vec<_>>())?
        };
        let distance = |sigma: f64| match (larger == smaller, mode) {
            (true, Mode::Compat) => density.circle_distance(sigma, 2.0),
            (true, Mode::Strict) => density.circle_distance(sigma, 2.0 * sigma.abs()),
            (false, _) => density.bulk_distance(sigma, spread),
        };
        let unit = max.sqrt() / (1.0 + spread);
        let (sigma, least) = first_minimum(distance, 0.05 * unit, 2.0 * unit, 0.01 * unit)?;
        let feasible = least < INFEASIBLE.powi(2) * density.points.len() as f64;
        let sigma = if feasible { simplex(distance, sigma) } else { sigma };

        let [low, high] = [1.0 - spread, 1.0 + spread].map(|edge| (sigma * edge).powi(2));
        let fluctuation = spread * high.powf(2.0 / 3.0) * (smaller as f64).powf(-2.0 / 3.0);
        let beyond = (high + fluctuation.sqrt()) / square;
        Some(Self {
            sigma,
            bulk_min: low / square,
            bulk_max: high / square,
            soft_rank: high / max,
            spikes: eigenvalues.iter().filter(|&&x| x > beyond).count(),
            scale: square.sqrt(),
            feasible,
        })
    }
}

/// Where an estimated density counts, and how much it is there.
struct Density {
    /// Places and densities.
    points: Vec<(f64, f64)>,
    /// The place of the largest density.
    mode: f64,
}

impl Density {
    fn estimate(values: &[f64]) -> Option<Self> {
        let step = (values.last()? + 0.5) / (POINTS - 1) as f64;
        let mut sums = vec![0.0; POINTS];
        for value in values {
            let from = ((value - HALF_WIDTH) / step).max(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in 0..999"
            )]
            for (point, sum) in sums.iter_mut().enumerate().skip(from as usize) {
                let near = 1.0 - (point as f64 * step - value).abs() / HALF_WIDTH;
                if near > 0.0 {
                    *sum += near;
                } else if point as f64 * step > *value {
                    break;
                }
            }
        }
        let places = sums
            .into_iter()
            .enumerate()
            .map(|(point, sum)| (point as f64 * step, sum / (values.len() as f64 * HALF_WIDTH)));
        let points: Vec<_> = places.filter(|&(_, density)| density > LEAST_DENSITY).collect();
        let first = *points.first()?;
        let mode = points.iter().fold(first, |best, &it| if it.1 > best.1 { it } else { best }).0;
        Some(Self { points, mode })
    }

    /// Squared distance from the law of eigenvalues.
    fn bulk_distance(&self, sigma: f64, spread: f64) -> f64 {
        let [a, b] = [1.0 - spread, 1.0 + spread].map(|edge| (sigma * edge).powi(2));
        let last = self.points[self.points.len() - 1].0;
        if b < self.mode || b > last || a > self.mode {
            return INFEASIBLE.powi(2) * self.points.len() as f64;
        }
        let factor = 1.0 / (2.0 * PI * (sigma * spread).powi(2));
        self.distance(|x| if x > 0.0 { factor / x * ((b - x) * (x - a)).sqrt() } else { 0.0 })
    }

    /// Squared distance from the law of singular values, whose largest is `edge`.
    fn circle_distance(&self, sigma: f64, edge: f64) -> f64 {
        self.distance(|x| (edge * edge - x * x).sqrt() / (PI * sigma * sigma))
    }

    /// Squared distance from a law that is NaN where it has no density.
    fn distance(&self, law: impl Fn(f64) -> f64) -> f64 {
        let law = |x| Some(law(x)).filter(|density| !density.is_nan()).unwrap_or(0.0);
        self.points.iter().map(|&(x, density)| (law(x) - density).powi(2)).sum()
    }
}

/// The first place of least `value` on a grid from `start` to below `end`, and that value.
fn first_minimum(
    value: impl Fn(f64) -> f64,
    start: f64,
    end: f64,
    step: f64,
) -> Option<(f64, f64)> {
    let places = (0..).map(|i| start + f64::from(i) * step).take_while(|&place| place < end);
    places.map(|place| (place, value(place))).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The simplex of Nelder and Mead (1965) in one dimension, from 5 % to 1e-4 in place and value.
fn simplex(value: impl Fn(f64) -> f64, start: f64) -> f64 {
    let at = |place: f64| (place, value(place));
    let mut ends = [at(start), at(1.05 * start)];
    for _ in 0..200 {
        if ends[1].1 < ends[0].1 {
            ends.swap(0, 1);
        }
        let [best, worst] = ends;
        let width = worst.0 - best.0;
        if width.abs() <= 1e-4 && worst.1 - best.1 <= 1e-4 {
            break;
        }
        let reflected = at(best.0 - width);
        ends[1] = if reflected.1 < best.1 {
            let expanded = at(best.0 - 2.0 * width);
            if expanded.1 < reflected.1 { expanded } else { reflected }
        } else {
            let outside = (reflected.1 < worst.1).then(|| at(best.0 - 0.5 * width));
            let accepted = outside.filter(|outside| outside.1 <= reflected.1);
            accepted.unwrap_or_else(|| at(best.0 + 0.5 * width))
        };
    }
    ends[0].0
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Route, Spectrum};

    fn gaussian(rows: usize, cols: usize, seed: u64) -> Spectrum {
        let mut values = vec![0.0; rows * cols];
        Key::from_seed(seed).fill_normal(0, &mut values);
        Spectrum::from_matrix(&values, [rows, cols], Route::Gram).unwrap()
    }

    #[test]
    fn a_gaussian_matrix_is_all_bulk() {
        // Edges of (sqrt 600 -+ sqrt 400)^2; the standard deviation of the fit is about .005.
        let spectrum = gaussian(600, 400, 1);
        let fit = MarchenkoPastur::fit(spectrum.eigenvalues(), 600, 400, Mode::Strict).unwrap();
        assert!((fit.sigma - 1.0).abs() < 0.03 && fit.feasible && fit.spikes == 0, "{fit:?}");
        assert!((fit.bulk_max / 1979.8 - 1.0).abs() < 0.06, "{fit:?}");
        assert!((fit.bulk_min / 20.2 - 1.0).abs() < 0.06, "{fit:?}");
    }

    #[test]
    fn a_square_one_too_and_the_law_without_sigma_is_biased() {
        let spectrum = gaussian(400, 400, 2);
        let fit = |mode| MarchenkoPastur::fit(spectrum.eigenvalues(), 400, 400, mode).unwrap();
        assert!((fit(Mode::Strict).sigma - 1.0).abs() < 0.03, "{:?}", fit(Mode::Strict));
        assert_ne!(fit(Mode::Compat).sigma.to_bits(), fit(Mode::Strict).sigma.to_bits());
    }

    #[test]
    fn no_spread_and_no_eigenvalue() {
        assert_eq!(MarchenkoPastur::fit(&[0.0; 30], 40, 30, Mode::Compat), None);
        assert_eq!(MarchenkoPastur::fit(&[], 40, 30, Mode::Compat), None);
        let mut one = vec![0.0; 80];
        one[79] = 1.0; // scaled 80: the mode is at zero, below every lower edge
        let fit = MarchenkoPastur::fit(&one, 120, 80, Mode::Compat).unwrap();
        let unit = 80.0_f64.sqrt() / (1.0 + (80.0_f64 / 120.0).sqrt());
        assert!(!fit.feasible && (fit.sigma - 0.05 * unit).abs() < 1e-15);
        assert!((fit.soft_rank - 0.0025).abs() < 1e-15);
    }

    #[test]
    fn scale_changes_nothing_but_the_units() {
        let spectrum = gaussian(90, 60, 3);
        let tiny: Vec<f64> = spectrum.eigenvalues().iter().map(|x| x * 1e-20).collect();
        let [a, b] = [spectrum.eigenvalues(), &tiny]
            .map(|it| MarchenkoPastur::fit(it, 90, 60, Mode::Strict).unwrap());
        assert!((a.sigma - b.sigma).abs() < 1e-10 && a.spikes == b.spikes);
        assert!((a.bulk_max * 1e-20 / b.bulk_max - 1.0).abs() < 1e-10);
    }
}
