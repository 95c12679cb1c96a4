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
    /// Bytes of the elements in the file, of a type that is not read.
    stored: Option<usize>,
}

impl TensorInfo {
    pub(crate) fn new(name: &str, dtype: Dtype, shape: Vec<usize>) -> Self {
        Self { name: name.to_owned(), dtype, shape, stored: None }
    }

    /// The same, of elements that are there in `size` bytes each, whether their type is read or not.
    pub(crate) fn stored(mut self, size: usize) -> Self {
        let elements = self.shape.iter().try_fold(size, |product, it| product.checked_mul(*it));
        self.stored = elements.filter(|_| self.dtype.size().is_none());
        self
    }

    /// The same, of elements that are there in so many bytes.
    pub(crate) fn stored_in(mut self, bytes: usize) -> Self {
        self.stored = Some(bytes).filter(|_| self.dtype.size().is_none());
        self
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

    /// Bytes of the elements, as [`Checkpoint::read_bytes`](crate::Checkpoint::read_bytes) gives them;
    /// none if they are of a type that is not read and the format does not say.
    pub fn bytes(&self) -> Option<usize> {
        self.dtype.size().map_or(self.stored, |size| Some(self.elements() * size))
    }

    /// The same, with all that can be wrong.
    pub(crate) fn byte_len(&self) -> Result<usize, TensorFault> {
        self.check()?;
        self.bytes().ok_or_else(|| self.not_read())
    }

    /// That elements of this type are not read.
    pub(crate) fn not_read(&self) -> TensorFault {
        TensorFault::NotRead {
            dtype: self.dtype.to_string(),
            reason: self.dtype.why_not_read().unwrap_or_default(),
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
