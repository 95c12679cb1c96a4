//! The shape of a GPT-2.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Activation;

/// The shape of a GPT-2, under the names of Hugging Face's `config.json`. The default is GPT-2 small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpt2Config {
    /// Rows of the token embedding and width of the logits.
    pub vocab_size: usize,
    /// Longest context, in tokens.
    pub n_positions: usize,
    /// Width of the residual stream, `d_model`.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads of a block; divides `n_embd`.
    pub n_head: usize,
    /// Nonlinearity of the MLP.
    pub activation_function: Activation,
    /// Whether the linear and norm layers have biases, as in the published weights.
    pub bias: bool,
    /// Added to the variance under the root of the norm layers.
    pub layer_norm_epsilon: f64,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            vocab_size: 50_257,
            n_positions: 1_024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            activation_function: Activation::GeluNew,
            bias: true,
            layer_norm_epsilon: 1e-5,
        }
    }
}

/// Name, layers, heads, width. The upper part is the table of the `SubLoRA` experiments
/// (arXiv:2312.17173); the tiny ones are ours, for a CPU.
const SIZES: [(&str, usize, usize, usize); 10] = [
    ("tiny", 2, 4, 64),
    ("mini", 4, 4, 128),
    ("micro", 6, 6, 192),
    ("small", 12, 12, 768),
    ("small-medium", 16, 16, 1_024),
    ("medium", 24, 16, 1_024),
    ("medium-large", 20, 20, 1_280),
    ("large", 36, 20, 1_280),
    ("large-vlarge", 25, 25, 1_600),
    ("vlarge", 48, 25, 1_600),
];

/// A shape that is no GPT-2.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A size is zero.
    #[error("`{0}` is 0, expected at least 1")]
    Zero(&'static str),
    /// The heads do not share the width evenly.
    #[error("`n_head` is {n_head}, which does not divide `n_embd` {n_embd}")]
    Heads {
        /// Heads asked for.
        n_head: usize,
        /// Width they share.
        n_embd: usize,
    },
    /// The norm epsilon is not a positive number.
    #[error("`layer_norm_epsilon` is {0}, expected a positive number")]
    Epsilon(String),
    /// No size of that name.
    #[error("unknown model size `{0}`, expected one of {names}", names = Gpt2Config::size_names().join(", "))]
    Size(String),
    /// A dimension beyond what this program addresses.
    #[error("`{name}` is {value}, expected at most {limit}")]
    TooLarge {
        /// The field.
        name: &'static str,
        /// Its value.
        value: usize,
        /// Its limit.
        limit: usize,
    },
    /// More weights than this program addresses.
    #[error("the shape has at least {weights} weights, expected at most {limit}")]
    TooManyWeights {
        /// How many there are.
        weights: u64,
        /// The limit.
        limit: u64,
    },
}

impl Gpt2Config {
    /// Largest vocabulary and width: `f32` counts as far, and no product of two leaves 64 bits.
    pub const MAX_DIMENSION: usize = 1 << 24;

    /// Longest context: attention holds the square of it.
    pub const MAX_POSITIONS: usize = 1 << 16;

    /// Most blocks: each takes some kilobytes before it holds a weight.
    pub const MAX_LAYERS: usize = 1 << 12;

    /// Most weights, 64 GiB of `f32`: a file cannot ask for more. The largest published model of
    /// this shape, Cerebras-GPT 13B (arXiv:2304.03208), has three quarters of them.
    pub const MAX_WEIGHTS: u64 = 1 << 34;

    /// The shape called `name` in the tables of the literature, with GPT-2's vocabulary and context.
    ///
    /// # Errors
    /// [`ConfigError::Size`] for an unknown name.
    pub fn of_size(name: &str) -> Result<Self, ConfigError> {
        let (_, n_layer, n_head, n_embd) = SIZES
            .into_iter()
            .find(|(size, ..)| *size == name)
            .ok_or_else(|| ConfigError::Size(name.to_owned()))?;
        Ok(Self { n_embd, n_layer, n_head, ..Self::default() })
    }

