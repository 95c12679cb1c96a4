//! Why a matrix has no spectrum.

/// Why a matrix has no spectrum. A failed *fit* is not an error but a [`FitFailure`](crate::FitFailure).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpectrumError {
    /// The values do not fill the shape.
    #[error("{values} values do not fill a matrix of shape {shape:?}")]
    Shape {
        /// How many values there are.
        values: usize,
        /// The shape they were said to have.
        shape: Vec<usize>,
    },
    /// A side of the matrix is zero.
    #[error("a matrix of shape {shape:?} has no entries")]
    Empty {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An entry is NaN or infinite.
    #[error("entry {index} is {value}, not a finite number")]
    NonFinite {
        /// Place of the first such entry in memory order.
        index: usize,
        /// That entry.
        value: f32,
    },
    /// The eigenvalue or singular value iteration did not converge.
    #[error("the eigenvalue iteration did not converge")]
    NoConvergence,
    /// The caller asked for an end.
    #[error("interrupted")]
    Interrupted,
    /// The eigenvalues do not sum to the squared Frobenius norm.
    #[error("eigenvalues sum to {sum}, but the squared Frobenius norm is {norm}")]
    Trace {
        /// Sum of the eigenvalues.
        sum: f64,
        /// Sum of the squared entries.
        norm: f64,
    },
}
