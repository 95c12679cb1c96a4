//! The outlier stream: a sparse matrix by output channel.
//!
//! # Definition
//! Compressed rows of $O^\top$: the entries of output channel $o$ are those from `pointers[o]` to
//! `pointers[o + 1]`, each a value and the input that it belongs to, inputs rising. Indices have 16 bits
//! where there are at most $2^{16}$ inputs. Values are `f32`: in half precision, differences of weights
//! in half precision are not exact.

use serde::{Deserialize, Serialize};

use crate::matrix::{check_finite, check_len, numel};
use crate::{Mask, OrthoError};

/// Bits of an index of the outlier stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexWidth {
    /// 16 where they reach, else 32.
    #[default]
    Auto,
    /// 16, or an error.
    U16,
    /// 32.
    U32,
}

/// Inputs of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indices {
    /// For at most 65,536 inputs.
    U16(Vec<u16>),
    /// For any number.
    U32(Vec<u32>),
}

impl Indices {
    /// `indices` in the narrowest type that `width` allows.
    fn new(indices: Vec<u32>, d_in: usize, width: IndexWidth) -> Result<Self, OrthoError> {
        let fits = d_in <= 1 << 16;
        match width {
            IndexWidth::U16 if !fits => Err(OrthoError::IndexOverflow { d_in }),
            IndexWidth::U16 | IndexWidth::Auto if fits =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "below 2^16")]
                Ok(Self::U16(indices.into_iter().map(|it| it as u16).collect()))
            }
            _ => Ok(Self::U32(indices)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::U16(indices) => indices.len(),
            Self::U32(indices) => indices.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of an index.
    pub fn bytes(&self) -> usize {
        match self {
            Self::U16(_) => 2,
            Self::U32(_) => 4,
        }
    }

    /// The index of an entry.
    pub(crate) fn get(&self, entry: usize) -> u32 {
        match self {
            Self::U16(indices) => indices[entry].into(),
            Self::U32(indices) => indices[entry],
        }
    }
}

/// A sparse matrix `[d_in, d_out]`, stored by output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    shape: [usize; 2],
    pointers: Vec<u32>,
    indices: Indices,
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
    /// [`OrthoError::Shape`], [`OrthoError::Length`], [`OrthoError::NotFinite`],
    /// [`OrthoError::IndexOverflow`] for indices of 16 bits in a matrix beyond them,
    /// [`OrthoError::Pointer`] for pointers that do not go from 0 to the number of entries, or fall, and
    /// [`OrthoError::Index`] for indices of a channel that do not rise or lie outside the matrix.
    pub fn from_parts(
        shape: [usize; 2],
        pointers: Vec<u32>,
        indices: Indices,
        values: Vec<f32>,
    ) -> Result<Self, OrthoError> {
        numel(shape)?;
        let [d_in, d_out] = shape;
        check_len("`pointers`", pointers.len(), d_out + 1)?;
        check_len("`indices`", indices.len(), values.len())?;
        check_finite("outlier", &values)?;
        if matches!(indices, Indices::U16(_)) && d_in > 1 << 16 {
            return Err(OrthoError::IndexOverflow { d_in });
        }
        let wrong = |row: usize, expected: String| {
            Err(OrthoError::Pointer { row, value: pointers[row], expected })
        };
        if pointers[0] != 0 {
            return wrong(0, "0".to_owned());
        }
        if let Some(row) = pointers.windows(2).position(|pair| pair[1] < pair[0]) {
            return wrong(row + 1, format!("at least {}", pointers[row]));
        }
        if pointers[d_out] as usize != values.len() {
            return wrong(d_out, format!("{}, the number of entries", values.len()));
        }
        let csr = Self { shape, pointers, indices, values };
        for row in 0..d_out {
            let mut least = 0;
            for entry in csr.entries(row) {
                let value = csr.indices.get(entry);
                if value < least || value as usize >= d_in {
                    return Err(OrthoError::Index { entry, row, value, d_in });
                }
                least = value + 1;
            }
        }
        Ok(csr)
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
        Ok(Self { shape, pointers, indices: Indices::new(indices, d_in, width)?, values })
    }

    /// `[d_in, d_out]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// `[d_out + 1]`: where the entries of each channel begin, and the end.
    pub fn pointers(&self) -> &[u32] {
        &self.pointers
    }

    /// Input of each entry.
    pub fn indices(&self) -> &Indices {
        &self.indices
    }

    /// Value of each entry.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Entries of an output channel.
    pub(crate) fn entries(&self, row: usize) -> std::ops::Range<usize> {
        self.pointers[row] as usize..self.pointers[row + 1] as usize
    }

    /// Place in row-major order and value of every entry, channel by channel.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let d_out = self.shape[1];
        (0..d_out).flat_map(move |row| {
            self.entries(row).map(move |entry| {
                (self.indices.get(entry) as usize * d_out + row, self.values[entry])
            })
        })
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
