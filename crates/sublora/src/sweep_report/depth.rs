//! Does what a layer has depend on its depth?
//!
//! # Definition
//! Pearson's and Spearman's correlation of a value with the number of its layer, over all seeds at once
//! where there are several. The $p$ of each is the share of the orders of the layers, the same one for
//! all seeds, for which the correlation is at least as large in size as the one found. It is the layers
//! that are exchanged and not the values: seeds that agree are no further evidence of depth. Up to eight
//! layers every order is looked at; of more, 9 999 are drawn, and the one found is counted among them.
//!
//! Fewer than [`LEAST_LAYERS`] layers have no correlation that means anything: of two it is always 1 or
//! −1, and of three a perfect one comes about in every third order.
//!
//! # Reference
//! P. Good, *Permutation, Parametric, and Bootstrap Tests of Hypotheses*, 2005, section 3.

use counter_rng::Key;
use spectral::{pearson, spearman};

/// Layers from which on a correlation is computed.
pub(super) const LEAST_LAYERS: usize = 4;

/// Layers up to which every order is looked at: 40 320 of them.
const MOST_ORDERED: usize = 8;

/// Orders that are drawn where there are more.
const DRAWN: u64 = 9_999;

/// A correlation with the depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Depth {
    /// Layers.
    pub(super) layers: usize,
    /// Pearson's $r$ with its $p$.
    pub(super) pearson: (f64, f64),
    /// Spearman's $\rho$ with its $p$.
    pub(super) spearman: (f64, f64),
}

impl Depth {
    /// Of `series`, each the values of one seed by layer. None for fewer than [`LEAST_LAYERS`] layers,
    /// for series that are not equally long, or where no value differs.
    pub(super) fn of(series: &[Vec<f64>]) -> Option<Self> {
        let layers = series.first()?.len();
        if layers < LEAST_LAYERS || series.iter().any(|it| it.len() != layers) {
            return None;
        }
        let pairs = |order: &[u32]| -> Vec<(f64, f64)> {
            let pairs = series.iter().flat_map(|values| order.iter().zip(values));
            pairs.map(|(&layer, &value)| (f64::from(layer), value)).collect()
        };
        let both = |order: &[u32]| {
            let pairs = pairs(order);
            Some([pearson(&pairs)?, spearman(&pairs)?])
        };
        let ours: Vec<u32> = (0..u32::try_from(layers).ok()?).collect();
        let found = both(&ours)?;
        let (mut extreme, mut all) = ([0_u64; 2], 0_u64);
        let mut count = |order: &[u32]| {
            let correlations = both(order).unwrap_or(found);
            for ((extreme, it), found) in extreme.iter_mut().zip(correlations).zip(found) {
                *extreme += u64::from(it.abs() >= found.abs() - 1e-12);
            }
            all += 1;
        };
        if layers <= MOST_ORDERED {
            every_order(&mut ours.clone(), 0, &mut count);
        } else {
            count(&ours);
            let key = Key::from_seed(0).derive("sweep report, orders of layers");
            (0..DRAWN).for_each(|draw| count(&key.index(draw).permutation(layers)));
        }
        let p = extreme.map(|extreme| extreme as f64 / all as f64);
        Some(Self { layers, pearson: (found[0], p[0]), spearman: (found[1], p[1]) })
    }
}

/// Shows `each` every order of what follows `from`.
fn every_order(order: &mut [u32], from: usize, each: &mut impl FnMut(&[u32])) {
    if from == order.len() {
        return each(order);
    }
    for place in from..order.len() {
        order.swap(from, place);
        every_order(order, from + 1, each);
        order.swap(from, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // import itertools, numpy as np; from scipy import stats
    // def p(f, y): r = abs(f(range(len(y)), y)[0]); o = list(itertools.permutations(range(len(y))))
    //     return np.mean([abs(f(i, y)[0]) >= r - 1e-12 for i in o])
    // y = [0.2, 0.35, 0.3, 0.6, 0.55]
    // for f in (stats.pearsonr, stats.spearmanr): print(f(range(5), y)[0], p(f, y))
    #[test]
    fn correlations_are_those_of_scipy() {
        let depth = Depth::of(&[vec![0.2, 0.35, 0.3, 0.6, 0.55]]).unwrap();
        let close = |(r, p): (f64, f64), expected: (f64, f64)| {
            assert!((r - expected.0).abs() < 1e-12 && (p - expected.1).abs() < 1e-12, "{r} {p}");
        };
        close(depth.pearson, (0.885_879_567_828_298_1, 10.0 / 120.0));
        close(depth.spearman, (0.8, 16.0 / 120.0));
    }

    #[test]
    fn seeds_that_agree_are_no_further_evidence() {
        let one = vec![0.1, 0.2, 0.4, 0.3];
        let [alone, twice] =
            [&[one.clone()][..], &[one.clone(), one]].map(|it| Depth::of(it).unwrap());
        assert!((alone.pearson.0 - 0.8).abs() < 1e-12); // 4 / sqrt(5 * 5)
        assert!((alone.pearson.0 - twice.pearson.0).abs() < 1e-12);
        assert!((alone.pearson.1 - twice.pearson.1).abs() < 1e-12);
        // In 8 of the 24 orders the sum of products is 4 or 5 away from its mean, up or down.
        assert!((alone.pearson.1 - 8.0 / 24.0).abs() < 1e-12, "{:?}", alone.pearson);
    }

    #[test]
    fn many_layers_are_drawn_and_the_same_each_time() {
        let rising: Vec<f64> = (0..12).map(f64::from).collect();
        let depth = Depth::of(std::slice::from_ref(&rising)).unwrap();
        assert_eq!(depth.pearson, (1.0, 1e-4)); // ours alone of 10 000
        assert_eq!(Depth::of(&[rising]), Some(depth));
        let waves: Vec<f64> = (0..12).map(|it| f64::from(it * 5 % 12)).collect();
        let p = Depth::of(&[waves]).unwrap().spearman.1;
        assert!((0.05..1.0).contains(&p), "{p}");
    }

    #[test]
    fn what_has_no_depth_has_no_correlation() {
        assert_eq!(Depth::of(&[]), None);
        assert_eq!(Depth::of(&[vec![0.1, 0.2, 0.3]]), None);
        assert_eq!(Depth::of(&[vec![0.5; 6]]), None);
        assert_eq!(Depth::of(&[vec![0.1, 0.2, 0.3, 0.4], vec![0.1; 5]]), None);
    }
}
