//! The shape of the distribution of an output channel.
//!
//! # Definition
//! With the norm $\lVert w \rVert$ of the channel's $n$ weights and their excess kurtosis
//! $k = m_4 / m_2^2 - 3$ about the mean,
//! * near zero: $\lVert w \rVert$ is below $10^{-3}$ of the median norm of the channels, or zero;
//! * heavy-tailed: $k > 4\sqrt{24/n}$; light-tailed: $k < -4\sqrt{24/n}$. The root is the standard deviation
//!   of $k$ for normal values;
//! * normal: what is left.

use serde::{Deserialize, Serialize};

use crate::Matrix;
use crate::matrix::{energy, quantile};

/// A class of output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowClass {
    /// Without a norm to speak of.
    NearZero,
    /// No tails but those of a normal distribution.
    Gaussian,
    /// More in the tails.
    HeavyTailed,
    /// Less in the tails, as of a uniform distribution.
    LightTailed,
}

impl RowClass {
    /// The class of each output channel, `[d_out]`.
    pub fn of(weights: Matrix<'_>) -> Vec<Self> {
        let channels = weights.channels();
        let channels: Vec<&[f32]> = channels.chunks_exact(weights.shape()[0]).collect();
        #[expect(clippy::cast_possible_truncation, reason = "a median needs no more")]
        let norms: Vec<f32> =
            channels.iter().map(|it| energy(it.iter().copied()).sqrt() as f32).collect();
        let median = quantile(&mut norms.clone(), 0.5);
        let class = |(channel, &norm): (&&[f32], &f32)| {
            let limit = 4.0 * (24.0 / channel.len() as f64).sqrt();
            match excess_kurtosis(channel) {
                _ if norm == 0.0 || f64::from(norm) < 1e-3 * median => Self::NearZero,
                kurtosis if kurtosis > limit => Self::HeavyTailed,
                kurtosis if kurtosis < -limit => Self::LightTailed,
                _ => Self::Gaussian,
            }
        };
        channels.iter().zip(&norms).map(class).collect()
    }
}

/// $m_4 / m_2^2 - 3$; 0 of values that are all the same.
fn excess_kurtosis(values: &[f32]) -> f64 {
    let len = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
    let moment = |k| values.iter().map(|&x| (f64::from(x) - mean).powi(k)).sum::<f64>() / len;
    let variance = moment(2);
    if variance == 0.0 { 0.0 } else { moment(4) / (variance * variance) - 3.0 }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::RowClass::{Gaussian, HeavyTailed, LightTailed, NearZero};
    use super::*;

    #[test]
    fn a_channel_of_each_class() {
        let mut normal = vec![0.0; 4_000];
        Key::from_seed(1).fill_normal(0, &mut normal);
        let mut uniform = vec![0.0; 1_000];
        Key::from_seed(2).fill_uniform(0, &mut uniform);
        let values: Vec<f32> = (0..1_000)
            .flat_map(|i| {
                let [a, b, c] = [normal[i], normal[i + 1_000].powi(3), 1e-4 * normal[i + 2_000]];
                [a, b, c, 0.0, uniform[i] as f32 - 0.5, normal[i + 3_000]]
            })
            .collect();
        let classes = RowClass::of(Matrix::new(&values, [1_000, 6]).unwrap());
        assert_eq!(classes, [Gaussian, HeavyTailed, NearZero, NearZero, LightTailed, Gaussian]);
    }

    #[test]
    fn kurtosis_by_hand() {
        // About the mean 0: m2 = 2, m4 = 6.8 -> 6.8 / 4 - 3.
        assert!((excess_kurtosis(&[-2.0, -1.0, 0.0, 1.0, 2.0]) + 1.3).abs() < 1e-12);
        assert_eq!(excess_kurtosis(&[3.0, 3.0]), 0.0);
        let zeros = Matrix::new(&[0.0; 4], [2, 2]).unwrap();
        assert_eq!(RowClass::of(zeros), [RowClass::NearZero; 2]);
    }
}
