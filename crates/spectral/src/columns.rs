//! The columns of one tensor, in WeightWatcher's order and under its names.

use std::borrow::Cow;

/// One of a few words.
pub type Word = Cow<'static, str>;

macro_rules! columns {
    (
        $(#[$meta:meta])*
        pub struct $row:ident {
            $($(#[doc = $about:literal])+ $field:ident: $type:ty = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        pub struct $row {
            $($(#[doc = $about])+ #[serde(rename = $name)] pub $field: $type,)+
        }
    };
}

pub(crate) use columns;

columns! {
    /// All that is said of one tensor by itself. `None` is an empty cell.
    pub struct Columns {
        /// The larger side of a matrix.
        larger_side: i64 = "N",
        /// The smaller side of a matrix.
        smaller_side: i64 = "M",
        /// Matrices in the tensor: the receptive field of a convolution, else 1.
        slices: i64 = "rf",
        /// N/M.
        aspect: f64 = "Q",
        /// Whether there is a spectrum.
        has_esd: bool = "has_esd",
        /// Eigenvalues.
        num_evals: i64 = "num_evals",
        /// Largest singular value.
        sv_max: Option<f64> = "sv_max",
        /// Largest over the matrices of the smallest singular value of each.
        sv_min: Option<f64> = "sv_min",
        /// Singular values up to `rank_tol` of the largest.
        rank_loss: Option<i64> = "rank_loss",
        /// Eigenvalues below 1e-6; compat only, since the threshold has a scale.
        weak_rank_loss: Option<i64> = "weak_rank_loss",
        /// Largest eigenvalue.
        lambda_max: f64 = "lambda_max",
        /// Exponent of the fitted power law.
        alpha: Option<f64> = "alpha",
        /// Smallest eigenvalue of the tail.
        xmin: Option<f64> = "xmin",
        /// Largest eigenvalue of the tail.
        xmax: Option<f64> = "xmax",
        /// Kolmogorov-Smirnov distance of the tail from the law.
        distance: Option<f64> = "D",
        /// (alpha - 1)/sqrt n, the standard error at a known xmin.
        sigma: Option<f64> = "sigma",
        /// Eigenvalues of at least xmin.
        num_pl_spikes: Option<i64> = "num_pl_spikes",
        /// Fingers without which the law was fitted.
        num_fingers: Option<i64> = "num_fingers",
        /// Exponent with them.
        raw_alpha: Option<f64> = "raw_alpha",
        /// `success` or `failed`.
        status: Word = "status",
        /// `over-trained` or `under-trained` by the exponent alone; compat only.
        warning: Option<Word> = "warning",
        /// Eigenvalues beyond the Marchenko-Pastur bulk.
        num_spikes: Option<i64> = "num_spikes",
        /// Standard deviation of the entries that the bulk tells.
        sigma_mp: Option<f64> = "sigma_mp",
        /// Upper edge of the bulk over the largest eigenvalue.
        mp_softrank: Option<f64> = "mp_softrank",
        /// What scales the matrix to eigenvalues of mean one.
        w_scale: Option<f64> = "W_scale",
        /// Upper edge of the bulk.
        bulk_max: Option<f64> = "bulk_max",
        /// Lower edge of the bulk.
        bulk_min: Option<f64> = "bulk_min",
        /// Largest eigenvalue after a permutation of the entries.
        max_rand_eval: Option<f64> = "max_rand_eval",
        /// Jensen-Shannon distance of the spectrum from a permuted one.
        rand_distance: Option<f64> = "rand_distance",
        /// Largest eigenvalue permuted over that unpermuted.
        ww_softrank: Option<f64> = "ww_softrank",
        /// Largest eigenvalue unpermuted less that permuted.
        ww_maxdist: Option<f64> = "ww_maxdist",
        /// As `num_spikes`, after a permutation.
        rand_num_spikes: Option<i64> = "rand_num_spikes",
        /// The same: correlation traps.
        num_traps: Option<i64> = "num_traps",
        /// As `sigma_mp`, after a permutation.
        rand_sigma_mp: Option<f64> = "rand_sigma_mp",
        /// As `mp_softrank`, after a permutation.
        rand_mp_softrank: Option<f64> = "rand_mp_softrank",
        /// As `W_scale`, after a permutation.
        rand_w_scale: Option<f64> = "rand_W_scale",
        /// As `bulk_max`, after a permutation.
        rand_bulk_max: Option<f64> = "rand_bulk_max",
        /// As `bulk_min`, after a permutation.
        rand_bulk_min: Option<f64> = "rand_bulk_min",
        /// Eigenvalues in the tail of unit product.
        det_x_num: i64 = "detX_num",
        /// The same.
        num_erg_spikes: i64 = "num_ERG_spikes",
        /// `detX_num` less `num_pl_spikes`.
        erg_gap: Option<i64> = "ERG_gap",
        /// Smallest eigenvalue of the tail of unit product.
        det_x_val: Option<f64> = "detX_val",
        /// The same in units of the mean, whatever its name says.
        det_x_val_unrescaled: Option<f64> = "detX_val_unrescaled",
        /// Sum of the eigenvalues: the squared Frobenius norm.
        norm: f64 = "norm",
        /// Its decimal logarithm.
        log_norm: Option<f64> = "log_norm",
        /// Largest eigenvalue.
        spectral_norm: f64 = "spectral_norm",
        /// Its decimal logarithm.
        log_spectral_norm: Option<f64> = "log_spectral_norm",
        /// alpha times `log_spectral_norm`.
        alpha_weighted: Option<f64> = "alpha_weighted",
        /// Decimal logarithm of the sum of the eigenvalues to the power alpha.
        log_alpha_norm: Option<f64> = "log_alpha_norm",
        /// norm/`spectral_norm`.
        stable_rank: Option<f64> = "stable_rank",
        /// Eigenvalues whose root exceeds `rank_tol` of the largest's.
        matrix_rank: Option<i64> = "matrix_rank",
        /// Entropy of the eigenvalues over the logarithm of the rank.
        entropy: Option<f64> = "entropy",
        /// Which singular values count as zero: up to this share of the largest.
        rank_tol: f64 = "rank_tol",
        /// `ok`, or why there is no strict fit.
        fit_status: Option<Word> = "fit_status",
        /// `ok`, `infeasible` or `failed`: the Marchenko-Pastur fit.
        mp_status: Option<Word> = "mp_status",
    }
}

/// WeightWatcher's `get_summary`: plain means over the rows, sentinels included; none of a column that is
/// empty in every row.
pub fn plain_means(rows: &[Columns]) -> [(&'static str, Option<f64>); 7] {
    type Column = fn(&Columns) -> Option<f64>;
    let columns: [(&str, Column); 7] = [
        ("log_norm", |row| row.log_norm),
        ("alpha", |row| row.alpha),
        ("alpha_weighted", |row| row.alpha_weighted),
        ("log_alpha_norm", |row| row.log_alpha_norm),
        ("log_spectral_norm", |row| row.log_spectral_norm),
        ("stable_rank", |row| row.stable_rank),
        ("mp_softrank", |row| row.mp_softrank),
    ];
    columns.map(|(name, column)| {
        let values: Vec<f64> = rows.iter().filter_map(column).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (name, (!values.is_empty()).then_some(mean))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_under_the_names_of_the_reference() {
        let columns = Columns { alpha: Some(2.5), det_x_num: 3, ..Columns::default() };
        let row = toml::Table::try_from(columns).unwrap();
        assert_eq!(row["alpha"], toml::Value::Float(2.5));
        assert_eq!(row["detX_num"], toml::Value::Integer(3));
        assert_eq!(row.get("xmin"), None);
    }

    #[test]
    fn plain_means_take_sentinels_for_numbers() {
        let rows = [-1.0, 4.0].map(|alpha| Columns { alpha: Some(alpha), ..Columns::default() });
        assert_eq!(plain_means(&rows)[1..3], [("alpha", Some(1.5)), ("alpha_weighted", None)]);
        assert!(plain_means(&[]).iter().all(|(_, mean)| mean.is_none()));
    }
}
