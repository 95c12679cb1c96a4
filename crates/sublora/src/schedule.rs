//! The learning rate: linear warm-up, then half a cosine down to a floor.
//!
//! # Definition
//! With peak $\eta$, floor $f\eta$, $w$ steps of warm-up and $n$ steps in all, step $t$ from 0 has
//! $$ \eta_t = \eta \frac{t + 1}{w + 1} \quad (t < w), \qquad
//!    \eta_t = f\eta + \tfrac12 (1 - f)\, \eta\, (1 + \cos \pi\phi), \quad
//!    \phi = \min\Bigl( 1, \frac{t - w}{n - w} \Bigr) \quad (t \ge w). $$
//! The peak is reached at step $w$; the floor at step $n$, the first one after the run.
//!
//! # Reference
//! I. Loshchilov and F. Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR 2017,
//! arXiv:1608.03983, equation 5, one period. Code: karpathy/nanoGPT, `train.py`, `get_lr`.
//!
//! # Notes on the reference implementation
//! It is given the floor as a learning rate; ours is a fraction of the peak, so that the peak can be
//! changed alone.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Linear warm-up, cosine decay. The default is nanoGPT's for GPT-2.
///
/// ```toml
/// [learning_rate]
/// peak = 6e-4
/// floor = 0.1
/// warm_up = 2000
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRate {
    /// $\eta$, the largest learning rate: above 0.
    pub peak: f64,
    /// $f$, the last learning rate as a fraction of the peak: from 0 to 1.
    pub floor: f64,
    /// $w$, steps before the peak. From the number of steps on, the run ends in its warm-up.
    pub warm_up: u64,
}

impl Default for LearningRate {
    fn default() -> Self {
        Self { peak: 6e-4, floor: 0.1, warm_up: 2_000 }
    }
}

impl LearningRate {
    /// The same rate from the first step to the last.
    pub fn constant(rate: f64) -> Self {
        Self { peak: rate, floor: 1.0, warm_up: 0 }
    }

    /// The learning rate of `step`, counted from 0, in a run of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / (self.warm_up as f64 + 1.0);
        }
        let decay = steps.saturating_sub(self.warm_up).max(1);
        let phase = ((step - self.warm_up) as f64 / decay as f64).min(1.0);
        self.peak * (self.floor + 0.5 * (1.0 - self.floor) * (1.0 + (PI * phase).cos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_peak_decay_and_floor() {
        let rate = LearningRate { peak: 8.0, floor: 0.25, warm_up: 3 };
        let expected = [
            2.0,                   // 8 * 1/4
            4.0,                   // 8 * 2/4
            6.0,                   // 8 * 3/4
            8.0,                   // 2 + 3 (1 + cos 0)
            7.121_320_343_559_642, // 2 + 3 (1 + cos π/4)
            5.0,                   // 2 + 3 (1 + cos π/2)
            2.878_679_656_440_357, // 2 + 3 (1 + cos 3π/4)
            2.0,                   // the floor, from the end of the run on
            2.0,
        ];
        for (step, expected) in (0..).zip(expected) {
            assert!((rate.at(step, 7) - expected).abs() < 1e-14, "{step}");
        }
    }

    #[test]
    fn no_warm_up_and_nothing_but_warm_up() {
        let rate = LearningRate { peak: 1.0, floor: 0.0, warm_up: 0 };
        for (step, steps, expected) in [(0, 2, 1.0), (1, 2, 0.5), (2, 2, 0.0), (0, 0, 1.0)] {
            assert!((rate.at(step, steps) - expected).abs() < 1e-15, "{step} of {steps}");
        }
        let rate = LearningRate { peak: 1.0, floor: 0.0, warm_up: u64::MAX };
        assert!(rate.at(u64::MAX, 10) > 0.999 && rate.at(9, 10) < 1e-17);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert_eq!(toml::from_str("floor = 0.1"), Ok(LearningRate::default()));
        let error = toml::from_str::<LearningRate>("flor = 0.1").unwrap_err().to_string();
        assert!(error.contains("unknown field `flor`"), "{error}");
    }
}
