//! How well the exponent is known, and whether the tail is a power law at all.
//!
//! # Definition
//! Of $N$ values $n$ are the tail of a fit with exponent $\alpha$, threshold $x_{\min}$ and distance $D$. A
//! replicate draws $N$ values, each with probability $n/N$ from the fitted tail,
//! $$ x = x_{\min} (1 - u)^{-1/(\alpha - 1)}, $$
//! and otherwise uniformly from the data below $x_{\min}$; it is fitted *with its own threshold*. The
//! percentiles of its exponents are the confidence interval, and the share of its distances that are at
//! least $D$ is the p-value of the fit: small, the data are no power law above any threshold.
//!
//! # Reference
//! A. Clauset, C. R. Shalizi, M. E. J. Newman, arXiv:0706.1062, sections 3.3 and 4.1.
//!
//! # Notes
//! Replicates are independent draws, eigenvalues repel each other: the interval is that of the model,
//! and on real spectra too wide rather than too narrow. The p-value is known to
//! $\pm \sqrt{p(1-p)/B}$: 2,500 replicates give $\pm .01$.

use counter_rng::{Key, Words};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{FitFailure, Interval, KsFit, KsScratch, PowerLaw, Stop};

/// The semi-parametric bootstrap of a power-law fit.
///
/// ```toml
/// [bootstrap]
/// replicates = 2500
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Replicates drawn.
    pub replicates: usize,
    /// Share of the replicates inside the interval.
    pub confidence: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { replicates: 500, confidence: 0.95 }
    }
}

/// What the replicates of a fit say about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Percentile interval of the exponent.
    pub alpha: Interval,
    /// Standard deviation of the replicates' exponents.
    pub standard_deviation: f64,
    /// Goodness of fit: share of the replicates that are no closer to their fit than the data.
    pub p: f64,
    /// Replicates without a fit, left out of everything above.
    pub failed: usize,
}

impl Bootstrap {
    /// Replicates of `fit`, which [`KsFit`] with the settings `settings` found on `sorted`, `[N]`
    /// ascending; none if `stop` ends them. The result depends on `key` alone, not on the number of threads.
    ///
    /// # Errors
    /// If `sorted` has no values for a fit or does not hold its tail, or if no replicate has a fit.
    pub fn run(
        &self,
        fit: &PowerLaw,
        settings: &KsFit,
        sorted: &[f64],
        key: Key,
        stop: Stop,
    ) -> Result<Option<Uncertainty>, FitFailure> {
        let kept = settings.kept(sorted)?;
        let below = kept.len().checked_sub(fit.tail).ok_or(FitFailure::TooFew)?;
        let source = Source { below: &kept[..below], fit };
        let replicate = |(scratch, draw): &mut (KsScratch, Draw), index: u64| {
            if stop() {
                return None;
            }
            source.draw(&mut key.index(index).words(0), draw);
            Some(settings.select(&draw.values, scratch).ok().map(|fit| (fit.alpha, fit.distance)))
        };
        let fits: Option<Vec<Option<(f64, f64)>>> = (0..self.replicates as u64)
            .into_par_iter()
            .map_init(Default::default, replicate)
            .collect();
        let Some(fits) = fits else { return Ok(None) };
        let mut alphas: Vec<f64> = fits.iter().flatten().map(|fit| fit.0).collect();
        let count = alphas.len() as f64;
        let mean = alphas.iter().sum::<f64>() / count;
        let squares: f64 = alphas.iter().map(|alpha| (alpha - mean) * (alpha - mean)).sum();
        let farther = fits.iter().flatten().filter(|replicate| replicate.1 >= fit.distance).count();
        Ok(Some(Uncertainty {
            failed: fits.len() - alphas.len(),
            alpha: Interval::percentile(&mut alphas, self.confidence).ok_or(FitFailure::TooFew)?,
            standard_deviation: (squares / count).sqrt(),
            p: farther as f64 / count,
        }))
    }
}

/// Where the values of a replicate come from.
struct Source<'a> {
    /// The data below the threshold, ascending.
    below: &'a [f64],
    fit: &'a PowerLaw,
}

/// Buffers of a replicate.
#[derive(Default)]
struct Draw {
    /// How often each value below the threshold was drawn.
    counts: Vec<usize>,
    tail: Vec<f64>,
    /// All values, ascending.
    values: Vec<f64>,
}

impl Source<'_> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place below")]
    fn draw(&self, words: &mut Words, draw: &mut Draw) {
        draw.counts.clear();
        draw.counts.resize(self.below.len(), 0);
        draw.tail.clear();
        draw.values.clear();
        let total = self.below.len() + self.fit.tail;
        for _ in 0..total {
            let place = words.uniform() * total as f64; // uniform within whichever part it falls in
            if place < self.below.len() as f64 {
                draw.counts[place as usize] += 1;
            } else {
                let u = (place - self.below.len() as f64) / self.fit.tail as f64;
                let log = -(1.0 - u).max(f64::EPSILON).ln() / (self.fit.alpha - 1.0);
                draw.tail.push(self.fit.xmin * log.exp());
            }
        }
        draw.tail.sort_unstable_by(f64::total_cmp);
        for (&value, &count) in self.below.iter().zip(&draw.counts) {
            draw.values.extend(std::iter::repeat_n(value, count));
        }
        draw.values.extend(&draw.tail);
    }
}
