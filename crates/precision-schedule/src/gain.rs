//! How fast a curve rises or falls.
//!
//! # Definition
//! The least-squares line through $y_0 \dots y_{K-1}$ at $0 \dots K - 1$ has slope and standard error
//! $$ \hat\beta = \frac{\sum (i - \bar i)(y_i - \bar y)}{S}, \qquad
//!    s = \sqrt{\frac{1}{(K - 2)\, S} \sum (y_i - \bar y - \hat\beta (i - \bar i))^2}, \qquad
//!    S = \sum (i - \bar i)^2 = \frac{K (K^2 - 1)}{12}. $$
//! The error is that of independent deviations; training curves are correlated a little, so it is small
//! rather than large.

/// A gain and how sure it is: of a loss, nats per iteration; of an accuracy, its rise over the whole
/// probe. Positive is learning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// The gain.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl Gain {
    /// The slope of `curve`, per iteration; none if a value is not finite, or there are less than three.
    pub(crate) fn slope(curve: &[f64]) -> Option<Self> {
        let n = curve.len() as f64;
        if curve.len() < 3 || !curve.iter().all(|y| y.is_finite()) {
            return None;
        }
        let (mid, mean) = (0.5 * (n - 1.0), curve.iter().sum::<f64>() / n);
        let places = || (0_u32..).map(|i| f64::from(i) - mid).zip(curve.iter().map(|y| y - mean));
        let square = n * (n * n - 1.0) / 12.0;
        let value = places().map(|(x, y)| x * y).sum::<f64>() / square;
        let residual: f64 = places().map(|(x, y)| (y - value * x).powi(2)).sum();
        let standard_error = (residual / ((n - 2.0) * square)).sqrt();
        Some(Self { value, standard_error }).filter(|it| it.standard_error.is_finite())
    }

    /// The gain in other units.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let Self { value, standard_error } = self;
        Self { value: value * factor, standard_error: standard_error * factor.abs() }
    }

    /// Whether it is more than two standard errors above zero.
    pub fn is_positive(&self) -> bool {
        self.value > 2.0 * self.standard_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let slope = Gain::slope(&[5.0, 4.5, 4.0, 3.5]).unwrap();
        assert_eq!((slope.value, slope.standard_error), (-0.5, 0.0));
        let flat = Gain::slope(&[2.0; 7]).unwrap();
        assert_eq!((flat.value, flat.standard_error), (0.0, 0.0));
        assert!(!flat.is_positive() && !slope.is_positive() && slope.scaled(-1.0).is_positive());
    }

    #[test]
    fn a_noisy_line_by_hand() {
        // Deviations -2, 0, -1, 2, 1 times -2, -1, 0, 1, 2: 4 + 2 + 2 = 8, of S = 10.
        // Residuals -0.4, 0.8, -1, 1.2, -0.6: 3.6 in squares; sqrt(3.6 / (3 * 10)) = 0.3464.
        let slope = Gain::slope(&[1.0, 3.0, 2.0, 5.0, 4.0]).unwrap();
        assert!((slope.value - 0.8).abs() < 1e-15);
        assert!((slope.standard_error - 0.12_f64.sqrt()).abs() < 1e-15);
        assert!(slope.is_positive()); // 0.8 > 0.69
        let scaled = slope.scaled(-10.0);
        assert!((scaled.value + 8.0).abs() < 1e-14);
        assert!((scaled.standard_error - 10.0 * 0.12_f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn curves_without_a_slope() {
        for curve in [&[][..], &[1.0, 2.0], &[1.0, f64::NAN, 3.0], &[1.0, 2.0, f64::INFINITY]] {
            assert_eq!(Gain::slope(curve), None, "{curve:?}");
        }
        assert_eq!(Gain::slope(&[f64::MAX, -f64::MAX, f64::MAX]), None);
    }
}
