//! How a gate divides a slice of coordinates between the two sides of a layer.
//!
//! # Definition
//! A gate has one logit $\vartheta$ and $\gamma = \sigma(\vartheta)$, the share of B. Coordinate $i$ of
//! a slice of $d_l$ counts with weight $m_i$ for B and $1 - m_i$ for A,
//! $$ m_i = \sigma(C (\gamma d_l - i - o)), \qquad
//!    \frac{\partial m_i}{\partial \gamma} = C d_l\, m_i (1 - m_i), $$
//! $i = 0 \dots d_l - 1$: a ramp of sharpness $C$. With the offset $o = 1/2$ the weights sum to
//! $\gamma d_l$ about; with 0 they sum to half a coordinate more. For $C = \infty$ the first
//! $k = \lceil \gamma d_l - 1/2 \rceil$ coordinates are of B, all others of A.
//!
//! The gradient of the logit is that of $\gamma$ times $\gamma (1 - \gamma)$.

mod annealed;
mod soft_mask;

use crate::AllocationError;

registry::methods! {
    /// Every gate.
    pub enum AnyGate: dyn Gate {
        /// A ramp that is wide at first, narrows, and ends as a whole number of coordinates (ours).
        annealed::Annealed = "annealed",
        /// A ramp of fixed sharpness, one or two coordinates wide: the literal gate of the original.
        soft_mask::SoftMask = "soft-mask",
    }
}

impl Default for AnyGate {
    fn default() -> Self {
        Self::Annealed(Annealed::default())
    }
}

/// A rule for the ramp of a gate.
pub trait Gate {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`AllocationError::Gate`].
    fn check(&self) -> Result<(), AllocationError>;

    /// The ramp over `width` coordinates after a share `progress`, 0 to 1, of the training.
    fn ramp(&self, width: usize, progress: f64) -> Ramp;

    /// What is stored of a gate over `width` coordinates.
    fn code(&self, width: usize) -> GateCode;
}

/// The weights of a slice as a function of $\gamma$.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// $C$; infinite for a split.
    pub sharpness: f64,
    /// $o$.
    pub offset: f64,
}

/// What is stored of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateCode {
    /// The whole number $k$ of B's coordinates, one of $d_l + 1$.
    Split,
    /// $\gamma$ in fixed point, $(n + 1/2) / 2^b$.
    FixedPoint {
        /// $b$.
        bits: u32,
    },
}

/// $1 / (1 + e^{-x})$, with the same bits on every platform.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

impl Ramp {
    /// B's weights of `width` coordinates.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub fn weights(self, gamma: f64, width: usize) -> Vec<f32> {
        if self.sharpness.is_infinite() {
            let split = gamma * width as f64 - 0.5;
            return (0..width).map(|i| f32::from(u8::from((i as f64) < split))).collect();
        }
        (0..width).map(|i| self.at(gamma, width, i) as f32).collect()
    }

    /// Their derivatives by $\gamma$; zero for a split.
    pub fn slopes(self, gamma: f64, width: usize) -> Vec<f64> {
        if self.sharpness.is_infinite() {
            return vec![0.0; width];
        }
        let slope = |i| {
            let weight = self.at(gamma, width, i);
            self.sharpness * width as f64 * weight * (1.0 - weight)
        };
        (0..width).map(slope).collect()
    }

    fn at(self, gamma: f64, width: usize, i: usize) -> f64 {
        sigmoid(self.sharpness * (gamma * width as f64 - i as f64 - self.offset))
    }
}

impl GateCode {
    /// How many values there are for `width` coordinates.
    pub fn values(self, width: usize) -> u64 {
        match self {
            Self::Split => width as u64 + 1,
            Self::FixedPoint { bits } => 1 << bits,
        }
    }

