//! What a checkpoint says about a tensor.

use crate::{Dtype, TensorFault};

/// Bytes that an archive or a view may expand to on top of [`EXPANSION`] times its file.
const EXPANSION_FLOOR: u64 = 1 << 26;

/// Ratio of a tensor's bytes to its file's from which on the file is taken for a bomb. Trained
/// weights compress by a few per cent, zeros by a factor of 1,000.
const EXPANSION: u64 = 64;

/// A tensor of a checkpoint, without its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its name, dotted where the checkpoint nests.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Extents, outermost first; empty for a scalar. Their product fits a `usize`.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    pub(crate) fn new(name: &str, dtype: Dtype, shape: Vec<usize>) -> Self {
        Self { name: name.to_owned(), dtype, shape }
    }

    /// Number of elements, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that elements can be counted and addressed, which formats do not promise.
    pub(crate) fn check(&self) -> Result<(), TensorFault> {
        let elements = self.shape.iter().try_fold(1_usize, |product, it| product.checked_mul(*it));
        let bytes = elements.and_then(|it| it.checked_mul(self.dtype.size().unwrap_or(1)));
        match bytes {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
            _ => Err(TensorFault::Shape(self.shape.clone())),
        }
    }

    /// Bytes of the elements, of a type that is read.
    pub(crate) fn byte_len(&self) -> Result<usize, TensorFault> {
        self.check()?;
        match self.dtype.size() {
            Some(size) => Ok(self.elements() * size),
            None => Err(TensorFault::NotRead {
                dtype: self.dtype.to_string(),
                reason: self.dtype.why_not_read().unwrap_or_default(),
            }),
        }
    }

    /// Refuses a tensor that a file of `file_size` bytes can only hold as a bomb, where the format
    /// lets it expand: by compression, or by a stride of zero.
    pub(crate) fn check_expansion(&self, file_size: u64) -> Result<(), TensorFault> {
        self.check()?;
        let bytes = (self.elements() * self.dtype.size().unwrap_or(0)) as u64;
        let most = file_size.saturating_mul(EXPANSION).saturating_add(EXPANSION_FLOOR);
        if bytes > most { Err(TensorFault::TooLarge { bytes, most }) } else { Ok(()) }
    }
}
