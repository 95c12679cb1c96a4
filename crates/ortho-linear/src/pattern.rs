//! Where the entries of a sparse matrix are.
//!
//! # Definition
//! The entries of output channel $o$ are those from `pointers[o]` to `pointers[o + 1]`, inputs rising.
//! Indices have 16 bits where there are at most $2^{16}$ inputs. Values are somewhere else: in a
//! [`Csr`](crate::Csr), or in a tensor that is trained.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::OrthoError;
use crate::matrix::{check_len, numel};

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
    pub(crate) fn new(
        indices: Vec<u32>,
        d_in: usize,
        width: IndexWidth,
    ) -> Result<Self, OrthoError> {
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
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn get(&self, entry: usize) -> u32 {
        match self {
            Self::U16(indices) => indices[entry].into(),
            Self::U32(indices) => indices[entry],
        }
    }
}

/// The places of a sparse matrix `[d_in, d_out]`, by output channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    shape: [usize; 2],
    pointers: Vec<u32>,
    indices: Indices,
}

impl Pattern {
    /// Checks parts that were read from somewhere.
    ///
    /// # Shapes
    /// - shape: `[d_in, d_out]`
    /// - pointers: `[d_out + 1]`
    /// - indices: `[entries]`
    ///
    /// # Errors
    /// [`OrthoError::Shape`], [`OrthoError::Length`], [`OrthoError::IndexOverflow`] for indices of 16 bits
    /// in a matrix beyond them, [`OrthoError::Pointer`] for pointers that do not go from 0 to the number of
    /// entries, or fall, and [`OrthoError::Index`] for indices of a channel that do not rise or lie outside
    /// the matrix.
    pub fn from_parts(
        shape: [usize; 2],
        pointers: Vec<u32>,
        indices: Indices,
    ) -> Result<Self, OrthoError> {
        numel(shape)?;
        let [d_in, d_out] = shape;
        check_len("`pointers`", pointers.len(), d_out + 1)?;
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
        if pointers[d_out] as usize != indices.len() {
            return wrong(d_out, format!("{}, the number of entries", indices.len()));
        }
        let pattern = Self { shape, pointers, indices };
        for row in 0..d_out {
            let mut least = 0;
            for entry in pattern.entries(row) {
                let value = pattern.indices.get(entry);
                if value < least || value as usize >= d_in {
                    return Err(OrthoError::Index { entry, row, value, d_in });
                }
                least = value + 1;
            }
        }
        Ok(pattern)
    }

    /// Parts of which it is known that they fit.
    pub(crate) fn trusted(shape: [usize; 2], pointers: Vec<u32>, indices: Indices) -> Self {
        Self { shape, pointers, indices }
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

    /// Entries of an output channel.
    pub(crate) fn entries(&self, row: usize) -> Range<usize> {
        self.pointers[row] as usize..self.pointers[row + 1] as usize
    }

    /// Input and output of every entry, channel by channel.
    pub fn places(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        (0..self.shape[1]).flat_map(move |row| {
            self.entries(row).map(move |entry| [self.indices.get(entry) as usize, row])
        })
    }
}