    /// The value nearest to `gamma`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 up to a width, or to 2^bits"
    )]
    pub fn encode(self, gamma: f64, width: usize) -> u64 {
        match self {
            Self::Split => (gamma * width as f64 - 0.5).ceil().clamp(0.0, width as f64) as u64,
            Self::FixedPoint { .. } => {
                let scale = self.values(width) as f64;
                (gamma * scale).floor().clamp(0.0, scale - 1.0) as u64
            }
        }
    }

    /// The $\gamma$ that a value stands for.
    pub fn decode(self, value: u64, width: usize) -> f64 {
        match self {
            Self::Split => value as f64 / width as f64,
            Self::FixedPoint { .. } => (value as f64 + 0.5) / self.values(width) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// $d_l = 4$, $\gamma = 1/2$, $C = 2$, $\alpha = (1, -1, 2, 1/2)$, with the gradients of the two
    /// sides $u^B = (1, 2, -1, 1/2)$ and $u^A = (0, 1, 1, -2)$.
    #[test]
    fn ramps_and_their_gradients_by_hand() {
        let pull = [1.0, -1.0, -4.0, 1.25]; // alpha (u^B - u^A)
        for (offset, mask, by_gamma, by_logit) in [
            (
                0.0,
                [0.982_013_79, 0.880_797_08, 0.5, 0.119_202_92],
                -7.648_711_179_5,
                -1.912_177_794_9,
            ),
            (
                0.5,
                [0.952_574_13, 0.731_058_58, 0.268_941_42, 0.047_425_87],
                -7.051_297_454_5,
                -1.762_824_363_6,
            ),
        ] {
            let ramp = Ramp { sharpness: 2.0, offset };
            for (found, expected) in ramp.weights(0.5, 4).into_iter().zip(mask) {
                assert!((f64::from(found) - expected).abs() < 1e-7, "{found} {expected}");
            }
            let slopes = ramp.slopes(0.5, 4);
            let gradient: f64 = slopes.iter().zip(pull).map(|(slope, pull)| slope * pull).sum();
            assert!((gradient - by_gamma).abs() < 1e-9, "{gradient}");
            assert!((0.25 * gradient - by_logit).abs() < 1e-9);
        }
    }

    #[test]
    fn slopes_are_the_derivatives_of_the_weights() {
        for gate in AnyGate::all() {
            for progress in [0.0, 0.3, 0.7] {
                let ramp = gate.as_dyn().ramp(12, progress);
                let (gamma, step) = (0.43, 1e-7);
                for (i, slope) in ramp.slopes(gamma, 12).into_iter().enumerate() {
                    let at = |gamma| ramp.at(gamma, 12, i);
                    let expected = (at(gamma + step) - at(gamma - step)) / (2.0 * step);
                    let scale = ramp.sharpness * 12.0;
                    assert!((slope - expected).abs() < 1e-6 * scale, "{} {i}", gate.name());
                }
            }
        }
    }

    #[test]
    fn a_split_is_the_limit_of_the_ramp() {
        for gamma in [0.01, 0.2, 0.51, 0.74, 0.99] {
            let split = Ramp { sharpness: f64::INFINITY, offset: 0.5 };
            let steep = Ramp { sharpness: 1e6, offset: 0.5 };
            assert_eq!(split.weights(gamma, 9), steep.weights(gamma, 9), "{gamma}");
            assert_eq!(split.slopes(gamma, 9), [0.0; 9]);
        }
        // 0.5 * 5 = 2.5 is between: the lower one.
        assert_eq!(GateCode::Split.encode(0.5, 5), 2);
    }

    #[test]
    fn codes_come_back() {
        for gate in AnyGate::all() {
            for width in [1, 2, 3, 35, 580, 3_072] {
                let code = gate.as_dyn().code(width);
                for value in [0, 1, code.values(width) / 2, code.values(width) - 1] {
                    let gamma = code.decode(value, width);
                    assert!((0.0..=1.0).contains(&gamma), "{} {gamma}", gate.name());
                    assert_eq!(code.encode(gamma, width), value, "{} {width}", gate.name());
                }
                assert_eq!(code.encode(1.0, width), code.values(width) - 1);
                assert_eq!(code.encode(0.0, width), 0);
            }
        }
    }

    #[test]
    fn every_doc_has_a_configuration_that_parses() {
        for gate in AnyGate::all() {
            let file = gate.name().replace('-', "_");
            let file = format!("{}/src/gate/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            let source = std::fs::read_to_string(file).unwrap();
            let (_, snippet) = source.split_once("/// ```toml\n").unwrap();
            let (snippet, _) = snippet.split_once("/// ```").unwrap();
            let parsed: AnyGate = toml::from_str(&snippet.replace("/// ", "")).unwrap();
            assert_eq!(parsed.name(), gate.name());
            let default: AnyGate = toml::from_str(&format!("kind = {:?}", gate.name())).unwrap();
            assert_eq!(default, gate);
        }
    }
}
