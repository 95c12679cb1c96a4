//! From the weights of one tensor to its columns.

use counter_rng::Key;

use crate::norms::shifted_entropy;
use crate::{
    Columns, KsFit, MarchenkoPastur, Mode, PowerLaw, Randomized, Route, Spectrum, SpectrumError,
    UnitProductTail, Weights, compat, entropy, log_alpha_norm, norm, rank, stable_rank,
};

/// What is computed for every tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Whose rules hold.
    pub mode: Mode,
    /// From what the eigenvalues are computed.
    pub route: Route,
    /// The strict fit.
    pub ks: KsFit,
    /// Compat only: WeightWatcher's `fix_fingers = clip_xmax`.
    pub clip_xmax: bool,
    /// Whether the Marchenko-Pastur law is fitted.
    pub mp_fit: bool,
    /// Whether the entries are permuted for comparison, from this key.
    pub randomize: Option<Key>,
}

impl Analysis {
    /// The default analysis of a mode: no Marchenko-Pastur fit, no permutation. Strict ranks have an
    /// explicit threshold and need the Gram matrix only; compat ranks are WeightWatcher's and take
    /// singular values where that cannot tell.
    pub fn new(mode: Mode) -> Self {
        let route = match mode {
            Mode::Strict => Route::Gram,
            Mode::Compat => Route::Auto,
        };
        let ks = KsFit::default();
        Self { mode, route, ks, clip_xmax: false, mp_fit: false, randomize: None }
    }

    /// The spectrum and all columns of one tensor, on the calling thread alone.
    ///
    /// # Errors
    /// As [`Spectrum::from_weights`].
    pub fn run(&self, weights: &Weights) -> Result<(Spectrum, Columns), SpectrumError> {
        let spectrum = Spectrum::from_weights(weights, self.route)?;
        let mut columns = self.columns(&spectrum);
        if let Some(key) = &self.randomize {
            let random = Randomized::new(weights, &spectrum, key, self.mode)?;
            self.set_randomized(&mut columns, &random);
        }
        Ok((spectrum, columns))
    }

    /// All columns but those of a permutation.
    pub fn columns(&self, spectrum: &Spectrum) -> Columns {
        let eigenvalues = spectrum.eigenvalues();
        let mut columns = Columns {
            larger_side: count(spectrum.larger_side()),
            smaller_side: count(spectrum.smaller_side()),
            slices: count(spectrum.slices()),
            aspect: aspect(spectrum),
            has_esd: true,
            num_evals: count(eigenvalues.len()),
            lambda_max: spectrum.largest(),
            norm: norm(eigenvalues),
            log_norm: self.real(norm(eigenvalues).log10()),
            spectral_norm: spectrum.largest(),
            log_spectral_norm: self.real(spectrum.largest().log10()),
            stable_rank: self.real(stable_rank(eigenvalues)),
            sv_max: Some(spectrum.largest().sqrt()),
            ..Columns::default()
        };
        self.set_ranks(&mut columns, spectrum);
        self.set_fit(&mut columns, eigenvalues);
        self.set_tail(&mut columns, eigenvalues);
        if self.mp_fit {
            self.set_bulk(&mut columns, spectrum);
        }
        columns
    }

    /// `value`, unless it is not finite and the mode is strict.
    fn real(&self, value: f64) -> Option<f64> {
        (self.mode == Mode::Compat || value.is_finite()).then_some(value)
    }

    fn set_ranks(&self, columns: &mut Columns, spectrum: &Spectrum) {
        let eigenvalues = spectrum.eigenvalues();
        let machine = spectrum.larger_side() as f64 * f64::EPSILON;
        let exact = spectrum.rank_loss().filter(|_| self.route != Route::Gram);
        columns.sv_min = spectrum.rank_loss().map(|_| spectrum.singular_min());
        match (self.mode, exact) {
            (Mode::Strict, exact) => {
                let zeros = eigenvalues.len() - rank(eigenvalues, self.ks.zero_threshold);
                let loss = exact.unwrap_or(zeros);
                columns.rank_tol = exact.map_or(self.ks.zero_threshold.sqrt(), |_| machine);
                columns.rank_loss = Some(count(loss));
                columns.matrix_rank = Some(count(eigenvalues.len() - loss));
                columns.entropy = entropy(eigenvalues, eigenvalues.len() - loss);
            }
            (Mode::Compat, exact) => {
                columns.rank_tol = machine;
                columns.weak_rank_loss = Some(count(eigenvalues.partition_point(|&x| x < 1e-6)));
                columns.rank_loss = exact.map(count);
                let rank = exact.map(|_| rank(eigenvalues, machine.powi(2)));
                columns.matrix_rank = rank.map(count);
                columns.entropy = rank.map(|rank| shifted_entropy(eigenvalues, rank));
            }
        }
    }

