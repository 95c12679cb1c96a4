//! Which operand of which multiplication has which width.

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{CostError, Meter, Widths};

/// The width of an operand: that of the schedule, or a fixed one of 1 to 32 bits. In a file, the word
/// `"scheduled"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperandWidth(Option<u32>);

/// The widths of the three numbers that a multiplication and its gradients are made of.
///
/// In a product of two activations, as in attention, `weight` is the width of the right operand: of keys
/// and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operands {
    /// $b_w$.
    pub weight: OperandWidth,
    /// $b_a$.
    pub activation: OperandWidth,
    /// $b_g$, of the gradient that comes from above.
    pub gradient: OperandWidth,
}

/// Whether the weights of the network itself are trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// They are, and their gradients cost a product.
    #[default]
    Trained,
    /// Only adapters are: a matrix passes its gradient on and has none.
    Frozen,
}

/// Which parts of a GPT-2 are quantised, and how. By default CPT's setting: the matrices of the blocks at
/// the width of the schedule, gradients at 8 bits, everything else at full precision.
///
/// At a step of 32 bits, what is scheduled is at full precision and what is fixed stays as it is.
/// Embeddings are looked up and multiply nothing. Norms, softmax and GELU are at full precision always.
///
/// ```toml
/// base = "frozen"
/// linear = { weight = "scheduled", activation = "scheduled", gradient = 8 }
/// adapters = { weight = "scheduled", activation = "scheduled", gradient = 8 }
/// attention = { weight = 32, activation = 32, gradient = 32 }
/// head = { weight = 8, activation = 8, gradient = 8 }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CostPolicy {
    /// Whether matrices and head have gradients.
    pub base: Base,
    /// The four matrices of every block.
    pub linear: Operands,
    /// LoRA factors.
    pub adapters: Operands,
    /// Scores and weighted values; `weight` is the width of keys and values.
    pub attention: Operands,
    /// The product with the embedding that makes logits.
    pub head: Operands,
}

impl OperandWidth {
    /// That of the schedule.
    pub const SCHEDULED: Self = Self(None);

    /// Full precision, whatever the schedule says.
    pub const FULL: Self = Self(Some(Widths::FULL));

    /// The same width in every step.
    ///
    /// # Errors
    /// [`CostError::Width`] for anything but 1 to 32.
    pub fn fixed(bits: u32) -> Result<Self, CostError> {
        if (1..=Widths::FULL).contains(&bits) {
            return Ok(Self(Some(bits)));
        }
        Err(CostError::Width { bits })
    }

    /// The cost of `macs` products of operands of these widths.
    pub(crate) fn product(self, other: Self, macs: u64) -> Meter {
        let macs = u128::from(macs);
        match (self.0, other.0) {
            (None, None) => Meter { quadratic: macs, ..Meter::default() },
            (None, Some(bits)) | (Some(bits), None) => {
                Meter { linear: macs * u128::from(bits), ..Meter::default() }
            }
            (Some(bits), Some(other)) => {
                Meter { constant: macs * u128::from(bits) * u128::from(other), ..Meter::default() }
            }
        }
    }
}

impl Operands {
    /// Nothing is quantised.
    pub const FULL: Self = Self {
        weight: OperandWidth::FULL,
        activation: OperandWidth::FULL,
        gradient: OperandWidth::FULL,
    };

    /// CPT's: weights and activations at the width of the schedule, gradients at 8 bits.
    pub const CPT: Self = Self {
        weight: OperandWidth::SCHEDULED,
        activation: OperandWidth::SCHEDULED,
        gradient: OperandWidth(Some(8)),
    };
}

impl Default for CostPolicy {
    fn default() -> Self {
        Self {
            base: Base::Trained,
            linear: Operands::CPT,
            adapters: Operands::CPT,
            attention: Operands::FULL,
            head: Operands::FULL,
        }
    }
}

impl Serialize for OperandWidth {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(bits) => to.serialize_u32(bits),
            None => to.serialize_str("scheduled"),
        }
    }
}

impl<'de> Deserialize<'de> for OperandWidth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum NumberOrWord {
            Number(i64),
            Word(String),
        }
        let expected = &"\"scheduled\" or a number of 1 to 32";
        match NumberOrWord::deserialize(from)
            .map_err(|_| D::Error::custom(format!("a width is no number, expected {expected}")))?
        {
            NumberOrWord::Word(word) if word == "scheduled" => Ok(Self::SCHEDULED),
            NumberOrWord::Word(word) => {
                Err(D::Error::invalid_value(Unexpected::Str(&word), expected))
            }
            NumberOrWord::Number(bits) => u32::try_from(bits)
                .ok()
                .and_then(|bits| Self::fixed(bits).ok())
                .ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(bits), expected)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_polynomials() {
        let eight = OperandWidth::fixed(8).unwrap();
        let scheduled = OperandWidth::SCHEDULED;
        let [quadratic, linear, constant] = [(7, 0, 0), (0, 7 * 8, 0), (0, 0, 7 * 8 * 32)]
            .map(|(quadratic, linear, constant)| Meter { quadratic, linear, constant });
        assert_eq!(scheduled.product(scheduled, 7), quadratic);
        assert_eq!(scheduled.product(eight, 7), linear);
        assert_eq!(eight.product(scheduled, 7), linear);
        assert_eq!(eight.product(OperandWidth::FULL, 7), constant);
    }

    #[test]
    fn the_doc_has_a_configuration_that_parses() {
        let policy: CostPolicy = toml::from_str(&crate::conformance::snippet("operands")).unwrap();
        let eight = OperandWidth::fixed(8).unwrap();
        let head = Operands { weight: eight, activation: eight, gradient: eight };
        assert_eq!(policy, CostPolicy { base: Base::Frozen, head, ..CostPolicy::default() });
        assert_eq!(toml::from_str(&toml::to_string(&policy).unwrap()), Ok(policy));
        assert_eq!(toml::from_str(""), Ok(CostPolicy::default()));
    }

    #[test]
    fn widths_that_are_none() {
        for bits in [0, 33] {
            assert_eq!(OperandWidth::fixed(bits), Err(CostError::Width { bits }));
        }
        for (value, expected) in [
            ("0", "integer `0`, expected \"scheduled\" or a number of 1 to 32"),
            ("-4", "integer `-4`"),
            ("4294967304", "integer `4294967304`"), // 2^32 + 8
            ("\"schedule\"", "string \"schedule\", expected \"scheduled\""),
            ("[8]", "a width is no number, expected \"scheduled\" or a number of 1 to 32"),
        ] {
            let text = format!("head = {{ weight = {value}, activation = 8, gradient = 8 }}");
            let error = toml::from_str::<CostPolicy>(&text).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
