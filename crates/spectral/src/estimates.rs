//! Every estimator on one tensor, side by side.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::columns::{Word, columns};
use crate::{
    Alternative, Bootstrap, Farms, FitFailure, Hill, Interval, KsFit, NEVER, PowerLaw, Route,
    RowSubsampling, Spectrum, SpectrumError, Stop, SubsetAlphas, TailEstimator, TruncatedPowerLaw,
    Weights, WindowSpectra,
};

/// Which estimators run, and how. The power law is always fitted, and with it the truncated one and the
/// likelihood ratios, which cost a fraction of a millisecond.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Estimation {
    /// The power law, its tail and what counts as zero.
    pub ks: KsFit,
    /// Hill's estimator, of the spectrum and of the windows.
    pub hill: Hill,
    /// Windows, 0 a side to leave them out.
    pub farms: Farms,
    /// Replicates of the fit, 0 to leave them out.
    pub bootstrap: Bootstrap,
}

columns! {
    /// The estimates of one tensor. `None` is an empty cell.
    pub struct EstimateColumns {
        /// Hill's exponent of the upper half of the spectrum.
        hill: Option<f64> = "hill",
        /// Hill's exponent of windows of one aspect ratio.
        farms: Option<f64> = "farms",
        /// Exponent of the truncated power law on the tail of the plain one.
        tpl_alpha: Option<f64> = "tpl_alpha",
        /// Its cut-off, per unit of eigenvalue.
        tpl_lambda: Option<f64> = "tpl_lambda",
        /// Lower end of the bootstrap interval of alpha.
        alpha_lo: Option<f64> = "alpha_lo",
        /// Upper end.
        alpha_hi: Option<f64> = "alpha_hi",
        /// Goodness of fit: share of replicates that fit no better than the data.
        gof_p: Option<f64> = "gof_p",
        /// Log-likelihood ratio of the power law to an exponential, in nats.
        lr_exp: Option<f64> = "lr_exp",
        /// Its two-sided p-value.
        lr_exp_p: Option<f64> = "lr_exp_p",
        /// Log-likelihood ratio of the power law to a log-normal, in nats.
        lr_lognormal: Option<f64> = "lr_lognormal",
        /// Its two-sided p-value.
        lr_lognormal_p: Option<f64> = "lr_lognormal_p",
        /// Over- or under-trained, if all of the interval says so.
        verdict: Option<Word> = "verdict",
    }
}

/// What the estimators found.
#[derive(Debug, Clone)]
pub struct Estimates {
    /// The power law, or why there is none.
    pub fit: Result<PowerLaw, FitFailure>,
    /// The spectra of the windows, if asked for.
    pub windows: Option<WindowSpectra>,
    /// Everything as columns.
    pub columns: EstimateColumns,
}

impl Estimation {
    /// All estimates of `weights`, whose spectrum is `spectrum`; `key` draws the replicates.
    ///
    /// # Errors
    /// If the spectrum of a window fails, or `stop` ends the work. An estimator without a result leaves its columns empty.
    pub fn run(
        &self,
        weights: &Weights,
        spectrum: &Spectrum,
        key: &Key,
        stop: Stop,
    ) -> Result<Estimates, SpectrumError> {
        let sorted = spectrum.eigenvalues();
        let windows = (self.farms.per_side > 0).then(|| self.farms.spectra(weights)).transpose()?;
        let fit = self.ks.fit(sorted);
        let mut columns = EstimateColumns {
            hill: self.hill.alpha(sorted).ok(),
            farms: windows.as_ref().and_then(|windows| windows.alpha(&self.hill).ok()),
            ..EstimateColumns::default()
        };
        if let Ok(fit) = &fit {
            self.describe(fit, sorted, key, stop, &mut columns);
        }
        if stop() {
            return Err(SpectrumError::Interrupted); // perhaps without all replicates
        }
        Ok(Estimates { fit, windows, columns })
    }

    fn describe(
        &self,
        fit: &PowerLaw,
        sorted: &[f64],
        key: &Key,
        stop: Stop,
        columns: &mut EstimateColumns,
    ) {
        let truncated = TruncatedPowerLaw::of_tail(&sorted[sorted.len() - fit.tail..]).ok();
        columns.tpl_alpha = truncated.map(|law| law.alpha);
        columns.tpl_lambda = truncated.map(|law| law.lambda);
        let ratio = |alternative: Alternative| alternative.compare(fit, sorted).ok();
        let [exponential, lognormal] =
            [Alternative::Exponential, Alternative::LogNormal].map(ratio);
        columns.lr_exp = exponential.map(|it| it.ratio);
        columns.lr_exp_p = exponential.map(|it| it.p);
        columns.lr_lognormal = lognormal.map(|it| it.ratio);
        columns.lr_lognormal_p = lognormal.map(|it| it.p);
        let uncertainty = self.bootstrap.run(fit, &self.ks, sorted, key.derive("bootstrap"), stop);
        let uncertainty = uncertainty.ok().flatten(); // of no replicates none
        let interval: Option<Interval> = uncertainty.as_ref().map(|it| it.alpha);
        columns.alpha_lo = interval.map(|it| it.lower);
        columns.alpha_hi = interval.map(|it| it.upper);
        columns.gof_p = uncertainty.map(|it| it.p);
        columns.verdict = interval.and_then(|it| it.verdict()).map(|it| it.name().into());
    }
}

