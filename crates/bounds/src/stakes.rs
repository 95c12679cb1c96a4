//! The grid of stakes that product bounds try.
//!
//! A product bound holds for one stake $s \in (0, 1)$; a union over a grid $S$, fixed beforehand, costs
//! $\ln |S|$ and leaves the choice free. The grid is even in $\ln (s / (1 - s))$ from -8 to 8: the best
//! stake falls like $\sqrt c$ for small $c = K \ln 2 / m$ and approaches 1 for large, and a bound varies
//! little between neighbours.

use std::num::NonZeroU32;

/// Half the span of the grid in $\ln (s / (1 - s))$: stakes from 3.4e-4 to 1 - 3.4e-4.
const SPAN: f64 = 8.0;

/// The stakes of a grid of `size`, increasing.
pub(crate) fn stakes(size: NonZeroU32) -> impl Iterator<Item = f64> {
    let steps = f64::from(size.get() - 1).max(1.0);
    (0..size.get()).map(move |step| {
        let logit =
            if size.get() == 1 { 0.0 } else { SPAN * (2.0 * f64::from(step) / steps - 1.0) };
        1.0 / (1.0 + (-logit).exp())
    })
}

/// $\ln |S|$.
pub(crate) fn ln_size(size: NonZeroU32) -> f64 {
    f64::from(size.get()).ln()
}

/// The size of the default grid.
pub(crate) const DEFAULT: NonZeroU32 = NonZeroU32::new(64).unwrap();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_symmetric_and_increasing() {
        let stakes = |size| stakes(NonZeroU32::new(size).unwrap()).collect::<Vec<_>>();
        assert_eq!(stakes(1), [0.5]);
        let three = stakes(3);
        assert_eq!(three[1], 0.5);
        assert!((three[0] - 1.0 / (1.0 + 8_f64.exp())).abs() < 1e-18);
        assert!((three[0] + three[2] - 1.0).abs() < 1e-15);
        let many = stakes(64);
        assert!(many.is_sorted() && many[0] > 0.0 && many[63] < 1.0);
    }
}
