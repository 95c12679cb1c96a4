//! FARMS: spectra of windows of one aspect ratio, so that layers of every shape compare.
//!
//! # Definition
//! An eigenvalue distribution depends on the aspect ratio of the matrix, and with it every exponent. So
//! the matrix is covered by windows of $r \times rQ$, $rQ$ along the longer side, on a grid: along a side
//! of length $L$ the windows of length $l$ start at $0, \delta, 2\delta, \dots$ as long as they fit, at
//! most `per_side` of them, with $\delta = \max(1, \lfloor (L - l)/(\text{per\_side} - 1) \rfloor)$. Their
//! eigenvalues together are one spectrum, whose exponent is Hill's.
//!
//! # Reference
//! T. Hu et al., *Eigenspectrum analysis of neural networks without aspect ratio bias*, ICML 2025,
//! arXiv:2506.06280. Code: HUST-AI-HYZ/FARMS.
//!
//! # Deviations
//! Where a matrix is smaller than a window, $r$ shrinks until it fits. The windows overlap: they are not
//! independent samples. The code's search for a lower end confuses decades and units and is not
//! followed: [`TailEstimator`] takes whichever estimator one likes.

use serde::{Deserialize, Serialize};

use crate::{FitFailure, Route, Spectrum, SpectrumError, TailEstimator, Weights};

/// The windows of FARMS. The default is the paper's for language models.
///
/// ```toml
/// [farms]
/// rows = 256
/// aspect = 1
/// per_side = 4
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Farms {
    /// The shorter side of a window, $r$.
    pub rows: usize,
    /// Its aspect ratio, $Q$.
    pub aspect: usize,
    /// Most windows along a side.
    pub per_side: usize,
}

impl Default for Farms {
    fn default() -> Self {
        Self { rows: 256, aspect: 1, per_side: 4 }
    }
}

/// The spectra of the windows of one tensor, in row-major order of the windows.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpectra(Vec<Vec<f64>>);

impl Farms {
    /// The spectra of the windows of `weights`. Equal shapes have equal windows, before and after.
    ///
    /// # Errors
    /// If an eigenvalue iteration fails, or `rows`, `aspect` or `per_side` is zero.
    pub fn spectra(&self, weights: &Weights) -> Result<WindowSpectra, SpectrumError> {
        let [rows, cols] = weights.shape();
        let window = self.window([rows, cols]);
        let mut spectra = Vec::new();
        for values in weights.slices() {
            for top in self.starts(rows, window[0]) {
                for left in self.starts(cols, window[1]) {
                    let lines = values.chunks(cols).skip(top).take(window[0]);
                    let entries: Vec<f32> =
                        lines.flat_map(|line| &line[left..left + window[1]]).copied().collect();
                    let spectrum = Spectrum::from_matrix(&entries, window, Route::Gram)?;
                    spectra.push(spectrum.eigenvalues().to_vec());
                }
            }
        }
        Ok(WindowSpectra(spectra))
    }

    /// Rows and columns of a window in a matrix of `shape`, the shorter side first if it is there.
    fn window(&self, shape: [usize; 2]) -> [usize; 2] {
        let [short, long] = if shape[0] <= shape[1] { shape } else { [shape[1], shape[0]] };
        let aspect = self.aspect.min(long);
        let r = self.rows.min(short).min(long / aspect.max(1));
        if shape[0] <= shape[1] { [r, r * aspect] } else { [r * aspect, r] }
    }

    /// Where the windows of length `window` start along a side of length `side`, at least as long.
    fn starts(&self, side: usize, window: usize) -> impl Iterator<Item = usize> + use<> {
        let spare = side - window;
        let step = (spare / (self.per_side.max(2) - 1)).max(1);
        (0..=spare).step_by(step).take(self.per_side)
    }
}

impl WindowSpectra {
    /// How many windows there are.
    pub fn windows(&self) -> usize {
        self.0.len()
    }

    /// The eigenvalues of all windows, ascending.
    pub fn pooled(&self) -> Vec<f64> {
        self.pooled_from(0..self.0.len())
    }