/// A tensor with its spectrum and estimates: one side of a comparison.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The entries.
    pub weights: Weights<'a>,
    /// Their eigenvalues.
    pub spectrum: Spectrum,
    /// What the estimators say of them.
    pub estimates: Estimates,
    /// The exponents of subsets of the rows, if there are any to compare with those of another side.
    pub subsets: Option<SubsetAlphas>,
}

impl<'a> Measured<'a> {
    /// Measures `weights`, from the Gram matrix.
    ///
    /// # Errors
    /// As [`Spectrum::from_weights`].
    pub fn new(
        weights: Weights<'a>,
        estimation: &Estimation,
        key: &Key,
    ) -> Result<Self, SpectrumError> {
        let spectrum = Spectrum::from_weights(&weights, Route::Gram)?;
        let estimates = estimation.run(&weights, &spectrum, key, NEVER)?;
        Ok(Self { weights, spectrum, estimates, subsets: None })
    }

    /// The same with the exponents of the subsets of its rows that `key` draws: one key for both sides of
    /// a comparison. None of a matrix without an exponent itself.
    ///
    /// # Errors
    /// [`SpectrumError::Interrupted`], where `stop` asks for an end.
    pub fn with_subsets(
        self,
        rows: &RowSubsampling,
        ks: &KsFit,
        key: &Key,
        stop: Stop<'_>,
    ) -> Result<Self, SpectrumError> {
        let subsets = match self.estimates.fit {
            Ok(_) => rows.alphas(&self.weights, ks, key, stop)?,
            Err(_) => None,
        };
        Ok(Self { subsets, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// `[80, 60]`, its columns of decreasing size: a heavy tail.
    fn heavy() -> Vec<f32> {
        let mut values = vec![0.0; 80 * 60];
        Key::from_seed(1).fill_normal(0, &mut values);
        for (place, value) in values.iter_mut().enumerate() {
            *value *= 1.0 / (1.0 + (place % 60) as f32);
        }
        values
    }

    #[test]
    fn columns_hold_what_the_estimators_say() {
        let values = heavy();
        let weights = Weights::matrix(&values, [80, 60]).unwrap();
        let estimation =
            Estimation { farms: Farms { rows: 30, ..Farms::default() }, ..Estimation::default() };
        let measured = Measured::new(weights, &estimation, &Key::from_seed(2)).unwrap();
        let Estimates { fit, windows, columns } = &measured.estimates;
        let alpha = fit.unwrap().alpha;
        assert!(columns.alpha_lo.unwrap() < alpha && alpha < columns.alpha_hi.unwrap());
        assert_eq!(columns.hill, Hill::default().alpha(measured.spectrum.eigenvalues()).ok());
        assert_eq!(windows.as_ref().unwrap().windows(), 16);
        let row = toml::Table::try_from(columns).unwrap();
        assert!(row.len() >= 11, "all but the verdict, which there may be: {columns:?}");
    }

    #[test]
    fn whoever_asks_for_an_end_gets_no_half_of_the_replicates() {
        let values = heavy();
        let weights = Weights::matrix(&values, [80, 60]).unwrap();
        let spectrum = Spectrum::from_weights(&weights, Route::Gram).unwrap();
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 100;
        let key = Key::from_seed(1);
        let ended = Estimation::default().run(&weights, &spectrum, &key, &stop);
        assert!(matches!(ended, Err(SpectrumError::Interrupted)));
        let asked = asked.into_inner();
        assert!((102..400).contains(&asked), "{asked} of 500 replicates");
    }

    #[test]
    fn a_failed_fit_leaves_its_columns_empty() {
        let weights = Weights::matrix(&[0.0; 600], [30, 20]).unwrap();
        let measured = Measured::new(weights, &Estimation::default(), &Key::from_seed(1)).unwrap();
        assert_eq!(measured.estimates.fit, Err(FitFailure::AllZero));
        assert_eq!(measured.estimates.columns, EstimateColumns::default());
    }
}
