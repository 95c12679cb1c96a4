//! The tail whose eigenvalues multiply to one: the condition of an exact renormalisation group.
//!
//! # Definition
//! Scaled to mean one, $r_j = \lambda_j L / \sum \lambda$, the tail is the shortest whose product is
//! below one: from the largest eigenvalue down, to the first $i$ with $\prod_{j \ge i} r_j < 1$.
//!
//! # Reference
//! C. H. Martin, C. Hinrichs, *SETOL: a semi-empirical theory of (deep) learning*, arXiv:2507.17912;
//! in WeightWatcher `detX_constraint`.
//!
//! # Notes on the reference implementation
//! The product over- or underflows from about 4,096 eigenvalues; here it is a sum of logarithms.

/// The tail of unit product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitProductTail {
    /// How many eigenvalues it holds: `detX_num`.
    pub count: usize,
    /// Its smallest eigenvalue: `detX_val`.
    pub smallest: f64,
    /// That in units of the mean: `detX_val_unrescaled`, though it is the rescaled one.
    pub smallest_scaled: f64,
}

impl UnitProductTail {
    /// Of ascending `eigenvalues`, `[L]`. All alike have a tail of none; it names the first one.
    pub fn new(eigenvalues: &[f64]) -> Self {
        let scale = eigenvalues.len() as f64 / eigenvalues.iter().sum::<f64>();
        let (count, place) = tail(eigenvalues, scale);
        let smallest = eigenvalues.get(place).copied().unwrap_or(f64::NAN);
        Self { count, smallest, smallest_scaled: smallest * scale }
    }
}

/// How many of the tail, and the place of the first of them.
fn tail(eigenvalues: &[f64], scale: f64) -> (usize, usize) {
    let len = eigenvalues.len();
    if len < 2 || eigenvalues[0] >= eigenvalues[len - 1] {
        return (0, 0);
    }
    let mut log_product = 0.0;
    for place in (1..len).rev() {
        log_product += (eigenvalues[place] * scale).ln();
        if log_product < 0.0 {
            return (len - place, place);
        }
    }
    (len, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_by_hand() {
        // Mean 2; scaled 1/8, 1/4, 1, 3/2, 17/8: products from above 2.13, 3.19, 3.19, .80.
        let tail = UnitProductTail::new(&[0.25, 0.5, 2.0, 3.0, 4.25]);
        assert_eq!(tail, UnitProductTail { count: 4, smallest: 0.5, smallest_scaled: 0.25 });
    }

    #[test]
    fn ends() {
        let mut ones = [0.0; 100];
        ones[90..].fill(1.0);
        assert_eq!(tail(&ones, 1.0), (11, 89));
        assert_eq!(UnitProductTail::new(&[1.0; 7]).count, 0);
        assert_eq!(tail(&[0.5, 2.0, 2.0], 1.0), (3, 1)); // the first is never multiplied
        let zeros = UnitProductTail::new(&[0.0; 7]);
        assert!(zeros.count == 0 && zeros.smallest_scaled.is_nan());
    }

    #[test]
    fn thousands_of_eigenvalues_neither_overflow_nor_vanish() {
        // Marchenko-Pastur quantiles for N/M = 1.5: reference counts to two, from exact logarithms.
        for (len, expected) in [(1024, 804), (4096, 3213), (8192, 6426_usize)] {
            let tail = UnitProductTail::new(&quantiles(len, 1.5));
            assert!(tail.count.abs_diff(expected) <= 2, "{len}: {tail:?}");
        }
    }

    /// The (i + 1/2)/len quantiles of the Marchenko-Pastur law, by summing its density finely.
    fn quantiles(len: usize, q: f64) -> Vec<f64> {
        const STEPS: usize = 400_000;
        let (a, b) = ((1.0 - q.powf(-0.5)).powi(2), (1.0 + q.powf(-0.5)).powi(2));
        let width = (b - a) / STEPS as f64;
        let (mut quantiles, mut mass) = (Vec::new(), 0.0);
        for step in 0..STEPS {
            let x = a + (step as f64 + 0.5) * width;
            mass += width * q / (2.0 * std::f64::consts::PI * x) * ((b - x) * (x - a)).sqrt();
            while quantiles.len() < len && mass >= (quantiles.len() as f64 + 0.5) / len as f64 {
                quantiles.push(x);
            }
        }
        quantiles
    }
}
