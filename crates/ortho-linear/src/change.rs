//! How much of what fine-tuning changed is in the outlier stream.
//!
//! # Definition
//! Of $\Delta W = W - W_0$, the squares on the mask $M$ and everywhere: the share that a stream has captured is
//! $$ \sum_{M} \Delta W^2 \Big/ \sum \Delta W^2. $$

use std::ops::AddAssign;

use crate::matrix::check_shape;
use crate::{OrthoError, Reference, Split};

/// Squared changes of one matrix, or of several, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Change {
    /// On the mask.
    pub on_mask: f64,
    /// On the mask and off it.
    pub whole: f64,
}

impl Change {
    /// The share on the mask; 0 where nothing changed.
    pub fn captured(self) -> f64 {
        if self.whole > 0.0 { self.on_mask / self.whole } else { 0.0 }
    }
}

impl AddAssign for Change {
    fn add_assign(&mut self, other: Self) {
        self.on_mask += other.on_mask;
        self.whole += other.whole;
    }
}

impl Split {
    /// The squared change from `pretrained` to `reference`, the stored matrix of this split, whatever its
    /// construction.
    ///
    /// # Errors
    /// [`OrthoError::ShapeMismatch`].
    pub fn change(
        &self,
        reference: &Reference,
        pretrained: &Reference,
    ) -> Result<Change, OrthoError> {
        let (after, before) = (reference.matrix(), pretrained.matrix());
        check_shape("the matrix", after.shape(), self.shape())?;
        check_shape("the pretrained matrix", before.shape(), self.shape())?;
        let square = |(&w, &w_0): (&f32, &f32)| (f64::from(w) - f64::from(w_0)).powi(2);
        let at = |place: usize| square((&after.values()[place], &before.values()[place]));
        Ok(Change {
            on_mask: self.outliers().iter().map(|(place, _)| at(place)).sum(),
            whole: after.values().iter().zip(before.values()).map(square).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexWidth, Mask, Matrix, Storage};

    #[test]
    fn squares_on_the_mask_and_everywhere() {
        let stored = |values: [f32; 6]| {
            let weights = Matrix::new(&values, [3, 2]).unwrap();
            Reference::cast(weights, Storage::F16).unwrap()
        };
        let before = stored([0.0, 1.0, 2.0, 0.5, 0.0, 0.0]);
        let after = stored([3.0, 1.0, 0.0, 0.0, 0.0, 0.5]); // changed by 3, -2, -0.5 and 0.5
        let mask = Mask::new(vec![1, 2, 5], [3, 2]).unwrap();
        let split = Split::extract(&after, &mask, IndexWidth::Auto).unwrap();
        let change = split.change(&after, &before).unwrap();
        assert_eq!(change, Change { on_mask: 4.0 + 0.25, whole: 9.0 + 4.0 + 0.25 + 0.25 });
        assert_eq!(change.captured(), 4.25 / 13.5);
        let none = split.change(&after, &after).unwrap();
        assert_eq!((none, none.captured()), (Change::default(), 0.0));
        let mut sum = change;
        sum += Change { on_mask: 0.75, whole: 6.5 };
        assert_eq!(sum.captured(), 0.25);

        let other = Reference::cast(Matrix::new(&[0.0; 6], [2, 3]).unwrap(), Storage::F16).unwrap();
        let error = |after, before| split.change(after, before).unwrap_err().to_string();
        assert_eq!(error(&other, &before), "the matrix is [2, 3], expected [3, 2]");
        assert_eq!(error(&after, &other), "the pretrained matrix is [2, 3], expected [3, 2]");
    }
}
