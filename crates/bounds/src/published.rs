//! Bounds as they are quoted: beside the value that says nothing, and rounded against ourselves.

use crate::{BoundError, Metric};

impl Metric {
    /// What the uniform predictor over `vocab` tokens achieves: $\log_2 V$ bits per token, or a top-k
    /// error of $1 - k/V$. A bound at or above it is vacuous.
    ///
    /// # Errors
    /// If there are fewer than two tokens, or `k` exceeds them.
    pub fn vacuous_above(self, vocab: u32) -> Result<f64, BoundError> {
        if vocab < 2 {
            return Err(BoundError::Vocabulary(vocab));
        }
        match self {
            Self::BitsPerToken => Ok(f64::from(vocab).log2()),
            Self::TopKError { k } if k.get() > vocab => Err(BoundError::TopK { k: k.get(), vocab }),
            Self::TopKError { k } => Ok(f64::from(vocab - k.get()) / f64::from(vocab)),
        }
    }
}

/// The least number with `decimals` decimals that is not below `value`: for upper bounds that are
/// published. Beyond the digits of an `f64` it is `value` itself.
pub fn round_up(value: f64, decimals: u8) -> f64 {
    let decimals = usize::from(decimals);
    // Through decimal text, because `value * 10^d` rounds: 1.1 must stay 1.1 at one decimal.
    let nearest = |value: f64| format!("{value:.decimals$}").parse().unwrap_or(f64::NAN);
    let step = 10_f64.powf(-(decimals as f64));
    [nearest(value), nearest(value + step)]
        .into_iter()
        .find(|&rounded| rounded >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, seeded};

    fn top(k: u32) -> Metric {
        Metric::TopKError { k: NonZeroU32::new(k).unwrap() }
    }

    #[test]
    fn the_uniform_predictor_is_the_threshold() {
        for (vocab, bits) in [(50_257, 15.617_037), (32_000, 14.965_784), (6_400, 12.643_856)] {
            assert_close(Metric::BitsPerToken.vacuous_above(vocab).unwrap(), bits, 4e-8);
        }
        assert_eq!(top(1).vacuous_above(256).unwrap(), 255.0 / 256.0);
        assert_eq!(top(256).vacuous_above(256).unwrap(), 0.0);
    }

    #[test]
    fn ranks_beyond_the_vocabulary_are_refused() {
        assert_eq!(top(11).vacuous_above(10), Err(BoundError::TopK { k: 11, vocab: 10 }));
        assert_eq!(Metric::BitsPerToken.vacuous_above(1), Err(BoundError::Vocabulary(1)));
    }

    #[test]
    fn rounding_goes_up_and_leaves_short_numbers_alone() {
        for (value, decimals, rounded) in [
            (12.111, 2, 12.12),
            (12.119, 2, 12.12),
            (1.1, 1, 1.1),
            (0.29, 2, 0.29),
            (-0.25, 1, -0.2),
            (3.000_000_1, 0, 4.0),
            (5.0, 0, 5.0),
        ] {
            assert_eq!(round_up(value, decimals), rounded, "{value} at {decimals}");
        }
        assert!(round_up(f64::NAN, 2).is_nan());
        assert_eq!(round_up(f64::INFINITY, 2), f64::INFINITY);
        assert_eq!(round_up(0.1, 255), 0.1);
    }

    proptest! {
        #![proptest_config(seeded())]

        #[test]
        fn rounding_never_lowers_a_bound(value in -1e3..1e3_f64, decimals in 0..9_u8) {
            let rounded = round_up(value, decimals);
            prop_assert!(rounded >= value);
            prop_assert!(rounded - value <= 1.001 * 10_f64.powi(-i32::from(decimals)));
        }
    }
}
