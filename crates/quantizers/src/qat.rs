//! The quantiser inside training: centroids as `f32` parameters, straight-through gradients.
//!
//! # Definition
//! Forward, coefficient $i$ becomes $c_{z_i}$ with $z_i$ the nearest centroid, the lowest index on
//! ties. Backward, the gradient $g$ at the quantised vector passes to the coefficients unchanged, and
//! centroid $k$ receives $\sum_{i : z_i = k} g_i$.
//!
//! # Reference
//! S. Lotfi et al., *PAC-Bayes Compression Bounds So Tight That They Can Explain Generalization*,
//! NeurIPS 2022, arXiv:2211.13609, after S. Han et al., *Deep Compression*, ICLR 2016,
//! arXiv:1510.00149.

use crate::CodebookError;
use crate::codebook::{check_finite, check_level_count};

/// The index of the nearest of `centroids`, `[levels]` in any order, for each of `values`, `[d]`; the
/// lowest of two.
///
/// # Errors
/// If there are no or more than 255 centroids, or any number is not finite.
pub fn nearest(values: &[f32], centroids: &[f32]) -> Result<Vec<u8>, CodebookError> {
    check_level_count(centroids.len())?;
    check_finite(values)?;
    if let Some(index) = centroids.iter().position(|it| !it.is_finite()) {
        return Err(CodebookError::CentroidNotFinite { index, value: centroids[index].into() });
    }
    let mut order: Vec<u8> = (0..centroids.len() as u8).collect();
    let centroid = |index: u8| f64::from(centroids[usize::from(index)]) + 0.0; // -0 becomes 0
    order.sort_by(|&a, &b| centroid(a).total_cmp(&centroid(b)));
    order.dedup_by(|after, before| centroid(*after) <= centroid(*before));
    let midpoint = |it: &[u8]| f64::midpoint(centroid(it[0]), centroid(it[1]));
    let midpoints: Vec<f64> = order.windows(2).map(midpoint).collect();
    let nearest = |&value: &f32| {
        let value = f64::from(value);
        let place = midpoints.partition_point(|&it| it < value);
        match midpoints.get(place) {
            Some(&border) if border <= value => order[place].min(order[place + 1]),
            _ => order[place],
        }
    };
    Ok(values.iter().map(nearest).collect())
}

/// The quantised vector, `[d]`: the centroid of every symbol.
///
/// # Panics
/// If a symbol names no centroid.
pub fn gather(symbols: &[u8], centroids: &[f32]) -> Vec<f32> {
    symbols.iter().map(|&symbol| centroids[usize::from(symbol)]).collect()
}

/// The gradient of the centroids, `[levels]`: that of the quantised vector, `[d]`, summed over the
/// members of each level in `f64`.
///
/// # Panics
/// If the lengths differ or a symbol is not below `levels`.
pub fn centroid_gradient(symbols: &[u8], gradient: &[f32], levels: usize) -> Vec<f32> {
    assert_eq!(symbols.len(), gradient.len(), "one gradient a symbol");
    let mut sums = vec![0.0_f64; levels];
    for (&symbol, &gradient) in symbols.iter().zip(gradient) {
        sums[usize::from(symbol)] += f64::from(gradient);
    }
    sums.into_iter().map(|it| it as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centroids_may_cross_and_meet() {
        let centroids = [1.0, -1.0, 0.0, -1.0];
        assert_eq!(nearest(&[-5.0, -0.5, 0.5, 0.4, 2.0], &centroids).unwrap(), [1, 1, 0, 2, 0]);
        assert_eq!(gather(&[1, 0, 2], &centroids), [-1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_centroid_receives_the_gradients_of_its_members() {
        let gradient = centroid_gradient(&[0, 2, 0, 2, 2], &[1.0, 0.5, 2.0, -4.0, 0.25], 4);
        assert_eq!(gradient, [3.0, 0.0, -3.25, 0.0]);
    }

    #[test]
    fn the_centroid_gradient_is_the_derivative_of_the_loss() {
        // loss = sum w_i (c[z_i])^2 / 2 has gradient w_i c[z_i] at the vector.
        let (symbols, weights, centroids) = ([0, 1, 1], [1.0, 2.0, 4.0], [3.0_f32, -0.5]);
        let vector = gather(&symbols, &centroids);
        let gradient: Vec<f32> = vector.iter().zip(weights).map(|(x, w)| w * x).collect();
        assert_eq!(centroid_gradient(&symbols, &gradient, 2), [1.0 * 3.0, (2.0 + 4.0) * -0.5]);
    }

    #[test]
    fn bad_numbers_are_refused() {
        assert_eq!(nearest(&[0.0], &[]), Err(CodebookError::LevelCount { levels: 0 }));
        assert!(nearest(&[f32::NAN], &[0.0]).is_err());
        assert!(nearest(&[0.0], &[0.0, f32::NAN]).is_err());
    }
}
