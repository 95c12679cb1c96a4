//! What a sparse stream takes, in each of the usual formats.
//!
//! # Definition
//! Of $n$ entries, by $d_{out}$ output channels of $d_{in}$ inputs each, with values of $v$ bytes:
//!
//! | format | bytes |
//! |---|---|
//! | CSR, indices of $i$ bytes | $n\,(v + i) + 4\,(d_{out} + 1)$ |
//! | COO, two indices of 2 bytes | $n\,(v + 4)$ |
//! | bitmap | $\lceil d_{in} d_{out} / 8 \rceil + n v + 4\,(d_{out} + 1)$ |

use crate::{Csr, Split};

/// A format of a sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamFormat {
    /// By output channel; the one of [`Csr`].
    Csr {
        /// Bytes of an index.
        index: usize,
    },
    /// A pair of indices of 16 bits for each entry.
    Coo,
    /// One bit for each weight, and where the values of each channel begin.
    Bitmap,
}

impl StreamFormat {
    /// Bytes of a matrix of `shape`, `[d_in, d_out]`, with `entries` values of `value` bytes each.
    pub fn bytes(self, [d_in, d_out]: [usize; 2], entries: usize, value: usize) -> usize {
        let pointers = 4 * (d_out + 1);
        match self {
            Self::Csr { index } => entries * (value + index) + pointers,
            Self::Coo => entries * (value + 4),
            Self::Bitmap => (d_in * d_out).div_ceil(8) + entries * value + pointers,
        }
    }
}

impl Csr {
    /// Bytes of values, indices and pointers.
    pub fn bytes(&self) -> usize {
        let format = StreamFormat::Csr { index: self.indices().bytes() };
        format.bytes(self.shape(), self.values().len(), size_of::<f32>())
    }
}

impl Split {
    /// Bytes of both streams.
    pub fn bytes(&self) -> usize {
        self.base().bytes() + self.outliers().bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexWidth, Mask};

    /// 5632 output channels of 2048 inputs; millions of bytes.
    #[test]
    fn sizes_of_the_reference() {
        let shape = [2048, 5632];
        for (entries, wide, narrow, coo, bitmap) in [
            (11_534, 0.092, 0.069, 0.069, 1.487),
            (57_671, 0.369, 0.253, 0.346, 1.580),
            (115_343, 0.715, 0.484, 0.692, 1.695),
            (576_716, 3.483, 2.329, 3.460, 2.618),
            (1_153_433, 6.943, 4.636, 6.921, 3.771),
        ] {
            let formats = [
                (StreamFormat::Csr { index: 4 }, wide),
                (StreamFormat::Csr { index: 2 }, narrow),
                (StreamFormat::Coo, coo),
                (StreamFormat::Bitmap, bitmap),
            ];
            for (format, expected) in formats {
                let found = format.bytes(shape, entries, 2) as f64 / 1e6;
                assert!((found - expected).abs() < 0.000_6, "{format:?} {entries}: {found}");
                let with_f32 = format.bytes(shape, entries, 4) - format.bytes(shape, entries, 2);
                assert_eq!(with_f32, 2 * entries);
            }
        }
    }

    #[test]
    fn a_stream_of_three() {
        let mask = Mask::new(vec![0, 3, 4], [3, 2]).unwrap();
        let bytes = |width| Csr::build(&mask, width, |_| 1.0).unwrap().bytes();
        assert_eq!(bytes(IndexWidth::Auto), 3 * (4 + 2) + 4 * 3);
        assert_eq!(bytes(IndexWidth::U32), 3 * (4 + 4) + 4 * 3);
    }
}