    /// The exponent of the pooled spectrum.
    ///
    /// # Errors
    /// Where `estimator` finds none.
    pub fn alpha(&self, estimator: &dyn TailEstimator) -> Result<f64, FitFailure> {
        estimator.alpha(&self.pooled())
    }

    /// The eigenvalues of the given windows, ascending; a window given twice counts twice.
    pub(crate) fn pooled_from(&self, windows: impl IntoIterator<Item = usize>) -> Vec<f64> {
        let chosen = windows.into_iter().flat_map(|window| &self.0[window]);
        let mut pooled: Vec<f64> = chosen.copied().collect();
        pooled.sort_unstable_by(f64::total_cmp);
        pooled
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::Hill;

    fn starts(farms: &Farms, side: usize, window: usize) -> Vec<usize> {
        farms.starts(side, window).collect()
    }

    #[test]
    fn windows_start_on_an_even_grid() {
        let farms = Farms::default();
        assert_eq!(starts(&farms, 300, 100), [0, 66, 132, 198]); // 200/3 = 66
        assert_eq!(starts(&farms, 102, 100), [0, 1, 2]); // 2/3 = 0, so every one, of which three fit
        assert_eq!(starts(&farms, 100, 100), [0]);
        assert_eq!(starts(&Farms { per_side: 1, ..farms }, 300, 100), [0]);
    }

    #[test]
    fn a_window_keeps_its_aspect_and_lies_along_the_matrix() {
        let farms = Farms { rows: 100, aspect: 2, per_side: 4 };
        assert_eq!(farms.window([768, 2304]), [100, 200]);
        assert_eq!(farms.window([2304, 768]), [200, 100]);
        assert_eq!(farms.window([90, 2304]), [90, 180]);
        assert_eq!(farms.window([90, 120]), [60, 120]);
        assert_eq!(Farms { aspect: 4, ..farms }.window([3, 2]), [3, 1]);
    }

    #[test]
    fn one_window_over_all_is_the_spectrum() {
        let mut values = vec![0.0; 30 * 30];
        Key::from_seed(1).fill_normal(0, &mut values);
        let weights = Weights::matrix(&values, [30, 30]).unwrap();
        let windows = Farms::default().spectra(&weights).unwrap();
        let spectrum = Spectrum::from_matrix(&values, [30, 30], Route::Gram).unwrap();
        assert_eq!(windows.pooled(), spectrum.eigenvalues());
        assert_eq!(windows.windows(), 1);
    }

    #[test]
    fn the_aspect_ratio_no_longer_matters() {
        // Hill's exponent of noise grows from 2.13 at 1:1 to above 2.7 at 2:1; of windows it does not.
        let hill = Hill::default();
        let exponents = |rows: usize| {
            let mut values = vec![0.0; rows * 96];
            Key::from_seed(2).fill_normal(0, &mut values);
            let weights = Weights::matrix(&values, [rows, 96]).unwrap();
            let plain = Spectrum::from_weights(&weights, Route::Gram).unwrap();
            let windows = Farms { rows: 48, ..Farms::default() }.spectra(&weights).unwrap();
            (hill.alpha(plain.eigenvalues()).unwrap(), windows.alpha(&hill).unwrap())
        };
        let [(square, windows), (tall, tall_windows)] = [96, 192].map(exponents);
        assert!(tall - square > 0.4, "{square} {tall}");
        assert!((tall_windows - windows).abs() < 0.05, "{windows} {tall_windows}");
    }

    #[test]
    fn windows_without_a_size_are_an_error() {
        let weights = Weights::matrix(&[1.0; 4], [2, 2]).unwrap();
        for farms in
            [Farms { rows: 0, ..Farms::default() }, Farms { aspect: 0, ..Farms::default() }]
        {
            assert!(matches!(farms.spectra(&weights), Err(SpectrumError::Empty { .. })));
        }
        let none = Farms { per_side: 0, ..Farms::default() }.spectra(&weights).unwrap();
        assert_eq!(none.alpha(&Hill::default()), Err(FitFailure::AllZero));
    }
}