    /// The names [`of_size`](Self::of_size) knows, smallest first.
    pub fn size_names() -> Vec<&'static str> {
        SIZES.iter().map(|(name, ..)| *name).collect()
    }

    /// # Errors
    /// The first field that makes this no GPT-2.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size, Self::MAX_DIMENSION),
            ("n_positions", self.n_positions, Self::MAX_POSITIONS),
            ("n_embd", self.n_embd, Self::MAX_DIMENSION),
            ("n_layer", self.n_layer, Self::MAX_LAYERS),
            ("n_head", self.n_head, Self::MAX_DIMENSION),
        ];
        for (name, value, limit) in sizes {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
            if value > limit {
                return Err(ConfigError::TooLarge { name, value, limit });
            }
        }
        let weights = self.parameter_count();
        if weights > Self::MAX_WEIGHTS {
            return Err(ConfigError::TooManyWeights { weights, limit: Self::MAX_WEIGHTS });
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(ConfigError::Heads { n_head: self.n_head, n_embd: self.n_embd });
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon.is_finite()) {
            return Err(ConfigError::Epsilon(self.layer_norm_epsilon.to_string()));
        }
        Ok(())
    }

    /// Weights of the model, the tied head counted once; `u64::MAX` where that is too small.
    pub fn parameter_count(&self) -> u64 {
        let number = |size: usize| size as u64;
        let (d_model, bias) = (number(self.n_embd), u64::from(self.bias));
        // To each channel of the residual stream belong, in a block, 12 d_model weights of the
        // linear layers, 2 gains and 11 biases; outside, a column of each embedding and `ln_f`.
        let block = d_model.saturating_mul(12).saturating_add(2 + 11 * bias);
        let channel = block
            .saturating_mul(number(self.n_layer))
            .saturating_add(number(self.vocab_size))
            .saturating_add(number(self.n_positions))
            .saturating_add(1 + bias);
        channel.saturating_mul(d_model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2_small_has_124_439_808_weights() {
        assert_eq!(Gpt2Config::default().parameter_count(), 124_439_808);
    }

    #[test]
    fn sizes_without_biases_match_the_published_counts() {
        // arXiv:2312.17173 counts no biases and pads the vocabulary to 50 304 rows; in millions.
        let table = [("small", 124.4), ("medium", 354.6), ("large", 773.6), ("vlarge", 1556.8)];
        for (name, millions) in table {
            let config = Gpt2Config { bias: false, ..Gpt2Config::of_size(name).unwrap() };
            let count = config.parameter_count() as f64 / 1e6;
            assert!((count - millions).abs() < 0.6, "{name}: {count}");
        }
    }

    #[test]
    fn a_shape_that_is_no_gpt2_is_refused() {
        let heads = Gpt2Config { n_head: 7, ..Gpt2Config::default() };
        assert_eq!(
            heads.validate().unwrap_err().to_string(),
            "`n_head` is 7, which does not divide `n_embd` 768"
        );
        let empty = Gpt2Config { n_layer: 0, ..Gpt2Config::default() };
        assert_eq!(empty.validate(), Err(ConfigError::Zero("n_layer")));
        let huge = Gpt2Config { n_embd: usize::MAX, ..Gpt2Config::default() };
        assert!(matches!(huge.validate(), Err(ConfigError::TooLarge { name: "n_embd", .. })));
        let deep = Gpt2Config { n_layer: 1 << 24, n_embd: 1, n_head: 1, ..Gpt2Config::default() };
        assert!(matches!(deep.validate(), Err(ConfigError::TooLarge { name: "n_layer", .. })));
        let long = Gpt2Config { n_positions: (1 << 16) + 1, ..Gpt2Config::default() };
        assert!(matches!(long.validate(), Err(ConfigError::TooLarge { name: "n_positions", .. })));
        let epsilon = Gpt2Config { layer_norm_epsilon: f64::NAN, ..Gpt2Config::default() };
        assert!(matches!(epsilon.validate(), Err(ConfigError::Epsilon(_))));
        assert!(Gpt2Config::of_size("gigantic").unwrap_err().to_string().contains("vlarge"));
    }

    #[test]
    fn a_shape_with_too_many_weights_is_refused() {
        let shape = |n_layer, n_embd| Gpt2Config { n_embd, n_layer, ..Gpt2Config::default() };
        // Cerebras-GPT 13B: 5120 (50257 + 2048 + 40 (12 * 5120 + 13) + 2)
        let cerebras = Gpt2Config { n_positions: 2_048, n_head: 40, ..shape(40, 5_120) };
        assert_eq!(cerebras.parameter_count(), 12_853_386_240);
        assert_eq!(cerebras.validate(), Ok(()));
        let error = Gpt2Config { n_layer: 60, ..cerebras }.validate().unwrap_err().to_string();
        let expected = "the shape has at least 19146173440 weights, expected at most 17179869184";
        assert_eq!(error, expected);
        // 12 * 2^12 * (2^24 - 4)^2 is 2^63.6, so a few more dimensions at their limits overflow.
        let widest = shape(1 << 12, (1 << 24) - 4);
        assert!(matches!(widest.validate(), Err(ConfigError::TooManyWeights { .. })));
        assert_eq!(shape(usize::MAX, usize::MAX).parameter_count(), u64::MAX);
    }
}
