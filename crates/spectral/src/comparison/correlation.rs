//! Correlation of a measure over layers, before against after.
//!
//! # Definition
//! Pearson's $r = \sum_i (x_i - \bar x)(y_i - \bar y) / \sqrt{\sum_i (x_i - \bar x)^2 \sum_i (y_i - \bar y)^2}$;
//! Spearman's $\rho$ is $r$ of the ranks, tied values at their mean rank; Kendall's
//! $$ \tau_b = \frac{C - D}{\sqrt{(C + D + T_x)(C + D + T_y)}} $$
//! counts concordant and discordant pairs, and those tied in $x$ or in $y$ alone.
//!
//! # Reference
//! M. Kendall, *Rank Correlation Methods*, 1948. The values are those of `scipy.stats`.

use std::cmp::Ordering;

/// Pearson's $r$ of `pairs` $(x, y)$. None for fewer than two pairs, a constant side or a value that is
/// not finite.
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let (x_0, y_0) = pairs.first()?;
    let constant = |side: fn(&(f64, f64)) -> f64, first: &f64| {
        pairs.iter().all(|pair| side(pair).partial_cmp(first) == Some(Ordering::Equal))
    };
    if constant(|pair| pair.0, x_0) || constant(|pair| pair.1, y_0) {
        return None; // the rounded mean may differ from every value
    }
    let n = pairs.len() as f64;
    let mean = |side: fn(&(f64, f64)) -> f64| pairs.iter().map(side).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's $\rho$ of `pairs` $(x, y)$. None where [`pearson`] is.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return None;
    }
    let rank = |side: fn(&(f64, f64)) -> f64, value: f64| {
        let count = |order| {
            pairs.iter().filter(|pair| side(pair).partial_cmp(&value) == Some(order)).count()
        };
        count(Ordering::Less) as f64 + 0.5 * count(Ordering::Equal) as f64
    };
    let ranked = pairs.iter().map(|&(x, y)| (rank(|pair| pair.0, x), rank(|pair| pair.1, y)));
    pearson(&ranked.collect::<Vec<_>>())
}

/// Kendall's $\tau_b$ of `pairs` $(x, y)$, by looking at every two of them. None where [`pearson`] is.
pub fn kendall(pairs: &[(f64, f64)]) -> Option<f64> {
    let (mut score, mut distinct_x, mut distinct_y) = (0_i64, 0_i64, 0_i64);
    for (index, a) in pairs.iter().enumerate() {
        for b in &pairs[..index] {
            let (x, y) = (a.0.partial_cmp(&b.0)?, a.1.partial_cmp(&b.1)?);
            distinct_x += i64::from(x != Ordering::Equal);
            distinct_y += i64::from(y != Ordering::Equal);
            score += x as i64 * y as i64;
        }
    }
    let tau = score as f64 / (distinct_x as f64 * distinct_y as f64).sqrt();
    tau.is_finite().then(|| tau.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(f64, f64); 6] =
        [(2.5, 2.6), (3.1, 2.9), (2.8, 3.0), (6.0, 5.1), (3.1, 3.3), (4.4, 2.9)];

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-14, "{found} is not {expected}");
    }

    #[test]
    fn three_coefficients_of_six_pairs() {
        // Ranks of x: 1 3.5 2 6 3.5 5, of y: 1 2.5 4 6 5 2.5; both have mean 3.5 and sum of squares
        // 17.5 - .5 = 17; products of the deviations: 6.25 + 0 - .75 + 6.25 + 0 - 1.5 = 10.25.
        close(spearman(&PAIRS), 10.25 / 17.0);
        // 15 pairs, one tied in x alone, another in y alone: 10 concordant, 3 discordant.
        close(kendall(&PAIRS), 7.0 / 14.0);
        // Deviations from 3.65 and 3.3: sum of products 5.21, squares 8.735 and 4.14.
        close(pearson(&PAIRS), 5.21 / (8.735_f64 * 4.14).sqrt());
    }

    #[test]
    fn order_alone_matters_to_ranks() {
        let cubes: Vec<_> = (1..=9).map(|i| (f64::from(i), -f64::from(i).powi(3))).collect();
        close(spearman(&cubes), -1.0);
        close(kendall(&cubes), -1.0);
        assert!(pearson(&cubes).unwrap() > -0.95);
    }

    #[test]
    fn no_coefficient_without_spread() {
        let tenths = [(0.1, 1.0), (0.1, 2.0), (0.1, 3.0)]; // .1 + .1 + .1 is not .3
        for correlation in [pearson, spearman, kendall] {
            assert_eq!(correlation(&tenths), None);
            assert_eq!(correlation(&[]), None);
            assert_eq!(correlation(&[(1.0, 2.0)]), None);
            assert_eq!(correlation(&[(1.0, 2.0), (1.0, 3.0)]), None);
            assert_eq!(correlation(&[(1.0, 2.0), (f64::NAN, 3.0), (4.0, 1.0)]), None);
        }
    }
}
