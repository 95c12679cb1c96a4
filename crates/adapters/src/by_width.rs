//! One way to quantise a tensor, or another one at other widths.

use std::fmt;

use quantizers::{AnyGrid, AnyRange, BitWidth, Granularity, Half, Operand, Quantizer};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// How a tensor is quantised, at any width. The default is symmetric, min-max, one scale an output
/// channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantization {
    /// The widths this is for; none stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bits: Vec<BitWidth>,
    /// Which values share a scale.
    pub granularity: Granularity,
    /// Which values codes can stand for.
    pub grid: AnyGrid,
    /// Which part of the values the codes should reach.
    pub range: AnyRange,
    /// A type in which scales and values are held; none for `f32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulate: Option<Half>,
}

impl Default for Quantization {
    fn default() -> Self {
        let Quantizer { granularity, grid, range, emulate, .. } = Quantizer::default();
        Self { bits: Vec::new(), granularity, grid, range, emulate }
    }
}

impl Quantization {
    /// At one width, of one operand.
    pub fn at(&self, bits: BitWidth, operand: Operand) -> Quantizer {
        let Self { granularity, grid, range, emulate, .. } = self.clone();
        Quantizer { bits, granularity, operand, grid, range, emulate }
    }
}

/// How a tensor is quantised at each width: the first of the rules that is for a width is its own. In a
/// file one table, or a list of them.
///
/// ```toml
/// [[weight]]
/// bits = [3, 4]
///
/// [[weight]]
/// bits = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
/// grid = { kind = "log2" }
/// range = { kind = "mse" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ByWidth(Vec<Quantization>);

impl ByWidth {
    /// The first of `rules` that is for a width is its own.
    pub fn new(rules: Vec<Quantization>) -> Self {
        Self(rules)
    }

    /// The rule of a width; none if there is none.
    pub fn of(&self, bits: BitWidth) -> Option<&Quantization> {
        self.0.iter().find(|rule| rule.bits.is_empty() || rule.bits.contains(&bits))
    }

    /// All rules, in order.
    pub fn rules(&self) -> &[Quantization] {
        &self.0
    }
}

impl Default for ByWidth {
    fn default() -> Self {
        Quantization::default().into()
    }
}

impl From<Quantization> for ByWidth {
    fn from(rule: Quantization) -> Self {
        Self(vec![rule])
    }
}

impl<'de> Deserialize<'de> for ByWidth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableOrList;
        impl<'de> Visitor<'de> for TableOrList {
            type Value = ByWidth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or a list of tables with `bits`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ByWidth, A::Error> {
                Quantization::deserialize(MapAccessDeserializer::new(map)).map(ByWidth::from)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<ByWidth, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(ByWidth)
            }
        }
        deserializer.deserialize_any(TableOrList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Settings {
        weight: ByWidth,
    }

    fn grid_at(weight: &ByWidth, bits: u8) -> Option<&'static str> {
        weight.of(BitWidth::new(bits).unwrap()).map(|rule| rule.grid.name())
    }

    #[test]
    fn the_first_rule_for_a_width_is_its_own() {
        let text =
            "[[weight]]\nbits = [3, 4]\n[[weight]]\nbits = [4, 5]\ngrid = { kind = \"log2\" }";
        let Settings { weight } = toml::from_str(text).unwrap();
        assert_eq!(
            [3, 4, 5, 6].map(|bits| grid_at(&weight, bits)),
            [Some("symmetric"), Some("symmetric"), Some("log2"), None]
        );
        let Settings { weight } =
            toml::from_str("weight = { grid = { kind = \"log2\" } }").unwrap();
        assert_eq!([1, 16].map(|bits| grid_at(&weight, bits)), [Some("log2"); 2]);
        let again = toml::to_string(&Settings { weight: weight.clone() }).unwrap();
        assert_eq!(toml::from_str(&again), Ok(Settings { weight }));
    }

    #[test]
    fn mistakes_name_what_is_known() {
        for (text, expected) in [
            ("weight = { width = [3] }", "unknown field `width`, expected one of `bits`"),
            ("weight = [{ bits = [3], grids = 1 }]", "unknown field `grids`"),
            ("weight = [{ bits = [17] }]", "17 bits, expected 1 to 16, or 32 for none"),
            ("weight = 4", "expected a table, or a list of tables with `bits`"),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