    fn set_fit(&self, columns: &mut Columns, eigenvalues: &[f64]) {
        let law = match self.mode {
            Mode::Strict => {
                let law = self.ks.fit(eigenvalues);
                columns.fit_status =
                    Some(law.as_ref().map_or_else(|it| it.name(), |_| "ok").into());
                law.ok()
            }
            Mode::Compat if self.clip_xmax => {
                let clipped = compat::fit_clipped(eigenvalues);
                columns.num_fingers = Some(clipped.map_or(0, |it| count(it.fingers)));
                columns.raw_alpha = Some(clipped.map_or(-1.0, |it| it.raw_alpha));
                clipped.map(|it| it.fit)
            }
            Mode::Compat => compat::fit(eigenvalues),
        };
        columns.status = if law.is_some() { "success" } else { "failed" }.into();
        let of = |part: fn(&PowerLaw) -> f64| match self.mode {
            Mode::Strict => law.as_ref().map(part),
            Mode::Compat => Some(law.as_ref().map_or(-1.0, part)),
        };
        columns.alpha = of(|law| law.alpha);
        columns.distance = of(|law| law.distance);
        columns.sigma = of(|law| law.sigma);
        columns.xmin = of(|law| law.xmin);
        columns.xmax = law.map(|law| law.xmax);
        let above =
            |law: PowerLaw| eigenvalues.len() - eigenvalues.partition_point(|&x| x < law.xmin);
        columns.num_pl_spikes = match self.mode {
            Mode::Strict => law.map(|law| count(above(law))),
            Mode::Compat => Some(law.map_or(-1, |law| count(above(law)))),
        };
        if let Some(alpha) = columns.alpha {
            columns.alpha_weighted = self.real(alpha * columns.spectral_norm.log10());
            columns.log_alpha_norm = self.real(log_alpha_norm(eigenvalues, alpha));
            columns.warning = match alpha {
                _ if self.mode == Mode::Strict => None,
                alpha if alpha < 2.0 => Some("over-trained".into()),
                alpha if alpha > 6.0 => Some("under-trained".into()),
                _ => None,
            };
        }
    }

    fn set_tail(&self, columns: &mut Columns, eigenvalues: &[f64]) {
        let tail = UnitProductTail::new(eigenvalues);
        columns.det_x_num = count(tail.count);
        columns.num_erg_spikes = count(tail.count);
        columns.erg_gap = columns.num_pl_spikes.map(|spikes| count(tail.count) - spikes);
        columns.det_x_val_unrescaled = self.real(tail.smallest_scaled);
        let smallest = if tail.smallest_scaled.is_nan() { f64::NAN } else { tail.smallest };
        columns.det_x_val = self.real(smallest); // of zeros WeightWatcher has NaN
    }

    fn set_bulk(&self, columns: &mut Columns, spectrum: &Spectrum) {
        let eigenvalues = spectrum.eigenvalues();
        let sides = [spectrum.larger_side(), spectrum.smaller_side()];
        let law = MarchenkoPastur::fit(eigenvalues, sides[0], sides[1], self.mode);
        let status = match law {
            Some(law) if law.feasible => "ok",
            Some(_) => "infeasible",
            None => "failed",
        };
        columns.mp_status = Some(status.into());
        let bulk = self.bulk(law);
        columns.num_spikes = bulk.spikes;
        [
            columns.sigma_mp,
            columns.mp_softrank,
            columns.w_scale,
            columns.bulk_max,
            columns.bulk_min,
        ] = bulk.reals;
    }

    fn set_randomized(&self, columns: &mut Columns, random: &Randomized) {
        columns.max_rand_eval = Some(random.largest);
        columns.rand_distance = self.real(random.distance);
        columns.ww_softrank = self.real(random.soft_rank);
        columns.ww_maxdist = Some(random.excess);
        let bulk = self.bulk(random.bulk);
        (columns.rand_num_spikes, columns.num_traps) = (bulk.spikes, bulk.spikes);
        [
            columns.rand_sigma_mp,
            columns.rand_mp_softrank,
            columns.rand_w_scale,
            columns.rand_bulk_max,
            columns.rand_bulk_min,
        ] = bulk.reals;
    }

    /// A law's columns: empty in strict mode if it is infeasible, -1 in compat mode if there is none.
    fn bulk(&self, law: Option<MarchenkoPastur>) -> BulkColumns {
        let missing = (self.mode == Mode::Compat).then_some(-1.0);
        let law = law.filter(|law| law.feasible || self.mode == Mode::Compat);
        BulkColumns {
            spikes: law.map(|law| count(law.spikes)).or(missing.map(|_| -1)),
            reals: law.map_or([missing; 5], |law| {
                [law.sigma, law.soft_rank, law.scale, law.bulk_max, law.bulk_min].map(Some)
            }),
        }
    }
}

/// Spikes; then sigma, soft rank, scale, upper and lower edge.
struct BulkColumns {
    spikes: Option<i64>,
    reals: [Option<f64>; 5],
}

#[expect(clippy::cast_possible_wrap, reason = "no more than there is memory for")]
fn count(count: usize) -> i64 {
    count as i64
}

/// $N/M$.
fn aspect(spectrum: &Spectrum) -> f64 {
    spectrum.larger_side() as f64 / spectrum.smaller_side() as f64
}
