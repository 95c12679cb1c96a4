//! Uniform smoothing: what bounds an unbounded loss.
//!
//! # Definition
//! A model's probability $p$ of the next token becomes $p_\alpha = (1 - \alpha) p + \alpha / V$. The loss
//! $-\log_2 p_\alpha$ lies in $[a, b]$,
//! $$ a = -\log_2 (1 - \alpha + \alpha/V), \quad b = \log_2 (V/\alpha), \quad
//!    \Delta_\alpha = \log_2 \bigl( 1 + (1 - \alpha) V / \alpha \bigr). $$
//! $V$ is the number of tokens that receive the uniform mass; a model that also gives mass to logits
//! beyond it stays a proper (sub-)probability.
//!
//! # Reference
//! S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, ICML 2024,
//! arXiv:2312.17173, section 4.

use std::f64::consts::LN_2;

use crate::{BoundError, LossRange};

/// The eight weights that the published code evaluates. They are not in the coded grid of
/// [`Alpha`](crate::Alpha): choose among them beforehand, or pay [`choice`](crate::code_length::choice)
/// of eight.
pub const REFERENCE_GRID: [f64; 8] = [1e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.25, 0.5];

/// Mixing with the uniform distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    alpha: f64,
    /// $\ln(1 - \alpha)$.
    ln_model: f64,
    /// $\ln(\alpha / V)$.
    ln_uniform: f64,
    range: LossRange,
}

impl Smoothing {
    /// Weight `alpha` for the uniform distribution over `vocab` tokens.
    ///
    /// # Errors
    /// If `alpha` is not in (0, 1) or there are fewer than two tokens.
    pub fn new(alpha: f64, vocab: u32) -> Result<Self, BoundError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(BoundError::Smoothing(alpha));
        }
        if vocab < 2 {
            return Err(BoundError::Vocabulary(vocab));
        }
        let vocab = f64::from(vocab);
        let low = -(-alpha * (vocab - 1.0) / vocab).ln_1p() / LN_2;
        let range = LossRange::new(low, (vocab / alpha).log2())?;
        Ok(Self { alpha, ln_model: (-alpha).ln_1p(), ln_uniform: alpha.ln() - vocab.ln(), range })
    }

    /// $\alpha$.
    pub fn alpha(self) -> f64 {
        self.alpha
    }

    /// $[a, b]$, in bits.
    pub fn range(self) -> LossRange {
        self.range
    }

    /// Loss in bits of a token to which the model gives a probability of $e^{\mathtt{ln\_p}}$, at
    /// most 1, in the log domain: $-\infty$ is allowed and gives $b$.
    pub fn loss(self, ln_p: f64) -> f64 {
        let model = self.ln_model + ln_p;
        let (large, small) = if model > self.ln_uniform {
            (model, self.ln_uniform)
        } else {
            (self.ln_uniform, model)
        };
        let nats = -(large + (small - large).exp().ln_1p());
        (nats / LN_2).clamp(self.range.low(), self.range.high()) // rounding leaves it by an ulp
    }

    /// A guess of the loss of the next token from the `entropy`, in nats, of the model's distribution.
    ///
    /// Were the text drawn from the smoothed model, a token would come from the model with probability
    /// $1 - \alpha$, at a loss of about $H / \ln 2$, and from the uniform distribution with probability
    /// $\alpha$, at about $b$. The guess is the mean of the two, cut to $[a, b]$. A Freedman bound is
    /// valid with any number in the range that the context alone determines, as this one is; the closer
    /// to the conditional mean, the tighter.
    pub fn predicted_loss(self, entropy: f64) -> f64 {
        let (low, high) = (self.range.low(), self.range.high());
        ((1.0 - self.alpha) * entropy / LN_2 + self.alpha * high).clamp(low, high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_close, seeded};

    #[test]
    fn widths_of_the_reference_grid() {
        let gpt2 = [
            28.904_605, 25.581_378, 23.253_662, 22.246_394, 19.864_966, 18.786_965, 17.202_009,
            15.617_066,
        ];
        let llama = [
            28.253_352, 24.930_125, 22.602_409, 21.595_141, 19.213_714, 18.135_714, 16.550_762,
            14.965_829,
        ];
        for (vocab, widths) in [(50_257, gpt2), (32_000, llama)] {
            for (alpha, width) in REFERENCE_GRID.into_iter().zip(widths) {
                let range = Smoothing::new(alpha, vocab).unwrap().range();
                assert!((range.width() - width).abs() < 5.1e-7, "{alpha} {vocab}");
            }
        }
    }

    #[test]
    fn range_at_an_eighth_over_6400_tokens() {
        let range = Smoothing::new(0.125, 6_400).unwrap().range();
        assert_close(range.low(), 0.192_612_875_287_493_66, 1e-12);
        assert_close(range.high(), 15.643_856_189_774_725, 1e-12);
        assert_close(range.width(), 15.451_243_314_487_23, 1e-12);
    }

    proptest! {
        #![proptest_config(seeded())]

        #[test]
        fn the_loss_runs_from_b_over_log_v_to_a(
            alpha in 1e-9..1.0 - 1e-9_f64, vocab in 2..200_000_u32, p in 0.0..1.0_f64, q in 0.0..1.0_f64,
        ) {
            let smoothing = Smoothing::new(alpha, vocab).unwrap();
            let range = smoothing.range();
            let ratio = (1.0 - alpha) * f64::from(vocab) / alpha;
            assert_close(smoothing.loss(f64::NEG_INFINITY), range.high(), 1e-13);
            assert!((smoothing.loss(0.0) - range.low()).abs() < 1e-13 * range.high());
            assert_close(smoothing.loss(-f64::from(vocab).ln()), f64::from(vocab).log2(), 1e-12);
            assert!((range.width() - ratio.ln_1p() / LN_2).abs() < 1e-13 * range.high());
            prop_assert!(smoothing.loss(p.min(q).ln()) >= smoothing.loss(p.max(q).ln()));
        }
    }

    #[test]
    fn the_predicted_loss_is_in_range() {
        let smoothing = Smoothing::new(0.25, 256).unwrap(); // b = 10
        assert_close(smoothing.predicted_loss(2.0 * LN_2), 0.75 * 2.0 + 2.5, 1e-15);
        assert_eq!(smoothing.predicted_loss(1e9), 10.0);
        assert_eq!(smoothing.predicted_loss(0.0), 2.5);
    }

    #[test]
    fn illegal_weights_and_vocabularies_are_refused() {
        for alpha in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(Smoothing::new(alpha, 10), Err(BoundError::Smoothing(_))), "{alpha}");
        }
        assert_eq!(Smoothing::new(0.5, 1), Err(BoundError::Vocabulary(1)));
    }
}
