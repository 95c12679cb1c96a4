//! Conditions on a summary that make a command fail.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::SpectralStudy;
use super::summary::StudySummary;

/// A condition such as `collapsed>0` or `4bit-tensor:mean_change>=0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The variant it is about; any if none.
    pub variant: Option<String>,
    /// A number of the summary, with dots where it is nested: `after.median`.
    pub metric: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub limit: f64,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `>`
    Above,
    /// `<`
    Below,
}

/// Longer signs first, so that `>=` is not read as `>`.
const SIGNS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no condition, expected one like `collapsed>0`");
        let split = |(sign, comparison): (&str, Comparison)| {
            let (metric, limit) = text.split_once(sign)?;
            Some((metric.trim(), comparison, limit.trim().parse::<f64>().ok()?))
        };
        let (what, comparison, limit) = SIGNS.into_iter().find_map(split).ok_or_else(wrong)?;
        // A variant may have a colon of its own: `4bit-group:64:collapsed`.
        let (variant, metric) = match what.rsplit_once(':') {
            Some((variant, metric)) => (Some(variant.to_owned()), metric),
            None => (None, what),
        };
        if metric.is_empty() || limit.is_nan() {
            return Err(wrong());
        }
        Ok(Self { variant, metric: metric.to_owned(), comparison, limit })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variant) = &self.variant {
            write!(f, "{variant}:")?;
        }
        let sign = SIGNS.iter().find(|it| it.1 == self.comparison).map_or("", |it| it.0);
        write!(f, "{}{sign}{}", self.metric, self.limit)
    }
}

impl Gate {
    /// Whether `study` makes the number and the variant that this is about.
    ///
    /// # Errors
    /// As [`violations`](Self::violations).
    pub fn check(&self, study: &SpectralStudy) -> Result<(), String> {
        self.violations(&study.nothing()).map(drop)
    }

    /// Where the condition holds, a line each; so it does where a number could not be computed, or a variant
    /// not be made of every matrix.
    ///
    /// # Errors
    /// A variant or a number that the summary does not have, with those it has.
    pub fn violations(&self, summary: &StudySummary) -> Result<Vec<String>, String> {
        let of_checkpoint = serde_json::to_value(summary).unwrap_or(Value::Null);
        let number_of_checkpoint = Number::at(&of_checkpoint, &self.metric);
        if self.variant.is_none() && number_of_checkpoint != Number::Unknown {
            return Ok(self.violation("", number_of_checkpoint).into_iter().collect());
        }
        let variants: Vec<_> = summary
            .variants
            .iter()
            .filter(|it| self.variant.as_ref().is_none_or(|variant| *variant == it.variant))
            .collect();
        if variants.is_empty() {
            let known: Vec<_> = summary.variants.iter().map(|it| it.variant.as_str()).collect();
            return Err(format!("`{self}` is about none of the variants {}", known.join(", ")));
        }
        let mut found = Vec::new();
        for variant in variants {
            let json = serde_json::to_value(&variant.summary).unwrap_or(Value::Null);
            let number = Number::at(&json, &self.metric);
            if number == Number::Unknown {
                let known = [names("", &of_checkpoint), names("", &json)].concat().join(", ");
                return Err(format!("`{}` is no number of the summary: {known}", self.metric));
            }
            let (made, all) = (variant.summary.layers, summary.matrices);
            if made < all {
                let variant = &variant.variant;
                found.push(format!(
                    "{variant}: only {made} of {all} matrices, which counts as {self}"
                ));
                continue;
            }
            found.extend(self.violation(&format!("{}: ", variant.variant), number));
        }
        Ok(found)
    }

    fn violation(&self, of: &str, number: Number) -> Option<String> {
        let Number::Is(value) = number else {
            return Some(format!(
                "{of}{} could not be computed, which counts as {self}",
                self.metric
            ));
        };
        let order = value.partial_cmp(&self.limit);
        let holds = match self.comparison {
            Comparison::AtLeast => order.is_none_or(Ordering::is_ge),
            Comparison::AtMost => order.is_none_or(Ordering::is_le),
            Comparison::Equal => order.is_none_or(Ordering::is_eq),
            Comparison::Unequal => order.is_none_or(Ordering::is_ne),
            Comparison::Above => order.is_none_or(Ordering::is_gt),
            Comparison::Below => order.is_none_or(Ordering::is_lt),
        };
        holds.then(|| format!("{of}{} is {value}: {self}", self.metric))
    }
}

/// What a summary has at a dotted path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Is(f64),
    /// A number that could not be computed.
    Missing,
    /// No number.
    Unknown,
}

impl Number {
    fn at(json: &Value, path: &str) -> Self {
        let mut here = json;
        for key in path.split('.') {
            match here.get(key) {
                Some(next) => here = next,
                None if here.is_null() => return Self::Missing, // its parent was not computed
                None => return Self::Unknown,
            }
        }
        match here {
            Value::Null => Self::Missing,
            Value::Number(number) => number.as_f64().map_or(Self::Missing, Self::Is),
            _ => Self::Unknown,
        }
    }
}

/// Every number's path.
fn names(prefix: &str, json: &Value) -> Vec<String> {
    match json {
        Value::Object(entries) => {
            let dot = if prefix.is_empty() { "" } else { "." };
            entries.iter().flat_map(|(key, it)| names(&format!("{prefix}{dot}{key}"), it)).collect()
        }
        Value::Number(_) | Value::Null => vec![prefix.to_owned()],
        _ => Vec::new(),
    }
}
