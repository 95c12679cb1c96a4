//! Rounded double Kronecker with orthonormal factors, the default of the published code.
//!
//! # Definition
//! As [`crate::Rdkron`], with $R_i = Q_i$, the orthonormal factor of the QR decomposition of a Gaussian
//! matrix: $P^\top P = I$ on the main block. The tail stays Gaussian.
//!
//! # Reference
//! S. Lotfi et al., *Non-Vacuous Generalization Bounds for Large Language Models*, arXiv:2312.17173,
//! `RoundedDoubleKronQR` of `sublora/nn/projectors.py`.
//!
//! # Notes on the reference implementation
//! Its factors ignore their own seed. A fork makes the rows orthonormal where $d > D$, which leaves dead
//! directions; here $d > D$ is an error.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::rdkron::rounded;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// Rounded double Kronecker with orthonormal factors.
///
/// ```toml
/// kind = "rdkronqr"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rdkronqr {}

impl ProjectorMethod for Rdkronqr {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        Ok(rounded(Shape::checked(layout, d)?, Factor::orthonormal, key))
    }
}
