//! How much work the matrices are, how much of it is done, and whether to go on.
//!
//! # Definition
//! A matrix with sides $s \le l$ is worth $s^2 l$ multiplications for its Gram matrix and as much time as
//! $4 s^3$ of them for the eigenvalues of that. A window is a matrix, too; a spectrum in single precision
//! takes half as long, and one of a subset of the rows has but a fifth of the Gram matrix. A replicate of
//! a fit to $s$ eigenvalues is worth $2000 s$. Only the proportions matter: the time that is left follows
//! from them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::SpectralStudy;
use super::selection::Part;
use crate::Progress;

/// Multiplications of a replicate of a fit, per eigenvalue.
const REPLICATE: f64 = 2000.0;

/// What a unit of work is called, and how many multiplications it has.
pub(super) const UNIT: (&str, f64) = ("Mflop", 1e6);

/// The work on all matrices.
pub(super) struct Work<'a> {
    progress: &'a dyn Progress,
    /// Units that are behind us.
    done: AtomicU64,
    /// Whether somebody has asked for an end.
    stopped: AtomicBool,
}

/// The work on one of them. Dropped, all of it is done.
pub(super) struct PartWork<'a> {
    work: &'a Work<'a>,
    name: &'a str,
    /// Units that are not yet reported.
    left: AtomicU64,
}

impl SpectralStudy {
    /// Units of work of a part, larger side, smaller side and slices: the original's and those of each
    /// variant.
    pub(super) fn costs(&self, sides: [usize; 3]) -> [u64; 2] {
        let [larger, smaller, slices] = sides.map(|it| it as f64);
        let of = |larger: f64, smaller: f64| smaller * smaller * (larger + 4.0 * smaller);
        let spectrum = slices * of(larger, smaller);
        let farms = &self.estimation.farms;
        let rows = smaller.min(farms.rows as f64);
        let windows =
            (farms.per_side as f64).powi(2) * slices * of(rows * farms.aspect as f64, rows);
        let replicates = self.estimation.bootstrap.replicates as f64 * slices * smaller * REPLICATE;
        let permuted = if self.randomize { 0.5 * spectrum } else { 0.0 };
        let subsets = if self.widths.is_empty() { 0 } else { self.comparison.rows.replicates };
        let subsets = 0.5 * subsets as f64 * slices * of(0.2 * larger, smaller);
        let measured = spectrum + windows + replicates + permuted + subsets;
        let drift = if self.comparison.directions > 0 { 6.0 } else { 0.0 };
        let compared = (0.5 * self.comparison.noise_replicates as f64 + drift) * spectrum;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        [measured, measured + compared].map(|cost| (cost / UNIT.1).ceil() as u64)
    }

    /// Units of work of a part and all its variants.
    pub(super) fn cost(&self, part: &Part) -> u64 {
        let [original, variant] = self.costs(part.sides());
        let variants = (self.variant_names().len() - 1) as u64;
        original.saturating_add(variant.saturating_mul(variants))
    }
}

impl<'a> Work<'a> {
    /// Begins work of this many units each.
    pub(super) fn begin(progress: &'a dyn Progress, costs: impl Iterator<Item = u64>) -> Self {
        let total = costs.fold(0, u64::saturating_add);
        progress.begin("spectral", UNIT.0, total);
        Self { progress, done: AtomicU64::new(0), stopped: AtomicBool::new(false) }
    }

    /// The work on the part of this name, `cost` units.
    pub(super) fn of(&'a self, name: &'a str, cost: u64) -> PartWork<'a> {
        PartWork { work: self, name, left: AtomicU64::new(cost) }
    }

    /// Says where we are, beside a note; whether somebody has asked for an end.
    fn stop(&self, note: &str) -> bool {
        if self.stopped.load(Ordering::Relaxed) {
            return true;
        }
        let said = self.progress.update(self.done.load(Ordering::Relaxed), note);
        if said == ControlFlow::Break(()) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        said.is_break()
    }

    /// The work is over.
    pub(super) fn end(self) {
        self.stop("");
        self.progress.end();
    }
}

impl PartWork<'_> {
    /// Whether somebody has asked for an end.
    pub(super) fn stop(&self) -> bool {
        self.work.stop(self.name)
    }

    /// `units` of this part are behind us.
    pub(super) fn finish(&self, units: u64) {
        let left = self.left.load(Ordering::Relaxed); // the worker of this part alone changes it
        let units = units.min(left);
        self.left.store(left - units, Ordering::Relaxed);
        self.work.done.fetch_add(units, Ordering::Relaxed);
    }
}

impl Drop for PartWork<'_> {
    fn drop(&mut self) {
        self.finish(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use spectral::{Bootstrap, Comparison, Estimation, Farms, RowSubsampling};

    use super::*;

    #[test]
    fn a_spectrum_and_its_multiples() {
        let study = |per_side, replicates, noise_replicates, directions| SpectralStudy {
            estimation: Estimation {
                farms: Farms { per_side, ..Farms::default() },
                bootstrap: Bootstrap { replicates, ..Bootstrap::default() },
                ..Estimation::default()
            },
            comparison: Comparison { noise_replicates, directions, ..Comparison::default() },
            ..SpectralStudy::default()
        };
        // 1000^2 (2000 + 4 * 1000) = 6000 million
        let plain = study(0, 0, 0, 0);
        assert_eq!(plain.costs([2000, 1000, 1]), [6000, 6000]);
        assert_eq!(plain.costs([2000, 1000, 9]), [54_000, 54_000]);
        // 16 windows of 256^3 (1 + 4) make 1343 million; 500 * 1000 * 2000 = 1000 million; 16 noisy
        // spectra are 8, and directions 6
        let measured = 6000 + 1343 + 1000;
        let all = study(4, 500, 16, 4);
        assert_eq!(all.costs([2000, 1000, 1]), [measured, measured + 14 * 6000]);
        assert_eq!(plain.costs([1 << 40, 1 << 40, 1]), [u64::MAX; 2]);
        // 10 subsets of half of 1000^2 (400 + 4000) = 2200 million each
        let rows = RowSubsampling { replicates: 10, ..RowSubsampling::default() };
        let comparison = Comparison { rows, ..plain.comparison.clone() };
        let widths = vec![quantizers::BitWidth::FULL];
        let paired = SpectralStudy { widths, comparison, ..plain };
        assert_eq!(paired.costs([2000, 1000, 1]), [28_000, 28_000]);
    }
}
