//! The outlier stream: a sparse matrix by output channel.
//!
//! # Definition
//! Compressed rows of $O^\top$: a [`Pattern`] and the value of each of its entries. Values are `f32`: in
//! half precision, differences of weights in half precision are not exact.

use std::sync::Arc;

use crate::matrix::{check_finite, check_len};
use crate::{Alpha, IndexWidth, Indices, Mask, OrthoError, Pattern};

/// A sparse matrix `[d_in, d_out]`, stored by output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    pattern: Arc<Pattern>,
    values: Vec<f32>,
}

impl Csr {
    /// Checks parts that were read from somewhere.
    ///
    /// # Shapes
    /// - shape: `[d_in, d_out]`
    /// - pointers: `[d_out + 1]`
    /// - indices, values: `[entries]`
    ///
    /// # Errors
    /// As [`Pattern::from_parts`]; [`OrthoError::Length`] for values that are not one for each index, and
    /// [`OrthoError::NotFinite`].
    pub fn from_parts(
        shape: [usize; 2],
        pointers: Vec<u32>,
        indices: Indices,
        values: Vec<f32>,
    ) -> Result<Self, OrthoError> {
        check_len("`indices`", indices.len(), values.len())?;
        check_finite("outlier", &values)?;
        let pattern = Arc::new(Pattern::from_parts(shape, pointers, indices)?);
        Ok(Self { pattern, values })
    }

    /// `value` at every place of `mask`, in the order of the channels.
    pub(crate) fn build(
        mask: &Mask,
        width: IndexWidth,
        value: impl Fn(u32) -> f32,
    ) -> Result<Self, OrthoError> {
        let shape = mask.shape();
        let [d_in, d_out] = shape;
        let channel = |place: u32| place as usize % d_out;
        let mut pointers = vec![0_u32; d_out + 1];
        for &place in mask.places() {
            pointers[channel(place) + 1] += 1;
        }
        for row in 0..d_out {
            pointers[row + 1] += pointers[row];
        }
        let mut next = pointers.clone();
        let (mut indices, mut values) =
            (vec![0; mask.places().len()], vec![0.0; mask.places().len()]);
        for &place in mask.places() {
            let next = &mut next[channel(place)];
            #[expect(clippy::cast_possible_truncation, reason = "below d_in")]
            let input = (place as usize / d_out) as u32;
            indices[*next as usize] = input;
            values[*next as usize] = value(place);
            *next += 1;
        }
        let indices = Indices::new(indices, d_in, width)?;
        Ok(Self { pattern: Arc::new(Pattern::trusted(shape, pointers, indices)), values })
    }

    /// Where the entries are.
    pub fn pattern(&self) -> &Arc<Pattern> {
        &self.pattern
    }

    /// `[d_in, d_out]`.
    pub fn shape(&self) -> [usize; 2] {
        self.pattern.shape()
    }

    /// `[d_out + 1]`: where the entries of each channel begin, and the end.
    pub fn pointers(&self) -> &[u32] {
        self.pattern.pointers()
    }

    /// Input of each entry.
    pub fn indices(&self) -> &Indices {
        self.pattern.indices()
    }

