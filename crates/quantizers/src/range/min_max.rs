//! From the smallest to the largest value of all batches.
//!
//! # Definition
//! Running extremes, merged by minimum and maximum: the order of the batches does not matter.

use serde::{Deserialize, Serialize};

use super::{Observer, Range};
use crate::{BitWidth, Extent, Grid, Params, QuantizerError, kernel};

/// The extremes.
///
/// ```toml
/// [range]
/// kind = "min-max"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinMax {}

struct Extremes(Option<Extent>);

impl Range for MinMax {
    fn observer(&self) -> Box<dyn Observer> {
        Box::new(Extremes(None))
    }
}

impl Observer for Extremes {
    fn observe(&mut self, values: &[f32]) -> Result<(), QuantizerError> {
        self.0 = widest(self.0, extremes(values)?);
        Ok(())
    }

    fn fit(&self, grid: &dyn Grid, bits: BitWidth) -> Result<Params, QuantizerError> {
        grid.params(self.0.ok_or(QuantizerError::NothingSeen)?, bits)
    }
}

/// The range that holds both, of those there are.
pub(crate) fn widest(a: Option<Extent>, b: Option<Extent>) -> Option<Extent> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    Some(Extent { low: a.low.min(b.low), high: a.high.max(b.high) })
}

/// The smallest and the largest of `values`, if there is any.
///
/// # Errors
/// [`QuantizerError::NotFinite`].
pub(crate) fn extremes(values: &[f32]) -> Result<Option<Extent>, QuantizerError> {
    let extent = kernel::extent(values);
    let wrong = if extent.is_none() { values.iter().position(|x| !x.is_finite()) } else { None };
    match wrong {
        Some(index) => Err(QuantizerError::NotFinite { index, value: values[index] }),
        None => Ok(extent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_batches_does_not_matter() {
        let batches = [&[0.5, -1.0][..], &[], &[3.0, 0.0]];
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut observer = MinMax {}.observer();
            for batch in order {
                observer.observe(batches[batch]).unwrap();
            }
            let params =
                observer.fit(&crate::Affine::default(), BitWidth::new(8).unwrap()).unwrap();
            assert_eq!((params.scale, params.zero_point), (4.0 / 255.0, 64));
        }
    }

    #[test]
    fn what_is_not_finite_is_named_and_nothing_is_no_range() {
        let mut observer = MinMax {}.observer();
        let bits = BitWidth::new(4).unwrap();
        let nothing = observer.fit(&crate::Symmetric {}, bits).unwrap_err();
        assert_eq!(nothing.to_string(), "no value was seen");
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = observer.observe(&[1.0, wrong, 2.0]).unwrap_err().to_string();
            assert_eq!(error, format!("value 1 is {wrong}, expected a finite number"));
        }
        observer.observe(&[f32::MAX, f32::MAX]).unwrap(); // their sum is not finite
    }
}