    /// Value of each entry.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Place in row-major order and value of every entry, channel by channel.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let d_out = self.shape()[1];
        let places = self.pattern.places().map(move |[input, output]| input * d_out + output);
        places.zip(self.values.iter().copied())
    }

    /// $y \mathrel{+}= \alpha\, x O$; [`Pattern::add_product`] with these values.
    ///
    /// # Errors
    /// As there.
    pub fn add_product(
        &self,
        x: &[f32],
        tokens: usize,
        alpha: Alpha,
        y: &mut [f32],
    ) -> Result<(), OrthoError> {
        self.pattern.add_product(&self.values, x, tokens, alpha, y)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1 . .
    /// . . 2
    /// 3 4 .
    fn parts() -> ([usize; 2], Vec<u32>, Vec<u16>, Vec<f32>) {
        ([3, 3], vec![0, 2, 3, 4], vec![0, 2, 2, 1], vec![1.0, 3.0, 4.0, 2.0])
    }

    #[test]
    fn by_output_channel() {
        let values = [1.0, 9.0, 9.0, 9.0, 9.0, 2.0, 3.0, 4.0, 9.0];
        let mask = Mask::new(vec![0, 5, 6, 7], [3, 3]).unwrap();
        let gather = |width| Csr::build(&mask, width, |place| values[place as usize]).unwrap();
        let csr = gather(IndexWidth::Auto);
        let wide = gather(IndexWidth::U32);
        let (shape, pointers, indices, values) = parts();
        assert_eq!(
            Csr::from_parts(shape, pointers, Indices::U16(indices), values),
            Ok(csr.clone())
        );
        assert_eq!(csr.iter().collect::<Vec<_>>(), [(0, 1.0), (6, 3.0), (7, 4.0), (5, 2.0)]);
        assert_eq!(wide.indices(), &Indices::U32(vec![0, 2, 2, 1]));
        assert_eq!(wide.iter().collect::<Vec<_>>(), csr.iter().collect::<Vec<_>>());
    }

    #[test]
    fn indices_that_do_not_reach() {
        let shape = [(1 << 16) + 1, 1];
        let mask = Mask::new(vec![1 << 16], shape).unwrap();
        let build = |width| Csr::build(&mask, width, |_| 1.0);
        let error = build(IndexWidth::U16).unwrap_err();
        assert_eq!(
            error.to_string(),
            "65537 inputs, expected at most 65536 for indices of 16 bits"
        );
        assert_eq!(build(IndexWidth::Auto).unwrap().indices(), &Indices::U32(vec![1 << 16]));
        let parts = Csr::from_parts(shape, vec![0, 1], Indices::U16(vec![7]), vec![1.0]);
        assert_eq!(parts, Err(error));
        // The last that does.
        let mask = Mask::new(vec![(1 << 16) - 1], [1 << 16, 1]).unwrap();
        let csr = Csr::build(&mask, IndexWidth::U16, |_| 1.0).unwrap();
        assert_eq!(csr.indices(), &Indices::U16(vec![u16::MAX]));
    }

    #[test]
    fn parts_that_lie() {
        type Change<'a> = &'a dyn Fn(&mut Vec<u32>, &mut Vec<u16>, &mut Vec<f32>);
        let refused = |change: Change<'_>| {
            let (shape, mut pointers, mut indices, mut values) = parts();
            change(&mut pointers, &mut indices, &mut values);
            Csr::from_parts(shape, pointers, Indices::U16(indices), values).unwrap_err().to_string()
        };
        for (found, expected) in [
            (refused(&|it, _, _| it[0] = 1), "pointer 0 is 1, expected 0"),
            (refused(&|it, _, _| it[2] = 1), "pointer 2 is 1, expected at least 2"),
            (refused(&|it, _, _| it[2] = 9), "pointer 3 is 4, expected at least 9"),
            (
                refused(&|it, _, _| it[3] = u32::MAX),
                "pointer 3 is 4294967295, expected 4, the number of entries",
            ),
            (refused(&|it, _, _| it[3] = 3), "pointer 3 is 3, expected 4, the number of entries"),
            (refused(&|it, _, _| it.truncate(3)), "`pointers` has 3 values, expected 4"),
            (refused(&|it, _, _| it.push(4)), "`pointers` has 5 values, expected 4"),
            (refused(&|_, it, _| it.truncate(3)), "`indices` has 3 values, expected 4"),
            (refused(&|_, _, it| it.push(0.0)), "`indices` has 4 values, expected 5"),
            (
                refused(&|_, _, it| it[2] = f32::INFINITY),
                "outlier 2 is inf, expected a finite number",
            ),
            (
                refused(&|_, it, _| it[1] = 3),
                "index 1, in row 0, is 3, expected rising indices below 3 within a row",
            ),
            (
                refused(&|_, it, _| it[1] = 0), // one twice
                "index 1, in row 0, is 0, expected rising indices below 3 within a row",
            ),
            (
                refused(&|_, it, _| it.swap(0, 1)),
                "index 1, in row 0, is 0, expected rising indices below 3 within a row",
            ),
        ] {
            assert_eq!(found, expected);
        }
        // The greatest index of 32 bits, whose successor is none.
        let parts =
            Csr::from_parts([2, 1], vec![0, 2], Indices::U32(vec![u32::MAX, 0]), vec![0.0; 2]);
        assert_eq!(parts, Err(OrthoError::Index { entry: 0, row: 0, value: u32::MAX, d_in: 2 }));
        let parts = Csr::from_parts([usize::MAX, usize::MAX], vec![], Indices::U16(vec![]), vec![]);
        assert!(matches!(parts, Err(OrthoError::Shape { .. })));
    }

    proptest! {
        /// Whatever is not refused is a sparse matrix: places of it, none twice, and nothing panics.
        #[test]
        fn any_parts(
            d_in in 0_usize..6,
            d_out in 0_usize..5,
            mut pointers in proptest::collection::vec(0_u32..9, 0..7),
            indices in proptest::collection::vec(prop_oneof![9 => 0_u32..6, 1 => any::<u32>()], 0..9),
            is_sorted in any::<bool>(),
        ) {
            if is_sorted {
                pointers.sort_unstable(); // so that some are accepted
                pointers.resize(d_out + 1, u32::try_from(indices.len()).unwrap());
                pointers[0] = 0;
            }
            let values = vec![1.0; indices.len()];
            let parts = Csr::from_parts([d_in, d_out], pointers, Indices::U32(indices), values);
            if let Ok(csr) = parts {
                let mut places: Vec<u32> = csr.iter().map(|(place, _)| place as u32).collect();
                places.sort_unstable();
                let mask = Mask::new(places, [d_in, d_out]);
                prop_assert_eq!(Csr::build(&mask.unwrap(), IndexWidth::U32, |_| 1.0), Ok(csr));
            }
        }
    }
}
